"""Vectors in memory, searched exactly: the reference that every other store is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..products import product
from .checks import checked_ids, checked_k, checked_query, checked_vectors
from .exact import best, places_of

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["NumpyStore"]


class NumpyStore:
    """Vectors in memory; nothing outlives the object. Not for use from several threads at once.

    Args:
        dimension: length of a vector, at least 1.
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise InputError(f"the dimension of a store must be at least 1, got {dimension}")
        self._dimension = dimension
        self._ids = np.empty(0, dtype=np.int64)
        self._vectors = np.empty((0, dimension), dtype=np.float32)

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add or replace unit vectors.

        Raises:
            InputError: a wrong shape, NaN, not of unit length, or an id twice in one call.
        """
        new_ids = checked_ids(ids)
        new_vectors = checked_vectors(vectors, len(new_ids), self._dimension)
        self.delete(new_ids.tolist())
        merged = np.concatenate([self._ids, new_ids])
        order = np.argsort(merged)
        self._vectors = np.concatenate([self._vectors, new_vectors])[order]
        self._ids = merged[order]

    def search(self, vector: Floats, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` pairs (id, cosine), best first, ties by id."""
        k = checked_k(k)
        query = checked_query(vector, self._dimension)
        if allowed is None:
            return best(self._ids, product(self._vectors, query), k)
        places = places_of(self._ids, np.asarray(allowed, dtype=np.int64))
        return best(self._ids[places], product(self._vectors[places], query), k)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        keep = ~np.isin(self._ids, np.asarray(ids, dtype=np.int64))
        self._ids, self._vectors = self._ids[keep], self._vectors[keep]

    def ids(self) -> list[int]:
        """Return every id, ascending."""
        ids: list[int] = self._ids.tolist()
        return ids

    def __len__(self) -> int:
        return len(self._ids)
