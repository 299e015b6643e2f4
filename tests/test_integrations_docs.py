"""The table of integrations against pyproject.toml, what is installed here, and the files it names."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import tiny_models

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## LangChain")[0].splitlines()
    if line.startswith("| [")
]
WITH_EXTRAS = [row for row in ROWS if row[1] != "none"]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])


def test_there_is_a_row_for_each_adapter() -> None:
    adapters = {
        path.stem for path in (ROOT / "src/secondpass/ext").iterdir() if not path.stem.startswith("_")
    }
    assert adapters <= {row[1].strip("`") for row in ROWS} | {"server"}
    assert len(ROWS) >= 10


@pytest.mark.parametrize("row", WITH_EXTRAS, ids=lambda row: row[1].strip("`"))
def test_the_versions_fit_together(row: list[str]) -> None:
    _, extra, least, tested, _ = row
    package, minimum = least.split()
    [wanted] = [each for each in EXTRAS[extra.strip("`")] if re.split(r"[\[>=<]", each)[0] == package]
    assert numbers(minimum) == numbers(re.search(r">=([\d.]+)", wanted)[1])
    assert numbers(tested) >= numbers(minimum)
    assert numbers(version(package)) >= numbers(minimum)  # here, and wherever these tests run


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1].strip("`"))
def test_what_a_row_names_is_there(row: list[str]) -> None:
    heading = re.search(r"\(#([\w-]+)\)", row[0])[1]
    headings = [
        re.sub(r"[^\w-]", "", line[3:].lower().replace(" ", "-"))
        for line in PAGE.splitlines()
        if line.startswith("## ")
    ]
    assert heading in headings
    for name in re.findall(r"`(tests/[\w.]+)`", row[4]):
        assert (ROOT / name).is_file()


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) >= 5
    for link in links:
        assert (ROOT / "docs" / link).is_file(), link


def test_its_imports_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 5
    with tiny_models.quiet():
        for block in blocks:
            exec(block, {})
