"""Several processes over one index: readers go on while one writes, a second writer is told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from index_checks import check_consistent
from secondpass import Index
from secondpass.errors import IndexLockedError
from secondpass.index import adding
from secondpass.testing import HashEmbedder
from secondpass.types import Document

GROUPS = 25
"""Documents come in pairs that are written in one batch; a reader must see both or none."""


def documents(version: int) -> list[Document]:
    return [
        Document(f"{group:02}{side}", f"group{group} {side} version{version} " * 12, {"group": group})
        for group in range(GROUPS)
        for side in ("left", "right")
    ]


class SlowEmbedder(HashEmbedder):
    def embed_passages(self, texts):
        time.sleep(0.01 * len(texts))
        return super().embed_passages(texts)


def write(folder: str) -> None:
    """Index all groups, then all again with other texts, then remove half; each pair in one batch."""
    adding.BATCH_TEXTS = 2
    with Index.open(folder, embedder=SlowEmbedder(512)) as index:
        print("ready", flush=True)
        for version in (1, 2, 3):
            index.add(documents(version))
        for group in range(0, GROUPS, 2):
            index.remove([f"{group:02}left", f"{group:02}right"])
    print("finished", flush=True)


def hold(folder: str) -> None:
    """Take the lock of the writer, and keep it until told to go on."""
    with Index.open(folder, embedder=HashEmbedder(512)) as index:

        def wait(progress):
            print("writing", flush=True)
            sys.stdin.readline()

        index.add(Document("held", "a text"), progress=wait)
    print("done", flush=True)


def started(role: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, role, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_reader_keeps_searching_while_another_process_writes(tmp_path):
    folder = tmp_path / "index"
    Index.open(folder, embedder=HashEmbedder(512)).close()
    writer = started("write", folder)
    assert writer.stdout.readline() == "ready\n"
    searches, states = 0, set()
    with Index.open(folder, embedder=HashEmbedder(512), create=False) as index:
        while writer.poll() is None:
            for stage1 in ("dense", "lexical", "hybrid"):
                group = searches % GROUPS
                hits = index.search(f"group{group} left right", 10, stage1=stage1)
                own = [hit for hit in hits if hit.passage.metadata["group"] == group]
                versions = {hit.passage.text.split()[2] for hit in own}
                assert len(own) in (0, 2), "a pair was seen half"
                assert len(versions) <= 1, "two states were mixed"
                for hit in own:
                    assert hit.passage.text.startswith(f"group{group} ")
                states |= versions
                searches += 1
        assert writer.communicate()[0] == "finished\n"
        assert searches > 50
        assert len(states) >= 2, "the reader must have seen the index change"
        left = {hit.passage.document_id for hit in index.search("group version3", 200)}
        assert left == {each.id for each in documents(3) if int(each.id[:2]) % 2}
    check_consistent(folder)


def test_a_second_writer_is_told_who_writes(tmp_path):
    folder = tmp_path / "index"
    with Index.open(folder, embedder=HashEmbedder(512)) as index:
        index.add(Document("first", "some words"))
        holder = started("hold", folder)
        assert holder.stdout.readline() == "writing\n"
        with pytest.raises(IndexLockedError, match=f"process {holder.pid} is writing"):
            index.add(Document("second", "other words"))
        with pytest.raises(IndexLockedError):
            index.remove("first")
        assert index.search("some words", 1)[0].passage.document_id == "first"
        with Index.open(folder, embedder=HashEmbedder(512)) as another:
            assert len(another) == 2, "opening an index takes no lock"
        assert holder.communicate("\n")[0] == "done\n"
        assert index.add(Document("second", "other words")).added == 1
    assert not (folder / "write.pid").exists()


def test_the_lock_of_a_killed_writer_is_free(tmp_path):
    folder = tmp_path / "index"
    with Index.open(folder, embedder=HashEmbedder(512)) as index:
        holder = started("hold", folder)
        assert holder.stdout.readline() == "writing\n"
        holder.kill()
        holder.communicate()
        assert index.add(Document("mine", "words")).added == 1


def test_two_indexes_in_one_process_exclude_each_other_too(tmp_path):
    folder = tmp_path / "index"
    with (
        Index.open(folder, embedder=HashEmbedder(512)) as one,
        Index.open(folder, embedder=HashEmbedder(512)) as two,
    ):

        def meanwhile(progress):
            with pytest.raises(IndexLockedError):
                two.add(Document("b", "b"))

        one.add(Document("a", "a"), progress=meanwhile)
        assert two.add(Document("b", "b")).added == 1
        assert len(one) == len(two) == 2


def test_many_processes_may_make_one_index(tmp_path):
    folder = tmp_path / "index"
    makers = [started("make", folder) for _ in range(4)]
    assert [maker.communicate()[0] for maker in makers] == ["made\n"] * 4
    check_consistent(folder)


def make(folder: str) -> None:
    Index.open(folder, embedder=HashEmbedder(512)).close()
    print("made", flush=True)


if __name__ == "__main__":
    {"write": write, "hold": hold, "make": make}[sys.argv[1]](sys.argv[2])
