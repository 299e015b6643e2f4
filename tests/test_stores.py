"""Every store passes the one suite; what only the SQLite store has is tested below it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from secondpass.errors import IndexDamagedError, StorageError
from secondpass.stores import ChromaStore, NumpyStore, SqliteStore, VectorCache
from secondpass.stores import sqlite_store as sqlite_module
from secondpass.testing import VectorStoreContract


def sqlite_store(folder: Path, dimension: int) -> SqliteStore:
    connection = sqlite3.connect(folder / "vectors.db", isolation_level=None)
    return SqliteStore.create(connection, VectorCache(folder / "cache", dimension))


class TestNumpyStore(VectorStoreContract):
    def make_store(self, folder, dimension):
        return NumpyStore(dimension)


class TestSqliteStore(VectorStoreContract):
    def make_store(self, folder, dimension):
        return sqlite_store(folder, dimension)


class TestSqliteStoreInMemory(VectorStoreContract):
    """Where no file can be written."""

    def make_store(self, folder, dimension):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        return SqliteStore.create(connection, VectorCache(None, dimension))


class TestSqliteStoreInAnUnwritableFolder(VectorStoreContract):
    def make_store(self, folder, dimension):
        (folder / "cache").write_text("a file where the folder should be")
        return sqlite_store(folder, dimension)


class TestChromaStore(VectorStoreContract):
    def make_store(self, folder, dimension):
        pytest.importorskip("chromadb")
        return ChromaStore(folder / "chroma", dimension)


DIMENSION = 8


def rows(count: int, seed: int = 3) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_chroma_keeps_what_it_was_given(tmp_path):
    pytest.importorskip("chromadb")
    ChromaStore(tmp_path, DIMENSION).add([3, 1], rows(2))
    again = ChromaStore(tmp_path, DIMENSION)
    assert again.ids() == [1, 3]
    assert again.search(rows(2)[1], 1)[0][0] == 1


def test_chroma_in_a_place_that_is_a_file_is_one_clear_error(tmp_path):
    pytest.importorskip("chromadb")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        ChromaStore(tmp_path / "file", DIMENSION)


def test_vectors_roll_back_with_the_transaction_they_are_in(tmp_path):
    store = sqlite_store(tmp_path, DIMENSION)
    store.add([1, 2], rows(2))
    connection = store._connection
    connection.execute("BEGIN")
    store.add([3], rows(1, seed=4))
    store.delete([1])
    connection.execute("ROLLBACK")
    assert store.ids() == [1, 2]
    assert [key for key, _ in store.search(rows(2)[0], 5)] == [1, 2]


def test_a_state_seen_inside_a_rolled_back_transaction_never_comes_back(tmp_path):
    """Two different states with one counter: only the stamp tells them apart."""
    store = sqlite_store(tmp_path, DIMENSION)
    connection = store._connection
    connection.execute("BEGIN")
    store.add([1], rows(1, seed=5))
    assert store.search(rows(1, seed=5)[0], 1)[0][0] == 1
    connection.execute("ROLLBACK")
    store.add([2], rows(1, seed=6))
    assert [key for key, _ in store.search(rows(1, seed=6)[0], 5)] == [2]


def test_a_cache_of_another_database_is_not_believed(tmp_path):
    """As when index.db is replaced by a backup, and the cache folder stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = sqlite_store(tmp_path / "one", DIMENSION), sqlite_store(tmp_path / "two", DIMENSION)
    one.add([1, 2], rows(2, seed=1))
    two.add([1, 2], rows(2, seed=2))
    one.search(rows(1)[0], 1)
    mixed = SqliteStore(two._connection, VectorCache(tmp_path / "one" / "cache", DIMENSION))
    assert mixed.search(rows(2, seed=2)[1], 1)[0] == pytest.approx((2, 1.0))


def test_a_new_process_reads_the_file_and_catches_up(tmp_path):
    store = sqlite_store(tmp_path, DIMENSION)
    vectors = rows(1000)
    store.add(range(800), vectors[:800])
    store._cache.save(store._connection)
    file = tmp_path / "cache" / "vectors.f32"
    written = file.stat().st_mtime_ns
    store.add(range(800, 1000), vectors[800:])
    store.delete([0, 900])
    fresh = SqliteStore(store._connection, VectorCache(tmp_path / "cache", DIMENSION))
    reference = NumpyStore(DIMENSION)
    reference.add(range(1000), vectors)
    reference.delete([0, 900])
    for query in (vectors[0], vectors[900], vectors[950]):
        found, expected = fresh.search(query, 1000), reference.search(query, 1000)
        assert [key for key, _ in found] == [key for key, _ in expected]
    assert file.stat().st_mtime_ns == written, "a few changes must not cost a new file"


def test_a_reader_with_an_older_snapshot_sees_its_own_state(tmp_path):
    store = sqlite_store(tmp_path, DIMENSION)
    store._connection.execute("PRAGMA journal_mode = WAL")
    vectors = rows(3)
    store.add([1, 2], vectors[:2])
    other = sqlite3.connect(tmp_path / "vectors.db", isolation_level=None)
    late = SqliteStore(other, store._cache)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM vectors").fetchone()
    store.delete([1])
    store.add([3], vectors[2:])
    assert {key for key, _ in store.search(vectors[0], 5)} == {2, 3}
    assert {key for key, _ in late.search(vectors[0], 5)} == {1, 2}
    other.execute("ROLLBACK")
    assert {key for key, _ in late.search(vectors[0], 5)} == {2, 3}
    other.close()


@pytest.mark.parametrize("damage", ["empty", "short", "noise", "zeros", "longer", "folder"])
def test_a_damaged_cache_file_is_made_anew(tmp_path, damage):
    store = sqlite_store(tmp_path, DIMENSION)
    vectors = rows(300)
    store.add(range(300), vectors)
    expected = store.search(vectors[7], 5)
    file = tmp_path / "cache" / "vectors.f32"
    data = file.read_bytes()
    noise = np.random.default_rng(1).bytes(len(data) - 64)
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(
            {
                "empty": b"",
                "short": data[: len(data) // 2],
                "noise": np.random.default_rng(0).bytes(len(data)),
                "zeros": data[:64] + bytes(len(data) - 64),
                "longer": data + noise,
            }[damage]
        )
    fresh = SqliteStore(store._connection, VectorCache(tmp_path / "cache", DIMENSION))
    assert fresh.search(vectors[7], 5) == expected


def test_noise_among_the_vectors_of_the_cache_is_noticed(tmp_path):
    """A few rows that the samples miss give cosines that no unit vectors give."""
    store = sqlite_store(tmp_path, DIMENSION)
    vectors = rows(4000)
    store.add(range(4000), vectors)
    expected = store.search(vectors[7], 5)
    file = tmp_path / "cache" / "vectors.f32"
    data = bytearray(file.read_bytes())
    start = 64 + 4 * DIMENSION * 1001
    data[start : start + 4 * DIMENSION] = np.full(DIMENSION, np.nan, dtype="<f4").tobytes()
    file.write_bytes(data)
    fresh = SqliteStore(store._connection, VectorCache(tmp_path / "cache", DIMENSION))
    assert fresh.search(vectors[7], 5) == expected


@pytest.mark.parametrize("blob", [b"short", bytes(4 * DIMENSION), b"\xff" * 4 * DIMENSION])
def test_damaged_vectors_in_the_table_are_an_error(tmp_path, blob):
    store = sqlite_store(tmp_path, DIMENSION)
    store.add([1, 2], rows(2))
    store._connection.execute("UPDATE vectors SET vector = ? WHERE id = 2", (blob,))
    with pytest.raises(IndexDamagedError, match="again"):
        store.search(rows(1)[0], 1)


def test_the_log_of_changes_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_module, "_KEPT_GENERATIONS", 10)
    store = sqlite_store(tmp_path, DIMENSION)
    vectors = rows(60)
    store.add([0], vectors[:1])
    store.search(vectors[0], 1)
    for key in range(1, 60):
        store.add([key], vectors[key : key + 1])
        store.delete([key - 1])
    assert store._connection.execute("SELECT count(*) FROM vector_log").fetchone()[0] <= 11
    assert store._connection.execute("SELECT count(*) FROM vector_drops").fetchone()[0] <= 11
    assert [key for key, _ in store.search(vectors[59], 5)] == [59], "what is too old to catch up starts anew"
