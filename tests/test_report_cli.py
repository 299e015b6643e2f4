"""``--html`` of the command line: what it writes, what it says, and what it refuses to write over."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondpass.cli import html_out
from secondpass.errors import InputError
from test_cli import secondpass

TEXT = (
    "The ferry leaves at seven. A ticket costs four crowns. Bicycles travel free.\n\n"
    "Bread is baked on Mondays. The oven is lit at four. Rolls are baked every day but Sunday.\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a small index."""
    folder = tmp_path_factory.mktemp("html")
    (folder / "town.txt").write_text(TEXT, encoding="utf-8")
    done = secondpass("index", "town.txt", "--size", "100", "--overlap", "0", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_compare_writes_a_report_beside_what_it_prints(place: Path) -> None:
    done = secondpass("compare", "What does a ticket cost?", "--html", "report.html", "-k", "2", cwd=place)
    assert (done.returncode, done.stderr) == (0, "wrote report.html\n")
    assert "stage 2: minilm-l6" in done.stdout
    page = (place / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>\n<html")
    assert "<mark>A ticket costs four crowns.</mark>" in page
    assert "town.txt" in page
    assert str(place) not in page


def test_json_stays_json_and_a_report_is_replaced(place: Path) -> None:
    (place / "again.html").write_text("old", encoding="utf-8")
    done = secondpass(
        *("compare", "ferry", "bread", "--reranker", "late-interaction", "--reranker", "minilm-l6"),
        *("--json", "--html", "again.html", "-k", "1"),
        cwd=place,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    page = (place / "again.html").read_text(encoding="utf-8")
    assert "What the second pass changed for 2 queries" in page
    assert not list(place.glob(".again*"))


def test_what_cannot_be_written_is_refused_before_the_work(place: Path) -> None:
    done = secondpass("compare", "ferry", "--html", "town.txt", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--html would overwrite 'town.txt', which is no .html file" in done.stderr
    assert (place / "town.txt").read_text(encoding="utf-8") == TEXT
    done = secondpass("compare", "ferry", "--html", "no/such/report.html", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no folder 'no/such'" in done.stderr


@pytest.mark.parametrize("name", ["", " ", "-", "."])
def test_what_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="--html names a file to write"):
        html_out.destination(name)


def test_nothing_asked_for_is_nothing_to_write() -> None:
    assert html_out.destination(None) is None


def test_a_new_file_may_have_any_name(tmp_path: Path) -> None:
    assert html_out.destination(str(tmp_path / "report")) == tmp_path / "report"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        html_out.write(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="could not be written"):
        html_out.write(path, "new")
    assert list(tmp_path.iterdir()) == [path]
