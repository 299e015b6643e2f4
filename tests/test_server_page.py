"""The web page in a real browser, served by a real ``secondpass serve``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from secondpass import Index

WIDE, NARROW = (1280, 900), (390, 844)
Server = tuple[subprocess.Popen[str], str]


def _started(index: Path) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "serve", str(index), "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"secondpass at (http://\S+?);", line):
            return process, found[1]
    raise AssertionError("the server did not start")


def _stopped(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = _started(tmp_path_factory.mktemp("served") / "index")
    yield url
    _stopped(process)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("these tests need Chromium: run scripts/install_chromium.sh, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Open the page; at the end nothing has left the origin, broken the policy or thrown."""
    contexts: list[BrowserContext] = []
    trouble: list[str] = []

    def open_page(url: str, size: tuple[int, int] = WIDE, scheme: Any = "light") -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        origin = "/".join(url.split("/")[:3]) + "/"
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.on(
            "console",
            lambda said: trouble.append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(origin) else trouble.append(asked.url),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.mark.parametrize("size", [WIDE, NARROW, (320, 640)])
def test_the_page_fits_its_width_and_is_ready_to_be_asked(
    opened: Opener, server: str, size: tuple[int, int]
) -> None:
    page = opened(server, size)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.evaluate("document.activeElement.id") == "query"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_way_of_anyone(opened: Opener, server: str, scheme: str) -> None:
    found = Axe().run(opened(server, scheme=scheme))
    assert found.violations_count == 0, found.generate_report()


def test_the_address_restores_what_was_asked(opened: Opener, server: str) -> None:
    page = opened(f"{server}/?q=deposit&k=3&candidates=7&stage1=hybrid&where=name%3Da.txt&reranker=none")
    shown = [page.locator(f"#{name}").input_value() for name in ("query", "k", "candidates", "stage1")]
    assert shown == ["deposit", "3", "7", "hybrid"]
    assert page.locator("#where").input_value() == "name=a.txt"
    assert page.locator("#reranker").input_value() == "none"


def test_going_back_restores_the_question_before(opened: Opener, server: str) -> None:
    page = opened(server)
    for question in ("deposit", "keys"):
        page.locator("#query").fill(question)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/?q={question}")
    page.go_back()
    page.wait_for_function("document.getElementById('query').value === 'deposit'")


def test_slash_goes_to_the_question_from_anywhere(opened: Opener, server: str) -> None:
    page = opened(server)
    page.locator("#theme").focus()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    assert page.locator("#query").input_value() == ""


def test_the_theme_can_be_chosen_and_stays(opened: Opener, server: str) -> None:
    page = opened(server)
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    assert page.locator("#theme").text_content() == "Theme: dark"
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in color.strip("rgb()").split(",")) < 150


def test_a_filter_that_is_none_is_told_before_anything_is_asked(opened: Opener, server: str) -> None:
    page = opened(f"{server}/?q=deposit&where=handbook")
    page.get_by_role("alert").get_by_text("is not NAME=VALUE").wait_for()


def test_a_server_that_stopped_is_told(opened: Opener, tmp_path: Path) -> None:
    process, url = _started(tmp_path / "index")
    try:
        page = opened(url)
        page.locator("#query").fill("deposit")
    finally:
        _stopped(process)
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("The server does not answer").wait_for()


def test_files_outside_the_page_are_not_served(opened: Opener, server: str) -> None:
    page = opened(server)
    for path in ("/assets/..%2fpage.py", "/assets/%2e%2e/page.py", "/assets/page.py", "/assets/"):
        assert page.request.get(server + path).status == 404


# Asking a real index

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "deposit \u202eevil\u202c \U0001f511 end."
)
TEXTS = {
    "lease.txt": "The lease ends with the month. The deposit is returned\nwithin thirty days of moving out. "
    "Repairs are taken off.",
    "keys.txt": "Keys are handed over at the office on the first day. A lost key costs forty euros.",
    "deposit.txt": "A deposit of three rents is due when the lease is signed. It has an account of its own.",
    "noise.txt": "No noise after ten in the evening, and none at all on Sundays before noon.",
    "bank.txt": "The bank pays interest on a deposit of more than one year. Ask at the counter.",
    "bottle.txt": "Bring the bottle back and you get the deposit back at once, in cash, at any shop.",
    "garden.txt": "Tenants of the ground floor look after the garden. The hedge is cut in June.",
    "hostile.txt": HOSTILE,
}
ASKED = "?q=When+do+I+get+my+deposit+back+after+moving+out%3F&k=2&candidates=8"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("library")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Index.open(folder / "index") as index:
        index.add([folder / name for name in TEXTS])
    process, url = _started(folder / "index")
    yield url
    _stopped(process)


def _asked(opened: Opener, library: str, more: str = "", size: tuple[int, int] = WIDE) -> Page:
    page = opened(f"{library}/{ASKED}{more}", size)
    page.locator("#results .row").first.wait_for()
    return page


def _ids(page: Page, side: str) -> list[str]:
    found: list[str] = page.locator(f".{side} li[data-id]").evaluate_all("all => all.map(e => e.dataset.id)")
    return found


def test_both_stages_stand_side_by_side_as_the_library_ranks_them(opened: Opener, library: str) -> None:
    page = _asked(opened, library)
    result = page.request.post(
        f"{library}/v1/search",
        data={"query": "When do I get my deposit back after moving out?", "k": 2, "candidates": 8},
    ).json()
    assert _ids(page, "after")[:2] == [hit["passage"]["id"] for hit in result["hits"]]
    first = page.locator(".after .row").first
    assert "lease.txt" in first.inner_text()
    assert first.locator(".score").inner_text() == f"{result['hits'][0]['score']:.3f}"
    assert re.search(r"embed [\d.]+ ms · search [\d.]+ ms", page.locator(".before .head").inner_text())
    assert re.search(r"re-rank [\d.]+ ms", page.locator(".after .head").inner_text())
    assert "scored 8 of 8" in page.locator("#status").inner_text()


def test_a_line_leads_each_passage_to_its_new_place(opened: Opener, library: str) -> None:
    page = _asked(opened, library)
    both = set(_ids(page, "before")) & set(_ids(page, "after"))
    moves = page.locator("svg.moves g.move")
    drawn = moves.evaluate_all("all => all.map(e => e.dataset.id)")
    assert set(drawn) == both
    assert len(drawn) == len(both) >= 2
    assert "rank" in (page.locator("svg.moves").get_attribute("aria-label") or "")


def test_a_phone_has_the_lists_below_each_other_and_the_moves_in_words(opened: Opener, library: str) -> None:
    page = _asked(opened, library, size=NARROW)
    assert not page.locator("svg.moves").is_visible()
    for side in ("before", "after"):
        page.locator(f".{side}").wait_for(state="visible")
    boxes = [page.locator(f".{side}").bounding_box() for side in ("before", "after")]
    assert all(boxes)
    assert abs(boxes[0]["y"] - boxes[1]["y"]) > 100  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_the_best_sentence_is_marked_in_the_passage_and_in_its_document(opened: Opener, library: str) -> None:
    page = _asked(opened, library)
    page.locator(".after .row mark, .after .row .best").first.wait_for()
    page.locator(".after .row").first.click()
    dialog = page.locator("dialog#passage")
    dialog.locator("mark").wait_for()
    marked = " ".join(dialog.locator("mark").inner_text().split())  # over a line break
    assert marked == "The deposit is returned within thirty days of moving out."
    assert "lease.txt" in dialog.locator(".facts").inner_text()
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_filter_leaves_only_what_passes(opened: Opener, library: str) -> None:
    page = _asked(opened, library, "&where=name%3Dbank.txt")
    assert len(_ids(page, "after")) == 1
    assert "bank.txt" in page.locator(".after .row").first.inner_text()


def test_stage_2_off_shows_one_list(opened: Opener, library: str) -> None:
    page = _asked(opened, library, "&reranker=none")
    assert page.locator(".lane").count() == 1
    assert page.locator("svg.moves").count() == 0


def test_hits_are_reached_and_read_with_the_keyboard_alone(opened: Opener, library: str) -> None:
    page = opened(library)
    page.keyboard.type("When do I get my deposit back?")
    page.keyboard.press("Enter")
    page.locator("#results .row").first.wait_for()
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.closest('li').dataset.rank"
    assert page.evaluate(focused) == "1"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "2"
    page.keyboard.press("Enter")
    page.locator("dialog#passage[open]").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "2"  # back where one was


def test_text_of_documents_is_never_more_than_text(opened: Opener, library: str) -> None:
    page = _asked(opened, library, "&where=name%3Dhostile.txt")
    page.locator(".after .row").first.click()
    page.locator("dialog#passage[open]").wait_for()
    page.get_by_text("<script>document.title='owned'</script>").last.wait_for()
    assert page.title() != "owned"
    assert page.locator("main script, dialog script, main img, dialog img").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()


def test_the_list_of_re_rankers_is_the_server_s(opened: Opener, library: str) -> None:
    page = _asked(opened, library)
    offered = page.locator("#reranker option").evaluate_all("all => all.map(e => e.value)")
    assert {"auto", "none", "minilm-l6", "late-interaction"} <= set(offered)


def test_a_dropped_file_is_indexed_found_and_deleted_again(opened: Opener, library: str) -> None:
    page = opened(library)
    dropped = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["The ferry to the island leaves at seven."], "ferry.txt"));
            return data;
        }"""
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    page.locator("#job").get_by_text("1 added").wait_for()
    page.locator("#document-list").get_by_text("ferry.txt").wait_for()
    page.keyboard.press("Escape")
    page.locator("#query").fill("When does the ferry leave?")
    page.keyboard.press("Enter")
    page.locator(".after .row").first.get_by_text("ferry.txt").wait_for()
    page.locator("#open-documents").click()
    delete = page.get_by_role("button", name="Delete ferry.txt")
    delete.click()
    delete.click()  # it asks once
    page.locator("#job").get_by_text("Deleted").wait_for()
    assert "ferry.txt" not in page.locator("#document-list").inner_text()


def test_a_mark_is_kept_as_secondpass_judge_keeps_it(opened: Opener, library: str) -> None:
    page = _asked(opened, library)
    page.locator(".after .row").first.focus()
    page.keyboard.press("y")
    page.locator(".after .judged.yes").first.wait_for()
    first = _ids(page, "after")[0]
    query = "When do I get my deposit back after moving out?"
    told = page.request.get(f"{library}/v1/judgments", params={"query": query}).json()
    assert told["judgments"] == [{"passage_id": first, "relevant": True}]
    page.locator(".after .row").first.focus()
    page.keyboard.press("u")
    page.locator(".after .judged").first.wait_for(state="detached")
    assert page.request.get(f"{library}/v1/judgments", params={"query": query}).json()["judgments"] == []


def test_an_answer_is_quoted_above_the_lists_and_its_numbers_lead_to_the_passages(
    opened: Opener, library: str
) -> None:
    page = opened(library)
    page.keyboard.type("When do I get my deposit back after moving out?")
    page.keyboard.press("Shift+Enter")
    panel = page.locator("#answer")
    panel.get_by_text("quoted word for word").wait_for()
    assert "The deposit is returned within thirty days of moving out." in panel.locator(".text").inner_text()
    assert page.locator("#results .row").count() > 2
    assert Axe().run(page).violations_count == 0
    source = panel.locator("ol .source").first
    assert "lease.txt" in source.inner_text()
    panel.locator(".text .source").first.click()
    dialog = page.locator("dialog#passage[open]")
    dialog.locator("mark").wait_for()
    marked = " ".join(dialog.locator("mark").inner_text().split())
    assert f"\u201c{marked}\u201d" in panel.locator(".text").inner_text()
    page.keyboard.press("Escape")
    page.locator("#hide-answer").click()
    assert not panel.is_visible()


def test_an_answer_keeps_to_the_filter_and_a_new_search_takes_it_away(opened: Opener, library: str) -> None:
    page = _asked(opened, library, "&where=name%3Dbank.txt")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.locator("#answer .facts").get_by_text("quoted").wait_for()
    named = page.locator("#answer ol .source").all_inner_texts()
    assert named
    assert all("bank.txt" in each for each in named)
    page.locator("#where").fill("")
    page.keyboard.press("Enter")
    page.locator(".after .row").first.get_by_text("lease.txt").wait_for()
    assert not page.locator("#answer").is_visible()


def test_an_answer_that_cannot_be_had_is_told(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "lease.txt").write_text("The deposit is returned within thirty days.", encoding="utf-8")
    with Index.open(tmp_path / "index") as index:
        index.add([tmp_path / "lease.txt"])
    process, url = _started(tmp_path / "index")
    page = opened(f"{url}/?q=deposit")
    page.locator("#results .row").first.wait_for()
    _stopped(process)
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    assert not page.locator("#answer").is_visible()
