"""What every vector store must do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..stores import NumpyStore
from ..types import VectorStore
from .refusals import refused

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["VectorStoreContract"]

DIMENSION = 16


class VectorStoreContract:
    """Subclass it in a test module, say how to make a store, and pytest runs the suite.

    Attributes:
        tolerance: how far a cosine may be from the exact one; raise it for a store that quantises.
    """

    tolerance = 1e-5

    def make_store(self, folder: Path, dimension: int) -> VectorStore:
        """Return an empty store; ``folder`` is empty and its own."""
        raise NotImplementedError("say in your subclass how to make an empty store")

    def test_meets_the_protocol(self, tmp_path: Path) -> None:
        assert isinstance(self.make_store(tmp_path, DIMENSION), VectorStore)

    def test_starts_empty_and_finds_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path, DIMENSION)
        assert len(store) == 0
        assert store.ids() == []
        assert store.search(unit_rows(1)[0], 5) == []
        assert store.search(unit_rows(1)[0], 5, []) == []

    def test_finds_what_the_reference_finds(self, tmp_path: Path) -> None:
        store, reference, rows = self._filled(tmp_path, 200)
        for query in rows[:20] + 0.3 * unit_rows(20, seed=9):
            query /= np.linalg.norm(query)
            self._same(store.search(query, 10), reference.search(query, 10))

    def test_a_vector_finds_itself_first_with_cosine_one(self, tmp_path: Path) -> None:
        store, _, rows = self._filled(tmp_path, 50)
        for place in (0, 7, 49):
            key, cosine = store.search(rows[place], 1)[0]
            assert key == place * 3 + 5
            assert abs(cosine - 1) <= self.tolerance

    def test_gives_all_when_asked_for_more_than_there_is(self, tmp_path: Path) -> None:
        store, reference, rows = self._filled(tmp_path, 30)
        found = store.search(rows[3], 1000)
        assert sorted(key for key, _ in found) == store.ids()
        self._same(found, reference.search(rows[3], 1000))

    def test_scores_descend_and_ties_break_by_id(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path, DIMENSION)
        rows = np.eye(DIMENSION, dtype=np.float32)
        store.add([9, 4, 7, 1], rows[[0, 0, 0, 1]])
        assert [key for key, _ in store.search(rows[0], 4)] == [4, 7, 9, 1]
        scores = [score for _, score in store.search(rows[0], 4)]
        assert scores == sorted(scores, reverse=True)

    def test_the_opposite_vector_has_cosine_minus_one(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path, DIMENSION)
        row = unit_rows(1)
        store.add([1], -row)
        assert abs(store.search(row[0], 1)[0][1] + 1) <= self.tolerance

    def test_adding_an_id_again_replaces_its_vector(self, tmp_path: Path) -> None:
        store, _, rows = self._filled(tmp_path, 20)
        store.search(rows[0], 1)  # whatever is cached of the first state must not be shown again
        other = unit_rows(1, seed=77)
        store.add([5], other)
        assert len(store) == 20
        key, cosine = store.search(other[0], 1)[0]
        assert (key, abs(cosine - 1) <= self.tolerance) == (5, True)
        assert dict(store.search(rows[0], 20))[5] < 0.999

    def test_deleted_vectors_are_gone_and_can_come_back(self, tmp_path: Path) -> None:
        store, reference, rows = self._filled(tmp_path, 40)
        store.search(rows[0], 1)
        gone = [5, 8, 122]
        for each in (store, reference):
            each.delete([*gone, 4711])  # an unknown id is ignored
        assert store.ids() == reference.ids()
        self._same(store.search(rows[0], 40), reference.search(rows[0], 40))
        store.add([8], rows[1:2])
        assert store.search(rows[1], 1)[0][0] == 8
        store.delete([])
        assert len(store) == 38

    def test_everything_can_be_deleted(self, tmp_path: Path) -> None:
        store, _, rows = self._filled(tmp_path, 10)
        store.delete(store.ids())
        assert len(store) == 0
        assert store.search(rows[0], 3) == []

    def test_allowed_limits_the_search(self, tmp_path: Path) -> None:
        store, reference, rows = self._filled(tmp_path, 60)
        allowed = [5, 8, 11, 95, 182, 4711]
        found = store.search(rows[30], 4, allowed)
        assert len(found) == 4
        assert {key for key, _ in found} <= set(allowed)
        self._same(found, reference.search(rows[30], 4, allowed))
        assert store.search(rows[30], 4, [4711]) == []
        assert store.search(rows[30], 4, []) == []
        store.delete([8])
        assert 8 not in [key for key, _ in store.search(rows[30], 60, allowed)]

    def test_additions_in_any_order_are_found(self, tmp_path: Path) -> None:
        store, reference = self.make_store(tmp_path, DIMENSION), NumpyStore(DIMENSION)
        rows = unit_rows(12)
        for keys in ([100, 50], [75, 3], [200], [60, 61], [1]):
            part = rows[: len(keys)]
            rows = rows[len(keys) :]
            for each in (store, reference):
                each.add(keys, part)
            assert store.ids() == reference.ids()
            self._same(store.search(part[0], 20), reference.search(part[0], 20))

    def test_an_empty_call_changes_nothing(self, tmp_path: Path) -> None:
        store, _, _ = self._filled(tmp_path, 3)
        store.add([], np.empty((0, DIMENSION), dtype=np.float32))
        store.delete([])
        assert len(store) == 3

    def test_refuses_what_is_no_vector(self, tmp_path: Path) -> None:
        store, _, rows = self._filled(tmp_path, 4)
        bad = {
            "NaN": np.full((1, DIMENSION), np.nan, dtype=np.float32),
            "infinity": np.full((1, DIMENSION), np.inf, dtype=np.float32),
            "a zero vector": np.zeros((1, DIMENSION), dtype=np.float32),
            "a vector of length 3": 3 * rows[:1],
            "another dimension": unit_rows(1)[:, :-1],
            "one vector for two ids": rows[:1],
        }
        for what, vectors in bad.items():
            keys = [900, 901] if "two ids" in what else [900]
            with refused(InputError, f"adding {what}"):
                store.add(keys, vectors)
            if "two ids" not in what:
                with refused(InputError, f"searching with {what}"):
                    store.search(vectors[0], 3)
        assert len(store) == 4, "a refused call must leave nothing behind"

    def test_refuses_bad_ids_and_counts(self, tmp_path: Path) -> None:
        store, _, rows = self._filled(tmp_path, 4)
        with refused(InputError, "an id twice in one call"):
            store.add([70, 70], rows[:2])
        with refused(InputError, "a negative id"):
            store.add([-1], rows[:1])
        for k in (0, -3):
            with refused(InputError, f"k = {k}"):
                store.search(rows[0], k)
        assert len(store) == 4

    def _filled(self, folder: Path, count: int) -> tuple[VectorStore, NumpyStore, Floats]:
        """Return a store and the reference, with ids 5, 8, 11, ..."""
        rows = unit_rows(count)
        keys = [place * 3 + 5 for place in range(count)]
        store, reference = self.make_store(folder, DIMENSION), NumpyStore(DIMENSION)
        store.add(keys, rows)
        reference.add(keys, rows)
        assert len(store) == count
        assert store.ids() == keys
        return store, reference, rows

    def _same(self, found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
        assert [key for key, _ in found] == [key for key, _ in expected]
        for (_, got), (_, exact) in zip(found, expected, strict=True):
            assert abs(got - exact) <= self.tolerance


def unit_rows(count: int, seed: int = 1) -> Floats:
    """Return random unit vectors, the same ones for the same seed."""
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    vectors: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return vectors
