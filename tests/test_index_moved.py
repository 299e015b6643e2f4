"""An index whose folder is moved away, or has another put in its place, while it is open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from secondpass.engine import Engine
from secondpass.errors import IndexWriteError
from secondpass.index import Index
from secondpass.reranking import load_reranker
from secondpass.scores import SCORES_FILE, ScoreCache
from secondpass.types import Document

OLD = [Document("deposit", "The deposit is returned after two weeks."), Document("yard", "Bicycles.")]
NEW = [Document("deposit", "The deposit is returned after nine years.")]


@pytest.fixture
def opened(tmp_path: Path):
    with Index.open(tmp_path / "index") as index:
        index.add(OLD)
    with Index.open(tmp_path / "index", create=False) as index:
        yield index


def in_threads(count: int, work: Callable[[], object]) -> list[object]:
    """Return what the work gives in each of some new threads that begin together."""
    together, given = threading.Barrier(count), []

    def run() -> None:
        together.wait(60)
        try:
            given.append(work())
        except Exception as exc:  # noqa: BLE001  compared below
            given.append(exc)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    return given


def test_new_threads_read_on_when_the_folder_is_away_and_nothing_grows_in_its_place(
    opened: Index, tmp_path: Path
) -> None:
    (tmp_path / "index").rename(tmp_path / "away")
    cache = ScoreCache(tmp_path / "index" / SCORES_FILE)
    engine = Engine(opened, load_reranker(), cache=cache)
    found = in_threads(6, lambda: engine.search("When is the deposit returned?", 1).hits[0].passage.text)
    assert found == [OLD[0].text] * 6
    assert not (tmp_path / "index").exists()
    (tmp_path / "away").rename(tmp_path / "index")
    engine.search("When is the deposit returned?", 1)
    assert cache.size_bytes()
    cache.close()
    assert (tmp_path / "index" / SCORES_FILE).exists()


def test_new_threads_see_the_index_that_was_opened_and_not_its_successor(
    opened: Index, tmp_path: Path
) -> None:
    with Index.open(tmp_path / "other") as other:
        other.add(NEW)
    (tmp_path / "index").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "index")
    found = in_threads(6, lambda: [each.id for each in opened.documents()])
    assert found == [["deposit", "yard"]] * 6
    opened.close()
    with Index.open(tmp_path / "index", create=False) as index:
        assert index.document("deposit").text == NEW[0].text
    with Index.open(tmp_path / "away", create=False) as index:
        assert len(index.documents()) == 2


def test_a_write_to_an_index_that_is_away_fails_and_makes_nothing(opened: Index, tmp_path: Path) -> None:
    (tmp_path / "index").rename(tmp_path / "away")
    with pytest.raises(IndexWriteError):
        opened.add(NEW)
    assert not (tmp_path / "index").exists()
