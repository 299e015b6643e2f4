"""Vectors in an SQLite table; searched through a matrix that is derived from it."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .checks import checked_ids, checked_k, checked_query, checked_vectors
from .matrix import VectorCache

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["SCHEMA", "SqliteStore"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS vector_log (
    generation INTEGER PRIMARY KEY,
    stamp INTEGER NOT NULL,
    rewritten INTEGER NOT NULL,
    last_id INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS vector_drops (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS vector_drops_by_generation ON vector_drops (generation);
"""
"""``vectors`` is the truth. The other two say what has changed since when, so that what is derived from it
can
catch up: each change is a generation, with a random stamp (two histories that part, as after restoring a
backup,
never look alike) and the highest id ever used; ``rewritten`` says that more happened than appending and
dropping."""

_KEPT_GENERATIONS = 1000
"""What is derived from older generations is made anew; without a limit the log would grow for ever."""


class SqliteStore:
    """Unit vectors in a table of an SQLite database.

    Writes happen inside the caller's transaction if one is open, so that vectors can be committed together
    with what they belong to; else each call is one transaction.

    Args:
        connection: where the tables are; they are made if missing.
        cache: the matrix through which to search. Stores over the same database share one.
    """

    def __init__(self, connection: sqlite3.Connection, cache: VectorCache) -> None:
        self._connection = connection
        self._cache = cache

    @classmethod
    def create(cls, connection: sqlite3.Connection, cache: VectorCache) -> SqliteStore:
        """Make the tables where they are missing and return the store."""
        connection.executescript(SCHEMA)
        return cls(connection, cache)

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add or replace unit vectors.

        Raises:
            InputError: a wrong shape, NaN, not of unit length, or an id twice in one call.
        """
        keys = checked_ids(ids).tolist()
        rows = checked_vectors(vectors, len(keys), self._cache.dimension)
        if not keys:
            return
        with self._changing():
            generation, last_id = self._newest()
            self._log(generation + 1, rewritten=min(keys) <= last_id, last_id=max(last_id, *keys))
            self._connection.executemany(
                "INSERT OR REPLACE INTO vectors (id, vector) VALUES (?, ?)",
                ((key, row.astype("<f4").tobytes()) for key, row in zip(keys, rows, strict=True)),
            )

    def search(self, vector: Floats, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` pairs (id, cosine), best first, ties by id."""
        k = checked_k(k)
        query = checked_query(vector, self._cache.dimension)
        with self._snapshot():
            return self._cache.search(self._connection, query, k, allowed)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        keys = [(int(key),) for key in ids]
        if not keys:
            return
        with self._changing():
            generation, last_id = self._newest()
            self._log(generation + 1, rewritten=False, last_id=last_id)
            self._connection.executemany(
                "INSERT OR REPLACE INTO vector_drops (id, generation) SELECT id, ? FROM vectors WHERE id = ?",
                ((generation + 1, *key) for key in keys),
            )
            self._connection.executemany("DELETE FROM vectors WHERE id = ?", keys)

    def ids(self) -> list[int]:
        """Return every id, ascending."""
        return [row[0] for row in self._connection.execute("SELECT id FROM vectors ORDER BY id")]

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def _newest(self) -> tuple[int, int]:
        row = self._connection.execute(
            "SELECT generation, last_id FROM vector_log ORDER BY generation DESC LIMIT 1"
        ).fetchone()
        return (0, -1) if row is None else (row[0], row[1])

    def _log(self, generation: int, *, rewritten: bool, last_id: int) -> None:
        self._connection.execute(
            "INSERT INTO vector_log (generation, stamp, rewritten, last_id) VALUES (?, ?, ?, ?)",
            (generation, secrets.randbits(62), rewritten, last_id),
        )
        oldest = (generation - _KEPT_GENERATIONS,)
        self._connection.execute("DELETE FROM vector_log WHERE generation < ?", oldest)
        self._connection.execute("DELETE FROM vector_drops WHERE generation < ?", oldest)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let all that is read here come from one state, whoever writes meanwhile."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """All or nothing, alone or inside the caller's transaction."""
        self._connection.execute("SAVEPOINT vectors_change")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled all back already
                self._connection.execute("ROLLBACK TO vectors_change")
                self._connection.execute("RELEASE vectors_change")
            raise
        self._connection.execute("RELEASE vectors_change")
