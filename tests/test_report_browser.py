"""The reports in a real browser: nothing is loaded, lines meet their rows, and anyone can read them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from report_samples import STAMP, TEXT, calibration, comparison, evaluation, sources, verdict
from secondpass.report import compare_page, evaluation_page, verdict_page

WIDE, NARROW = (1280, 900), (390, 844)
HOSTILE = (
    '</script><script>alert("out")</script></style><style>body{display:none}</style>'
    '<img src="https://example.org/x.png" onerror="alert(1)"><iframe src="https://example.org"></iframe>'
    '<svg onload="alert(2)"><a href="javascript:alert(3)">x</a></svg>\x00\ud800\u202e "\' ' + "long" * 5_000
)
MARKED = {
    ("minilm-l6", "When do I get the deposit back?", f"{n:016x}"): (TEXT.index("You"), TEXT.index(" Dogs"))
    for n in range(6)
}
PAGES = {
    "one": lambda: compare_page([comparison()], STAMP, MARKED),
    "many": lambda: compare_page(
        [
            comparison(f"question number {n}", (4, 2, 0, 1, 3, 5) if n % 2 else (0, 1, 2, 3, 4, 5))
            for n in range(8)
        ],
        STAMP,
    ),
    "hostile": lambda: compare_page(
        [comparison(HOSTILE, texts=[HOSTILE] * 6, rerankers=(HOSTILE[:90], "other"), source=HOSTILE)] * 2,
        STAMP,
    ),
    "eval": lambda: evaluation_page(evaluation(synthetic=True), STAMP, sources()),
    "worth-it": lambda: verdict_page(verdict(), STAMP, [calibration()]),
    "unjudged": lambda: verdict_page(verdict(judged=False, kind="unjudged"), STAMP),
}


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {name: folder / f"{name}.html" for name in PAGES}
    for name, path in made.items():
        path.write_text(PAGES[name](), encoding="utf-8")
    return made


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, files: dict[str, Path]) -> Iterator[Opener]:
    """Open a page; at the end of the test it must have said and asked nothing."""
    contexts: list[BrowserContext] = []
    trouble: list[str] = []

    def open_page(
        name: str, size: tuple[int, int] = WIDE, scheme: Any = "light", scripts: bool = True
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        address = files[name].as_uri()
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: None if request.url.split("#")[0] == address else trouble.append(request.url),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_word_and_fits_its_width(opened: Opener, name: str) -> None:
    for size in (WIDE, NARROW, (320, 640)):
        page = opened(name, size)
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0, size
        assert page.evaluate("document.scripts.length") == 1
        assert page.locator("h1").is_visible()


def test_text_that_got_past_the_escaping_could_load_and_run_nothing(
    browser: Browser, files: dict[str, Path]
) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: asked.append(f"{request.url} {request.failure}"))
    page.goto(files["one"].as_uri())
    del asked[:]
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            const image = document.createElement("img");
            image.src = "https://example.org/x.png";
            const style = document.createElement("style");
            style.textContent = "h1 { display: none }";
            document.body.append(script, image, style);
        }"""
    )
    assert page.evaluate("fetch('https://example.org').then(() => 'loaded', () => 'refused')") == "refused"
    assert page.evaluate("window.ran") is None
    assert page.locator("h1").is_visible()
    assert asked == ["https://example.org/x.png csp"]
    context.close()


ENDS = """() => [...document.querySelectorAll(".duel")].flatMap((duel) =>
  [...duel.querySelectorAll(".move")].map((move) => {
    const way = move.querySelector(".way");
    const at = (length) => way.getPointAtLength(length).matrixTransform(way.getScreenCTM()).y;
    const row = (side) => {
      const item = duel.querySelector(`.${side} [data-before="${move.dataset.before}"]`);
      const box = item.getBoundingClientRect();
      return box.y + box.height / 2;
    };
    return [at(0) - row("before"), at(way.getTotalLength()) - row("after")];
  }))"""


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["one", "many"])
def test_lines_begin_and_end_at_the_rows_of_their_passage(
    opened: Opener, name: str, size: tuple[int, int]
) -> None:
    page = opened(name, size)
    ends = page.evaluate(ENDS)
    assert len(ends) == {"one": 4, "many": 4 * 3 + 4 * 4}[name]
    assert all(abs(off) < 2 for pair in ends for off in pair)
    assert page.locator(".moves").first.bounding_box()["width"] >= 40  # type: ignore[index]


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["one", "many", "eval"])
def test_what_stands_in_a_row_stays_in_it(opened: Opener, name: str, size: tuple[int, int]) -> None:
    page = opened(name, size)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    sizes = page.locator(".lane li").evaluate_all(
        "rows => rows.map((row) => { const top = row.getBoundingClientRect().top;"
        " return [row.clientHeight, ...[...row.firstElementChild.children]"
        ".filter((each) => each.offsetParent)"
        ".flatMap((each) => { const box = each.getBoundingClientRect();"
        " return [box.top - top, box.bottom - top]; })]; })"
    )
    assert len(sizes) >= 8
    for height, *edges in sizes:
        assert min(edges) >= -1
        assert max(edges) <= height + 1
    widest = page.locator(".lane .badge").evaluate_all(
        "all => Math.max(...all.map((each) => each.offsetWidth))"
    )
    assert widest < 100


def test_dark_pages_are_dark(opened: Opener) -> None:
    def lightness(scheme: str) -> int:
        color = opened("one", scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in color.strip("rgb()").split(","))

    assert lightness("light") > 700
    assert lightness("dark") < 150


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [name for name in PAGES if name != "hostile"])
def test_axe_finds_nothing_in_the_way_of_anyone(opened: Opener, name: str, scheme: str) -> None:
    page = opened(name, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_labels_of_the_plot_do_not_overlap(opened: Opener) -> None:
    for size, name in ((WIDE, "wide"), (NARROW, "narrow")):
        page = opened("worth-it", size)
        assert page.locator(f".plot.{name}").is_visible()
        boxes = page.locator(f".plot.{name} .label").evaluate_all(
            "labels => labels.map((label) => label.getBBox())"
            ".map((box) => [box.x, box.y + 2, box.x + box.width, box.y + box.height - 2])"
        )
        assert len(boxes) >= 3
        for one, other in combinations(boxes, 2):
            apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            assert apart, (one, other)
        assert "hybrid 20 > minilm-l6" in page.locator(f".plot.{name} .label.chosen").all_text_contents()


def test_everything_is_there_without_scripts(opened: Opener) -> None:
    page = opened("many", scripts=False)
    assert page.locator(".query").count() == 8
    assert not page.locator(".tools").is_visible()
    page.locator("summary").first.click()
    assert page.locator(".card").first.is_visible()


def test_queries_can_be_filtered_and_ordered(opened: Opener) -> None:
    page = opened("many")
    shown = page.locator(".query:not([hidden]) h2")
    page.get_by_role("searchbox").fill("number 5")
    assert shown.all_text_contents() == ["question number 5"]
    assert page.get_by_role("status").text_content() == "1 of 8"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Most changed").click()
    assert shown.all_text_contents()[:4] == [f"question number {n}" for n in (1, 3, 5, 7)]
    page.get_by_role("button", name="As asked").click()
    assert shown.all_text_contents() == [f"question number {n}" for n in range(8)]


def test_wins_and_losses_can_be_put_first(opened: Opener) -> None:
    page = opened("eval")

    def first(button: str) -> str:
        page.get_by_role("button", name=button).click()
        return str(page.locator(".row .change").first.text_content())

    assert first("Losses first") == "-0.500"
    assert first("Wins first") == "+0.700"
    assert first("Biggest change") == "+0.700"
    changes = page.locator(".row .change").all_text_contents()
    assert changes == ["+0.700", "-0.500", "+0.200", "0"]


def test_tables_can_be_sorted_by_any_column(opened: Opener) -> None:
    page = opened("worth-it")
    table = page.locator("table", has_text="Everything").or_(page.locator("table[data-sortable]")).first
    latency = table.locator("tbody tr td:nth-child(2)")
    button = table.get_by_role("button", name="Latency")
    button.click()
    first = latency.first.text_content()
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    button.click()
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert (first, latency.first.text_content()) == ("908 ms", "3.0 ms")


def test_a_hit_is_reached_with_the_keyboard_even_where_it_is_folded_away(opened: Opener) -> None:
    page = opened("many")
    page.locator("#q2 .after a").first.focus()
    assert page.locator("#q2 .move.lit").count() == 1
    assert not page.locator("#q2-1-1").is_visible()
    page.keyboard.press("Enter")
    page.locator("#q2-1-1").wait_for(state="visible")


def test_the_way_under_the_pointer_is_lit(opened: Opener) -> None:
    page = opened("one")
    page.locator(".before li").nth(1).hover()
    assert page.locator(".move.lit").get_attribute("data-before") == "2"
    page.locator("h1").hover()
    assert page.locator(".move.lit").count() == 0


def test_paper_shows_what_is_folded_and_no_tools(opened: Opener) -> None:
    page = opened("many", (700, 900), "dark")
    page.emulate_media(media="print")
    assert not page.locator(".tools").is_visible()
    assert page.locator("#q1-1-1 .text").bounding_box()["height"] > 10  # type: ignore[index]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.pdf()[:5] == b"%PDF-"
