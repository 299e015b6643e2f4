"""Vectors in an embedded Chroma (extra ``chroma``), for people who already live with one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError, MissingExtraError, StorageError
from ..ranking import rank
from .checks import checked_ids, checked_k, checked_query, checked_vectors

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["ChromaStore"]

Value = TypeVar("Value")

_COLLECTION = "secondpass"
_SEARCHED = 200
"""HNSW's ``ef``: how many neighbours a search looks at, at least; a search for more looks at more."""


class ChromaStore:
    """Unit vectors in a Chroma collection with cosine distance, kept in a folder.

    Its search is approximate (HNSW). Safe to use from several threads, one call at a time. Chroma does not
    support one process searching a folder while another writes to it: a search may then miss what is new.

    Args:
        folder: where Chroma keeps its files; made if missing, the one above it is not.
        dimension: length of a vector, at least 1.

    Raises:
        MissingExtraError: chromadb is not installed.
        StorageError: Chroma cannot open the folder.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        if dimension < 1:
            raise InputError(f"the dimension of a store must be at least 1, got {dimension}")
        self.check_installed()
        self._folder = folder
        self._dimension = dimension
        self._lock = threading.Lock()
        self._collection, self._most = self._asked(lambda: _opened(folder))

    @staticmethod
    def check_installed() -> None:
        """Raise MissingExtraError unless chromadb is there."""
        if find_spec("chromadb") is None:
            raise MissingExtraError("chromadb", "chroma", "the Chroma store")

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add or replace unit vectors.

        Raises:
            InputError: a wrong shape, NaN, not of unit length, or an id twice in one call.
        """
        keys = [str(each) for each in checked_ids(ids).tolist()]
        rows = checked_vectors(vectors, len(keys), self._dimension)
        for start in range(0, len(keys), self._most):
            end = start + self._most
            self._asked(partial(self._collection.upsert, keys[start:end], embeddings=rows[start:end]))

    def search(self, vector: Floats, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` pairs (id, cosine), best first, ties by id."""
        k = checked_k(k)
        query = checked_query(vector, self._dimension)
        only = None if allowed is None else sorted({str(int(each)) for each in allowed} & self._keys())
        count = len(self) if only is None else len(only)
        if not count:
            return []
        found = self._asked(
            lambda: self._collection.query(
                query_embeddings=query[None, :], n_results=min(k, count), ids=only, include=["distances"]
            )
        )
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return rank((int(key), 1.0 - float(distance)) for key, distance in pairs)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        keys = [str(int(each)) for each in ids]
        for start in range(0, len(keys), self._most):
            self._asked(partial(self._collection.delete, keys[start : start + self._most]))

    def ids(self) -> list[int]:
        """Return every id, ascending."""
        return sorted(int(key) for key in self._keys())

    def __len__(self) -> int:
        return int(self._asked(lambda: self._collection.count()))

    def _keys(self) -> set[str]:
        return set(self._asked(lambda: self._collection.get(include=[]))["ids"])

    def _asked(self, call: Callable[[], Value]) -> Value:
        """Call Chroma; its errors, of many classes, become one of ours."""
        with self._lock:
            try:
                return call()
            except Exception as exc:
                raise StorageError(
                    f"Chroma cannot work on {self._folder}: {exc}. If its files are damaged, delete the "
                    "folder of the index and index the documents again"
                ) from exc


def _opened(folder: Path) -> tuple[Any, int]:
    import chromadb
    from chromadb.config import Settings

    folder.mkdir(exist_ok=True)  # not the one above: where the index was moved away, nothing may grow
    client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection(
        _COLLECTION,
        embedding_function=None,
        configuration={"hnsw": {"space": "cosine", "ef_search": _SEARCHED, "ef_construction": _SEARCHED}},
    )
    return collection, max(1, client.get_max_batch_size())
