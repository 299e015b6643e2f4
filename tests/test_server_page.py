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
