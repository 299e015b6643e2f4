"""kill -9 while documents are indexed: nothing reported done is lost, and a re-run ends where it should.

Run as a script, this file is the process that is killed.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from index_checks import check_consistent
from secondpass import Index
from secondpass.index import adding
from secondpass.testing import HashEmbedder

KILLS = 20
FILES = 60
SEED = 20240917


class SlowEmbedder(HashEmbedder):
    """As slow as a model would be, in small, so that kills meet every phase of a run."""

    def embed_passages(self, texts):
        time.sleep(0.002 * len(texts))
        return super().embed_passages(texts)


def child(folder: str, docs: str) -> None:
    """Index, and report each document once it is done."""
    adding.BATCH_TEXTS, adding.EMBED_SLICE = 16, 24  # many commits, and two documents that are staged
    done = 0

    def report(progress):
        nonlocal done
        if progress.documents_done > done:
            done = progress.documents_done
            print(progress.current, flush=True)

    with Index.open(folder, embedder=SlowEmbedder(64)) as index:
        print("ready", flush=True)
        index.add(docs, prune=True, progress=report)
    print("finished", flush=True)


def write_files(docs: Path, version: int) -> None:
    """Write the files; version 2 has changed, new, vanished and equal ones, and texts that several share."""
    shutil.rmtree(docs, ignore_errors=True)
    docs.mkdir()
    words = random.Random(SEED)
    for n in range(FILES):
        changed = version == 2 and n % 3 == 0
        paragraphs = 120 if n in (21, 39) else words.randrange(2, 12)
        text = [
            f"{n} {'new' if changed and part % 2 else 'old'} {part} "
            + " ".join(f"w{words.randrange(500)}" for _ in range(60))
            for part in range(paragraphs)
        ]
        if n % 5 == 0:
            text.append(f"The same words in many files of version {version if n % 2 else 1}. " * 7)
        if not (version == 1 and n % 7 == 0) and not (version == 2 and n % 11 == 10):
            (docs / f"{n:02}.txt").write_text("\n\n".join(text), encoding="utf-8")


def started(folder: Path, docs: Path) -> subprocess.Popen[str]:
    """Start the child and wait until it is about to index."""
    command = [sys.executable, __file__, str(folder), str(docs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def whole_run(folder: Path, docs: Path) -> list[str]:
    """Let the child finish; return what it reported."""
    return started(folder, docs).communicate()[0].splitlines()


def killed_run(folder: Path, docs: Path, reports: int, delay: float) -> list[str]:
    """Kill the child ``delay`` seconds after so many reports; return what it reported until then."""
    process = started(folder, docs)
    reported = [process.stdout.readline().strip() for _ in range(reports)]
    time.sleep(delay)
    process.kill()
    reported += process.communicate()[0].splitlines()
    assert process.returncode in (0, -9)
    return [line for line in reported if line]


def check_survived(folder: Path, reported: list[str]) -> None:
    with Index.open(folder, embedder=HashEmbedder(64), create=False) as index:
        known = {each.id: each.passages for each in index.documents()}
        for document_id in reported:
            if document_id == "finished":
                continue
            assert document_id in known, f"{document_id} was reported done and is lost"
            assert index.document(document_id).text == Path(document_id).read_text(encoding="utf-8")
            assert known[document_id] > 0
        for stage1 in ("dense", "lexical"):
            assert index.search("w1 w2 w3 of many files", 5, stage1=stage1)
    check_consistent(folder)


@pytest.mark.slow
def test_kills_lose_nothing_and_leave_no_trace(tmp_path):
    docs = tmp_path / "docs"
    before = tmp_path / "before"
    write_files(docs, 1)
    with Index.open(before, embedder=HashEmbedder(64)) as index:
        index.add(docs)
    write_files(docs, 2)
    with Index.open(tmp_path / "undisturbed", embedder=HashEmbedder(64)) as index:
        index.add(docs)
        expected = index.fingerprint()
        answers = index.search("w1 w2 w3 of many files", 10)

    shutil.copytree(before, tmp_path / "whole")
    done = whole_run(tmp_path / "whole", docs)
    assert done[-1] == "finished"

    moments = random.Random(SEED)
    partly = staged = already = 0
    folder = tmp_path / "index"
    for kill in range(KILLS):
        if kill % 2 == 0:  # each second kill meets what the one before it left
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(before, folder)
            already = 0
        # After some reports, and then anywhere within the next batches: reading, embedding, committing.
        reports = moments.randrange(already, len(done) - 12)
        reported = killed_run(folder, docs, reports, moments.uniform(0, 0.15))
        already = min(len(reported), len(done) - 20)
        partly += "finished" not in reported
        staged += (folder / "cache" / "staged.db").exists()
        check_survived(folder, reported)
        if kill % 2 == 1:
            with Index.open(folder, embedder=HashEmbedder(64)) as index:
                index.add(docs, prune=True)
                assert index.fingerprint() == expected
                found = index.search("w1 w2 w3 of many files", 10)
                assert [hit.passage for hit in found] == [hit.passage for hit in answers]
            check_consistent(folder)
            assert not (folder / "cache" / "staged.db").exists()
    assert partly >= KILLS // 2, "too few kills met a run under way"
    assert staged >= 1, "no kill met a long document that was being staged"


if __name__ == "__main__":
    child(*sys.argv[1:])
