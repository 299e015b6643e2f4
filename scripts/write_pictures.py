"""Take the pictures of docs/images anew: the report of `compare` and the page of `serve`, over the demo.

Run it on a quiet machine, since the pictures show times; it needs the development install and Chromium
(scripts/install_chromium.sh). worth-it.png is of an index with judgments, and is not taken here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from secondpass.cli.demo import home_folder

IMAGES = Path(__file__).parents[1] / "docs" / "images"
QUERY = "how do I wait for several things at once?"
SECONDPASS = [sys.executable, "-m", "secondpass"]


def compared(page: Page, index: Path, folder: Path) -> None:
    """The report, from its top to the first passage."""
    report = folder / "compare.html"
    subprocess.run([*SECONDPASS, "compare", QUERY, "--index", index, "--html", report], check=True)
    page.set_viewport_size({"width": 1200, "height": 970})
    page.goto(report.as_uri())
    page.screenshot(path=IMAGES / "compare.png")


def served(page: Page, index: Path) -> None:
    """The page, asked and answered twice: the first time opens the models."""
    server = subprocess.Popen(
        [*SECONDPASS, "serve", index, "--port", "0", "--no-cache"],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stderr is not None
        found = (re.search(r"secondpass at (http://\S+?);", line) for line in server.stderr)
        url = next(each[1] for each in found if each)
        page.set_viewport_size({"width": 1200, "height": 1040})
        for other in ("how do I join threads?", QUERY):
            page.goto(f"{url}/?k=4&q={other}")
            page.locator(".after .row mark").first.wait_for()
        page.locator("#query").focus()
        page.keyboard.press("Shift+Enter")
        page.locator("#answer .facts").get_by_text("quoted").wait_for()
        page.screenshot(path=IMAGES / "serve.png")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def main() -> None:
    """Take both."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    subprocess.run([*SECONDPASS, "demo", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    index = home_folder(None) / "index"
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(color_scheme="light", reduced_motion="reduce")
        compared(page, index, Path(name))
        served(page, index)
        chromium.close()


if __name__ == "__main__":
    main()
