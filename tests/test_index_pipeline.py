"""Embedding beside reading and writing: the outcome of one step after the other, and errors as before."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_checks import check_consistent
from secondpass import Index
from secondpass.errors import InputError
from secondpass.index import adding, core
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder
from secondpass.types import Document

SMALL = RecursiveSplitter(size=80, overlap=0)
PATIENCE = 20.0
"""Seconds after which a thread that waits for another gives up: the test has failed then."""


class Watched(HashEmbedder):
    """Notes what it was asked, and whether it was ever asked twice at once."""

    def __init__(self, dimension: int = 32) -> None:
        super().__init__(dimension)
        self.asked: list[list[str]] = []
        self.at_once = 0
        self._busy = threading.Lock()

    def embed_passages(self, texts):
        if not self._busy.acquire(blocking=False):
            self.at_once += 1
            return super().embed_passages(texts)
        try:
            self.asked.append(list(texts))
            return super().embed_passages(texts)
        finally:
            self._busy.release()


class OneAfterTheOther(adding.Adding):
    """The reference: each batch is embedded and written before the next document is looked at."""

    def write_if_full(self) -> None:
        if self._batch.full:
            self.flush()


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(adding, "BATCH_TEXTS", 7)
    monkeypatch.setattr(adding, "EMBED_SLICE", 12)


def content(folder: Path) -> list[object]:
    """Return every row of every table with its ids, less what is random or counts."""
    connection = sqlite3.connect(folder / "index.db")
    tables = ["documents", "fields", "texts", "passages", "vectors", "outbox"]
    try:
        rows = [list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in tables]
        words = "SELECT rowid FROM words WHERE words MATCH 'w1 OR w2 OR w3' ORDER BY rowid"
        return [*rows, list(connection.execute(words))]
    finally:
        connection.close()


def paragraph(words: random.Random) -> str:
    return " ".join(f"w{words.randrange(40)}" for _ in range(words.randrange(8, 20)))


def generations(seed: int) -> list[dict[str, str]]:
    """Return texts of files, several times over: they change, vanish, come back and share paragraphs."""
    words = random.Random(seed)
    shared = [paragraph(words) for _ in range(12)]
    texts: dict[str, str] = {}
    found = []
    for _ in range(4):
        for number in range(30):
            name = f"{number:02}.txt"
            if words.random() < 0.5:
                count = 25 if words.random() < 0.06 else words.randrange(1, 5)
                parts = [
                    words.choice(shared) if words.random() < 0.4 else paragraph(words) for _ in range(count)
                ]
                texts[name] = "\n\n".join(parts)
            elif words.random() < 0.2:
                texts.pop(name, None)
        found.append(dict(texts))
    return found


def build(folder: Path, docs: Path, seed: int) -> tuple[list[object], list[list[str]], list[object]]:
    """Index each generation of the files; return reports, what was embedded, and what is there each time."""
    embedder = Watched()
    reports, contents = [], []
    with Index.open(folder, embedder=embedder, splitter=SMALL) as index:
        for texts in generations(seed):
            for old in docs.glob("*.txt"):
                old.unlink()
            for name, text in texts.items():
                (docs / name).write_text(text, encoding="utf-8")
            reports.append(replace(index.add(docs, prune=True), seconds=0.0))
            contents.append(content(folder))
    check_consistent(folder)
    assert embedder.at_once == 0
    return reports, embedder.asked, contents


@pytest.mark.parametrize("seed", range(6))
def test_the_outcome_is_that_of_one_step_after_the_other(tmp_path, monkeypatch, small_batches, seed):
    docs = tmp_path / "docs"
    docs.mkdir()
    piped = build(tmp_path / "piped", docs, seed)
    monkeypatch.setattr(core, "Adding", OneAfterTheOther)
    stepwise = build(tmp_path / "stepwise", docs, seed)
    assert piped[0] == stepwise[0], "reports"
    assert piped[1] == stepwise[1], "what was embedded, in which lists"
    assert piped[2] == stepwise[2], "rows, with their ids"
    assert sum(report.changed for report in piped[0]) > 20
    assert max(len(texts) for texts in piped[1]) > 7, "no document was staged"


def test_a_text_that_leaves_with_a_batch_under_way_is_embedded_again(tmp_path, small_batches):
    """Document a loses its text in the very batch that is being embedded when z, which brings it, is read."""
    fill = [Document(f"fill{n}", f"some filling words number {n}") for n in range(6)]
    with Index.open(tmp_path / "index", embedder=Watched(), splitter=SMALL) as index:
        index.add(Document("a", "a text that wanders"))
        report = index.add([Document("a", "something else"), *fill, Document("z", "a text that wanders")])
        assert (report.added, report.changed, report.embedded) == (7, 1, 8)
        found = index.search("a text that wanders", 1)[0]
        assert (found.passage.document_id, found.also_in) == ("z", ())
    check_consistent(tmp_path / "index")


def test_reading_goes_on_while_a_batch_is_embedded(tmp_path, small_batches):
    read_on = threading.Event()

    class Waiting(Watched):
        def embed_passages(self, texts):
            assert read_on.wait(PATIENCE), "nothing was read while the first batch was embedded"
            return super().embed_passages(texts)

    def documents():
        for number in range(20):
            if number == 9:  # two documents beyond the first batch
                read_on.set()
            yield Document(str(number), f"document number {number}")

    with Index.open(tmp_path / "index", embedder=Waiting(), splitter=SMALL) as index:
        assert index.add(documents()).added == 20


def test_a_batch_is_written_while_the_next_is_embedded(tmp_path, small_batches):
    written = threading.Event()

    class Waiting(Watched):
        def embed_passages(self, texts):
            if self.asked:
                assert written.wait(PATIENCE), "the first batch was not written while the second was embedded"
            return super().embed_passages(texts)

    documents = [Document(str(number), f"document number {number}") for number in range(20)]
    with Index.open(tmp_path / "index", embedder=Waiting(), splitter=SMALL) as index:
        assert index.add(documents, progress=lambda _: written.set()).added == 20


def test_no_more_than_two_batches_wait_in_memory(tmp_path, small_batches):
    done = taken = most = 0

    def documents():
        nonlocal taken, most
        for number in range(200):
            taken += 1
            most = max(most, taken - done)
            yield Document(f"{number:03}", f"document number {number}")

    def note(progress):
        nonlocal done
        done = progress.documents_done

    with Index.open(tmp_path / "index", embedder=Watched(), splitter=SMALL) as index:
        index.add(documents(), progress=note)
    assert 7 < most <= 2 * 7


def test_very_long_documents_are_not_held_two_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "BATCH_CHARACTERS", 1000)
    done = 0

    def documents():
        for number in range(5):
            assert done == number, "one was read before the one before it was written"
            yield Document(str(number), f"long {number} " * 200)

    def note(progress):
        nonlocal done
        done = progress.documents_done

    with Index.open(tmp_path / "index", embedder=Watched()) as index:
        assert index.add(documents(), progress=note).added == 5


def test_progress_tells_each_document_once_and_the_true_total(tmp_path, small_batches):
    told = []
    texts = [
        f"paragraph {n}\n\n" + "\n\n".join(f"more words {n} {part} " * 4 for part in range(n % 4))
        for n in range(30)
    ]
    documents = [Document(f"{n:02}", text) for n, text in enumerate(texts)]
    with Index.open(tmp_path / "index", embedder=Watched(), splitter=SMALL) as index:
        report = index.add(documents, progress=told.append)
    assert [each.documents_done for each in told] == list(range(1, 31))
    assert [each.current for each in told] == [each.id for each in documents]
    totals = {each.passages_total for each in told} - {None}
    assert totals == {report.passages} == {told[-1].passages_done}


class Failing(Watched):
    """Fails at the third list of texts."""

    def __init__(self, trouble) -> None:
        super().__init__()
        self._trouble = trouble

    def embed_passages(self, texts):
        vectors = super().embed_passages(texts)
        return self._trouble(vectors) if len(self.asked) == 3 else vectors


def out_of_order(vectors):
    raise RuntimeError("the model is out of order")


@pytest.mark.parametrize("as_files", [False, True])
@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        (out_of_order, RuntimeError, "out of order"),
        (lambda vectors: vectors[:-1], InputError, "shape"),
        (lambda vectors: np.full_like(vectors, np.nan), InputError, "not finite"),
    ],
)
def test_a_failing_embedder_ends_the_run_and_what_was_done_stays(
    tmp_path, small_batches, trouble, error, message, as_files
):
    docs = tmp_path / "docs"
    docs.mkdir()
    documents = [Document(f"{number:02}", f"document number {number}") for number in range(40)]
    for each in documents:
        (docs / f"{each.id}.txt").write_text(each.text, encoding="utf-8")
    given = docs if as_files else documents
    told = []
    with Index.open(tmp_path / "index", embedder=Failing(trouble), splitter=SMALL) as index:
        with pytest.raises(error, match=message):
            index.add(given, progress=told.append)
        assert threads() == []
        assert len(told) == len(index.documents()) == 2 * 7
        assert {each.current for each in told} == {each.id for each in index.documents()}
        assert index.add(given).added == 40 - 2 * 7
    check_consistent(tmp_path / "index")


@pytest.mark.parametrize("where", ["documents", "progress"])
def test_what_stops_the_caller_stops_the_run(tmp_path, small_batches, where):
    def documents():
        for number in range(40):
            if number == 25 and where == "documents":
                raise KeyboardInterrupt
            yield Document(f"{number:02}", f"document number {number}")

    def stop(progress):
        if progress.documents_done == 9 and where == "progress":
            raise KeyboardInterrupt

    with Index.open(tmp_path / "index", embedder=Watched(), splitter=SMALL) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add(documents(), progress=stop)
        assert threads() == []
        there = len(index.documents())
        assert there in (7, 14, 21)
        where = "nowhere"
        report = index.add(documents())
        assert (report.unchanged, report.added) == (there, 40 - there)
    check_consistent(tmp_path / "index")


def threads() -> list[str]:
    """Return the names of threads that still embed."""
    return [each.name for each in threading.enumerate() if each.name.startswith("secondpass-embed")]


class Slow(HashEmbedder):
    def embed_passages(self, texts):
        time.sleep(0.02 * len(texts))
        return super().embed_passages(texts)


def child(folder: str) -> None:
    """Index until interrupted; say what was done."""
    adding.BATCH_TEXTS = 8
    documents = (Document(f"{number:05}", f"document number {number}") for number in range(5000))
    with Index.open(folder, embedder=Slow(32)) as index:
        try:
            index.add(documents, progress=lambda each: print(each.current, flush=True))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise SystemExit(130) from None


def test_ctrl_c_ends_a_run_soon_and_loses_nothing_reported(tmp_path):
    folder = tmp_path / "index"
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True)
    reported = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=PATIENCE)[0].split()
    assert process.returncode == 130
    assert rest[-1] == "interrupted"
    reported += rest[:-1]
    assert len(reported) < 1000
    with Index.open(folder, embedder=HashEmbedder(32), create=False) as index:
        assert set(reported) <= {each.id for each in index.documents()}
    check_consistent(folder)
    assert not (folder / "write.pid").exists()


if __name__ == "__main__":
    child(sys.argv[1])
