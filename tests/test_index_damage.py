"""Damaged files, unwritable folders, full disks: it works, or it is one clear error, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from index_checks import check_consistent
from secondpass import Index
from secondpass.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexWriteError,
    SecondpassError,
    StorageError,
)
from secondpass.testing import HashEmbedder
from secondpass.types import Document

FILES = [
    "index.db",
    "index.db-wal",
    "index.db-shm",
    "cache/vectors.f32",
    "cache/staged.db",
    "write.lock",
    "write.pid",
]


def embedder() -> HashEmbedder:
    return HashEmbedder(64)


def documents(count: int = 40) -> list[Document]:
    return [
        Document(
            f"d{n:02}",
            "\n\n".join(f"word{n} part{part} " * 30 for part in range(4)),
            {"n": n, "even": n % 2 == 0},
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> Path:
    """An index as a killed run leaves it: a log that waits, a lock file, a staging file."""
    folder, copy = tmp_path_factory.mktemp("healthy") / "index", tmp_path_factory.mktemp("copy") / "index"
    index = Index.open(folder, embedder=embedder())
    index.add(documents(30))
    index.close()  # these are in index.db, what follows is in the log
    index = Index.open(folder, embedder=embedder())
    index.search("word1")  # keeps a connection, so that the log stays
    index.add(documents(40))
    index.remove(["d03", "d04"])
    shutil.copytree(folder, copy)
    index.close()
    staged = sqlite3.connect(copy / "cache" / "staged.db")
    staged.execute("CREATE TABLE owner (value TEXT NOT NULL)")
    staged.execute("CREATE TABLE staged (hash BLOB PRIMARY KEY, vector BLOB NOT NULL)")
    staged.commit()
    staged.close()
    (copy / "write.pid").write_text("1")
    assert all((copy / name).exists() for name in FILES)
    assert (copy / "index.db-wal").stat().st_size > 10_000
    return copy


def use(folder: Path) -> None:
    """Do what one can do with an index."""
    with Index.open(folder, embedder=embedder(), create=False) as index:
        index.status()
        for summary in index.documents():
            index.document(summary.id)
        for stage1 in ("dense", "lexical", "hybrid"):
            for query in ("word1 part2", "word35", "part3"):
                for hit in index.search(query, 30, stage1=stage1):
                    index.passage(hit.passage.id)
        index.search("word2", 5, where={"even": "true"})
        index.fingerprint()
        index.add([*documents(10), Document("new", "some new words")])
        index.remove(["d05", "new"])
        index.search("word1 part2", 30)


def damaged(data: bytes, kind: str, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    if kind == "empty":
        return b""
    if kind == "short":
        return data[: int(random.integers(1, max(2, len(data))))]
    if kind == "noise":
        return random.bytes(max(100, len(data)))
    if kind == "zeros":
        return bytes(len(data))
    spoiled = bytearray(data)  # "pages": noise in some places
    for _ in range(int(random.integers(1, 6))):
        start, size = int(random.integers(0, max(1, len(data)))), int(random.integers(1, 3000))
        spoiled[start : start + size] = random.bytes(size)
    return bytes(spoiled[: len(data)])


@pytest.mark.parametrize("kind", ["empty", "short", "noise", "zeros", "pages"])
@pytest.mark.parametrize("name", FILES)
def test_each_file_damaged_in_turn(tmp_path, healthy, name, kind):
    for seed in range(12 if kind in ("pages", "short") and name.startswith("index") else 2):
        folder = tmp_path / str(seed)
        shutil.copytree(healthy, folder)
        file = folder / name
        file.write_bytes(damaged(file.read_bytes(), kind, seed))
        if name == "index.db" and kind in ("empty", "noise", "zeros"):
            with pytest.raises(IndexDamagedError):
                use(folder)
        elif name.startswith("index.db"):
            with suppress(IndexDamagedError, IndexMismatchError):
                use(folder)
        else:  # what can be made anew is no reason to fail
            use(folder)


def test_what_can_be_made_anew_is(tmp_path, healthy):
    with Index.open(healthy, embedder=embedder()) as index:
        expected = index.search("word7 part1", 10), index.fingerprint()
    for name in FILES[2:]:
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(healthy, folder)
        (folder / name).write_bytes(np.random.default_rng(3).bytes(5000))
        with Index.open(folder, embedder=embedder()) as index:
            assert (index.search("word7 part1", 10), index.fingerprint()) == expected
            index.add(documents())
        check_consistent(folder)


def test_a_missing_cache_is_made_anew(tmp_path, healthy):
    shutil.copytree(healthy, tmp_path / "index")
    shutil.rmtree(tmp_path / "index" / "cache")
    use(tmp_path / "index")


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE documents SET metadata = 'no json'",
        "UPDATE documents SET metadata = '[1]'",
        "UPDATE documents SET page_starts = '{'",
        "UPDATE documents SET page_starts = '3'",
        "UPDATE documents SET text = x'ff00ff'",
        "UPDATE texts SET text = CAST(x'ff00ff' AS TEXT)",
        "UPDATE texts SET text = 17.5",
        "UPDATE passages SET start = 'here'",
        "UPDATE passages SET line_start = x'00'",
        "UPDATE meta SET value = 'many' WHERE key = 'dimension'",
        "UPDATE meta SET value = '-4' WHERE key = 'dimension'",
        "UPDATE meta SET value = '{' WHERE key = 'splitter'",
        "UPDATE meta SET value = 'punched cards' WHERE key = 'store'",
        "UPDATE meta SET value = 'x' WHERE key = 'generation'",
        "DELETE FROM meta WHERE key = 'embedder'",
        "DROP TABLE passages",
        "DROP TABLE words",
        "DROP TABLE vectors",
        "UPDATE vectors SET vector = zeroblob(256)",
        "UPDATE vectors SET vector = 'text'",
        "UPDATE vector_log SET last_id = 'x'",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 0",
    ],
)
def test_rows_that_make_no_sense_are_damage(tmp_path, healthy, spoil):
    folder = tmp_path / "index"
    shutil.copytree(healthy, folder)
    connection = sqlite3.connect(folder / "index.db")
    connection.execute(spoil)
    connection.commit()
    connection.close()
    (folder / "cache" / "vectors.f32").unlink()
    with pytest.raises(IndexDamagedError, match="again"):
        use(folder)


def test_another_programs_database_is_not_touched(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    connection = sqlite3.connect(folder / "index.db")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    before = (folder / "index.db").read_bytes()
    with pytest.raises(IndexDamagedError, match="not the database of an index"):
        Index.open(folder, embedder=embedder())
    assert (folder / "index.db").read_bytes() == before


@pytest.mark.parametrize("name", ["index.db", "cache", "write.lock", "write.pid", "cache/vectors.f32"])
def test_a_folder_or_a_file_where_the_other_should_be(tmp_path, healthy, name):
    folder = tmp_path / "index"
    shutil.copytree(healthy, folder)
    place = folder / name
    if place.is_dir():
        shutil.rmtree(place)
        place.write_text("a file")
    else:
        place.unlink()
        place.mkdir()
    if name in ("index.db", "write.lock"):
        with pytest.raises(StorageError):
            use(folder)
    else:
        use(folder)


# Folders that cannot be written (as root, rights do not bind: the attribute "immutable" and mounts do)


def run(*command: str | Path) -> bool:
    try:
        return (
            subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


@pytest.fixture
def frozen(tmp_path) -> Iterator[Callable[[Path], None]]:
    """Say which folder nobody may write to."""
    done: list[Path] = []

    def freeze(folder: Path) -> None:
        folder.chmod(0o500)
        probe = folder / "probe"
        try:
            probe.touch()
        except OSError:
            done.append(folder)
            return
        probe.unlink()
        if not run("chattr", "+i", folder):
            pytest.skip("this user may write everywhere, and the file system has no immutable folders")
        done.append(folder)

    yield freeze
    for folder in done:
        run("chattr", "-i", folder)
        folder.chmod(0o700)


def test_an_index_cannot_be_made_in_an_unwritable_folder(tmp_path, frozen):
    (tmp_path / "locked").mkdir()
    frozen(tmp_path / "locked")
    for place in (tmp_path / "locked", tmp_path / "locked" / "index"):
        with pytest.raises(IndexWriteError, match="cannot be written"):
            Index.open(place, embedder=embedder())
        with pytest.raises(IndexMissingError):
            Index.open(place, embedder=embedder(), create=False)


def test_an_unwritable_folder_can_be_searched_and_says_that_it_cannot_be_written(tmp_path, frozen):
    folder = tmp_path / "index"
    with Index.open(folder, embedder=embedder()) as index:
        index.add(documents())
        expected = index.search("word7 part1", 10)
    shutil.rmtree(folder / "cache")
    frozen(folder)
    with Index.open(folder, embedder=embedder()) as index:
        assert index.search("word7 part1", 10) == expected
        assert index.search("word7 part1", 10, stage1="lexical")
        for write in (lambda: index.add(Document("new", "words")), lambda: index.remove("d01")):
            with pytest.raises(IndexWriteError, match="cannot be written"):
                write()
        assert index.search("word7 part1", 10) == expected


# A full disk


@pytest.fixture(params=["2m", "3m", "5m"])
def small_disk(request, tmp_path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not run("mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", disk):
        pytest.skip("this user may not mount a small file system")
    yield disk
    run("umount", "-l", disk)


def test_a_full_disk_is_one_error_and_the_index_stays_usable(small_disk):
    folder = small_disk / "index"
    many = [Document(f"d{n:03}", f"word{n} many " * 2000, {"n": n}) for n in range(300)]
    done: list[str] = []
    with Index.open(folder, embedder=embedder()) as index:
        index.add(documents(5))
        with pytest.raises(IndexWriteError, match="disk is full"):
            index.add(many, progress=lambda progress: done.append(progress.current))
        assert index.search("word1 part2", 3), "searching goes on"
        kept = {each.id for each in index.documents()}
        assert set(done) <= kept, "what was reported done is there"
        with pytest.raises(IndexWriteError):
            index.add(many)
    with Index.open(folder, embedder=embedder()) as index:
        assert {each.id for each in index.documents()} >= kept
        assert index.search("word1 part2", 3)
    # Space is made: the same command goes through and ends where an undisturbed run does.
    assert run("mount", "-o", "remount,size=60m", small_disk)
    with (
        Index.open(folder, embedder=embedder()) as index,
        Index.open(small_disk / "other", embedder=embedder()) as undisturbed,
    ):
        for each in (index, undisturbed):
            each.add([*documents(5), *many])
        assert index.fingerprint() == undisturbed.fingerprint()
    check_consistent(folder)


def test_a_disk_that_is_full_from_the_start(tmp_path, small_disk):
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(IndexWriteError):
        Index.open(small_disk / "index", embedder=embedder())
    filler.unlink()
    with Index.open(small_disk / "index", embedder=embedder()) as index:
        index.add(documents(3))


def test_every_error_is_one_of_ours():
    assert issubclass(IndexWriteError, StorageError)
    assert issubclass(StorageError, SecondpassError)
