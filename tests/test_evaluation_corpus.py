"""The cached index over a BEIR corpus. Run as a script, this file is the process that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from index_checks import check_consistent
from secondpass.errors import InputError
from secondpass.evaluation import corpus
from secondpass.index import adding
from secondpass.testing import HashEmbedder


class CountingEmbedder(HashEmbedder):
    """Counts what it is asked for, and can be as slow as a model."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(32)
        self.embedded = 0
        self.pause = pause

    def embed_passages(self, texts):
        time.sleep(self.pause * len(texts))
        self.embedded += len(texts)
        return super().embed_passages(texts)


def child(folder: str) -> None:
    """Build, slowly, and tell after each commit."""
    adding.BATCH_TEXTS = 8
    corpus.index_of(
        folder, embedder=CountingEmbedder(0.005), progress=lambda p: print(p.documents_done, flush=True)
    ).close()
    print("finished", flush=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECONDPASS_CACHE_FOLDER", str(tmp_path / "cache"))
    made = tmp_path / "beir"
    made.mkdir()
    write(made, 30)
    return made


def write(folder: Path, count: int, changed: int | None = None) -> None:
    rows = [
        {"_id": str(n), "title": f"Title {n}", "text": f"text {n if n != changed else 'new'} of it"}
        for n in range(count)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "corpus.jsonl").write_text(lines, encoding="utf-8")


def test_it_is_built_once_and_reused_without_embedding(folder: Path) -> None:
    embedder, told = CountingEmbedder(), []
    assert not corpus.is_ready(folder, embedder=embedder)
    with corpus.index_of(folder, embedder=embedder, progress=told.append) as index:
        assert len(index) == 30
        assert index.document("7").text == "Title 7 text 7 of it"
        check_consistent(index.path)
    assert embedder.embedded == 30
    assert told[-1].documents_done == 30
    assert corpus.is_ready(folder, embedder=embedder)

    again = CountingEmbedder()
    with corpus.index_of(folder, embedder=again, progress=lambda _: pytest.fail("nothing is built")) as index:
        assert len(index) == 30
    assert again.embedded == 0


def test_a_changed_corpus_costs_what_has_changed(folder: Path) -> None:
    corpus.index_of(folder, embedder=CountingEmbedder()).close()
    write(folder, 25, changed=3)
    embedder = CountingEmbedder()
    assert not corpus.is_ready(folder, embedder=embedder)
    with corpus.index_of(folder, embedder=embedder) as index:
        assert {each.id for each in index.documents()} == {str(n) for n in range(25)}
        assert "new" in index.document("3").text
    assert embedder.embedded == 1


def test_a_kill_in_the_middle_is_taken_up(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        assert line != "finished\n"
        done = int(line)
        if done >= 8:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -9

    embedder = CountingEmbedder()
    assert not corpus.is_ready(folder, embedder=embedder)
    with corpus.index_of(folder, embedder=embedder) as index:
        assert len(index) == 30
        check_consistent(index.path)
    assert 0 < embedder.embedded <= 30 - done
    assert corpus.is_ready(folder, embedder=embedder)


@pytest.mark.parametrize("name", ["index/index.db", "corpus.json"])
def test_what_is_damaged_is_built_anew(folder: Path, name: str) -> None:
    corpus.index_of(folder, embedder=CountingEmbedder()).close()
    (corpus.cache_of(folder, HashEmbedder(32)) / name).write_bytes(b"nothing of the kind" * 500)
    embedder = CountingEmbedder()
    with corpus.index_of(folder, embedder=embedder) as index:
        assert len(index) == 30
        check_consistent(index.path)
    assert embedder.embedded == (0 if name == "corpus.json" else 30)


def test_a_wrong_line_is_named_and_leaves_nothing_that_counts_as_ready(folder: Path) -> None:
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"_id": "7", "text": "again"}\n')
    for _ in range(2):
        with pytest.raises(InputError, match=r"corpus\.jsonl:31: "):
            corpus.index_of(folder, embedder=CountingEmbedder())
    assert not corpus.is_ready(folder, embedder=HashEmbedder(32))


def test_folders_and_embedders_have_indexes_of_their_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "beir").mkdir(parents=True)
    places = {
        corpus.cache_of(folder),
        corpus.cache_of(tmp_path / "other" / "beir"),
        corpus.cache_of(folder, HashEmbedder(32)),
    }
    assert len(places) == 3
    assert all(place.name.startswith("beir-") for place in places)
    monkeypatch.chdir(tmp_path)
    assert corpus.cache_of("beir") == corpus.cache_of(folder)


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no corpus\.jsonl in"):
        corpus.index_of(tmp_path)
    assert list(tmp_path.iterdir()) == []


if __name__ == "__main__":
    child(sys.argv[1])
