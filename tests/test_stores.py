"""Every store passes the one suite; what only the SQLite store has is tested below it."""

from __future__ import annotations

import shutil
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


# The graph, with its threshold lowered: realistic vectors (clusters on a curved surface of 24 dimensions).

WIDE, MANY = 96, 20_000


@pytest.fixture(scope="module")
def clustered():
    random = np.random.default_rng(5)
    centers = random.normal(size=(150, 24))
    latent = centers[random.integers(0, 150, MANY + 100)] + 0.8 * random.normal(size=(MANY + 100, 24))
    made = np.tanh(latent @ random.normal(size=(24, WIDE)) / 5) + 0.1 * random.normal(size=(MANY + 100, WIDE))
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return made[:MANY], made[MANY:]


@pytest.fixture(scope="module")
def large(tmp_path_factory, clustered):
    """A folder with a database of many vectors and its graph; copied by tests that change it."""
    folder = tmp_path_factory.mktemp("large")
    store = graph_store(folder)
    store.add(range(1, MANY + 1), clustered[0])
    store._cache.save(store._connection)
    store._connection.close()
    return folder


def graph_store(folder: Path, threshold: int = MANY // 2) -> SqliteStore:
    connection = sqlite3.connect(folder / "vectors.db", isolation_level=None)
    return SqliteStore.create(connection, VectorCache(folder / "cache", WIDE, ann_threshold=threshold))


def copied(large: Path, folder: Path) -> Path:
    shutil.copytree(large, folder / "copy")
    return folder / "copy"


def found_by_graph(store: SqliteStore, query: np.ndarray, k: int) -> list[tuple[int, float]] | None:
    cache = store._cache
    return cache._graphs.search(store._connection, cache.view(store._connection), query, k)


def recall(store: SqliteStore, exact: NumpyStore, queries: np.ndarray, k: int = 20) -> float:
    shares = []
    for query in queries:
        found = found_by_graph(store, query, k)
        assert found is not None, "the graph must have been used"
        assert store.search(query, k) == found
        expected = dict(exact.search(query, k))
        for key, cosine in found:
            assert cosine == pytest.approx(expected.get(key, cosine), abs=1e-5)
        shares.append(len({key for key, _ in found} & set(expected)) / k)
    return float(np.mean(shares))


def reference(vectors: np.ndarray) -> NumpyStore:
    store = NumpyStore(WIDE)
    store.add(range(1, len(vectors) + 1), vectors)
    return store


def test_the_graph_finds_98_percent_of_what_an_exact_search_finds(large, clustered):
    vectors, queries = clustered
    assert recall(graph_store(large), reference(vectors), queries) >= 0.98


def test_below_the_threshold_there_is_no_graph(tmp_path, large, clustered):
    store = graph_store(large, threshold=MANY + 1)
    assert found_by_graph(store, clustered[1][0], 5) is None
    assert store.search(clustered[1][0], 5) == graph_store(large).search(clustered[1][0], 5)
    small = sqlite_store(tmp_path, DIMENSION)
    small.add(range(100), rows(100))
    small._cache.save(small._connection)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["vectors.f32"]


def test_a_filtered_search_is_exact(large, clustered):
    vectors, queries = clustered
    allowed = list(range(1, MANY, 7))
    exact = reference(vectors)
    for query in queries[:10]:
        found, expected = graph_store(large).search(query, 10, allowed), exact.search(query, 10, allowed)
        assert [key for key, _ in found] == [key for key, _ in expected]


def test_the_graph_serves_on_after_small_changes_and_is_then_brought_up_to_date(tmp_path, large, clustered):
    vectors, queries = clustered
    folder = copied(large, tmp_path)
    store, exact = graph_store(folder), reference(vectors)
    more = -vectors[:1500]
    keys = list(range(MANY + 1, MANY + 1501))
    for each in (store, exact):
        each.add(keys[:500], more[:500])
        each.delete(range(1, 200))
    written = (folder / "cache" / "vectors.usearch").stat().st_mtime_ns
    store._cache.save(store._connection)
    assert (folder / "cache" / "vectors.usearch").stat().st_mtime_ns == written
    probes = np.concatenate([queries[:30], more[100:110]])
    assert recall(store, exact, probes) >= 0.98
    assert store.search(more[100], 1)[0][0] == keys[100]
    for each in (store, exact):
        each.add(keys[500:], more[500:])
    store._cache.save(store._connection)
    assert (folder / "cache" / "vectors.usearch").stat().st_mtime_ns > written
    fresh = graph_store(folder)
    assert recall(fresh, exact, probes) >= 0.98
    assert found_by_graph(fresh, vectors[5], 5)[0][0] != 6, "what was deleted stays deleted"


def test_a_rewritten_vector_is_not_searched_through_the_old_graph(tmp_path, large, clustered):
    vectors, _ = clustered
    store = graph_store(copied(large, tmp_path))
    store.add([10], -vectors[20:21])
    assert found_by_graph(store, vectors[0], 3) is None
    assert store.search(-vectors[20], 1)[0] == pytest.approx((10, 1.0), abs=1e-5)


@pytest.mark.parametrize("name", ["vectors.usearch", "vectors.usearch.json"])
@pytest.mark.parametrize("damage", ["empty", "short", "noise", "missing"])
def test_a_damaged_graph_is_not_opened(tmp_path, large, clustered, name, damage):
    folder = copied(large, tmp_path)
    file = folder / "cache" / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        noise = np.random.default_rng(0).bytes(len(data))
        file.write_bytes({"empty": b"", "short": data[: len(data) // 2], "noise": noise}[damage])
    store = graph_store(folder)
    assert found_by_graph(store, clustered[1][0], 5) is None
    expected = [key for key, _ in reference(clustered[0]).search(clustered[1][0], 5)]
    assert [key for key, _ in store.search(clustered[1][0], 5)] == expected
    if damage == "short" and name == "vectors.usearch":
        store._cache.save(store._connection)
        assert found_by_graph(store, clustered[1][0], 5) is not None, "save makes it anew"
