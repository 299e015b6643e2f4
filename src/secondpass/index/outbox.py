"""Changes on their way to a store outside ``index.db``: written with the documents, struck off when
acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..stores.checks import checked_vectors
from ..types import VectorStore
from .database import transaction

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["Outbox", "VectorSink", "deliver"]

_SLICE = 1000


class VectorSink(Protocol):
    """Where a writer puts vectors: a store, or the outbox of one."""

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add or replace."""
        ...

    def delete(self, ids: Sequence[int]) -> None:
        """Remove."""
        ...


class Outbox:
    """Takes changes inside the writer's transaction; the last word on an id counts."""

    def __init__(self, connection: sqlite3.Connection, dimension: int) -> None:
        self._connection = connection
        self._dimension = dimension

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Note that vectors are to be added."""
        rows = checked_vectors(vectors, len(ids), self._dimension)
        self._connection.executemany(
            "INSERT OR REPLACE INTO outbox (text_id, vector) VALUES (?, ?)",
            ((each, row.astype("<f4").tobytes()) for each, row in zip(ids, rows, strict=True)),
        )

    def delete(self, ids: Sequence[int]) -> None:
        """Note that vectors are to be deleted."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO outbox (text_id, vector) VALUES (?, NULL)", ((each,) for each in ids)
        )


def deliver(connection: sqlite3.Connection, store: VectorStore, dimension: int) -> int:
    """Bring the store up to date and strike off what it took; return how many changes that were.

    A kill in between repeats a delivery, which changes nothing: adding replaces, deleting ignores what is
    gone.
    """
    delivered = 0
    while True:
        rows = connection.execute(
            "SELECT text_id, vector FROM outbox ORDER BY text_id LIMIT ?", (_SLICE,)
        ).fetchall()
        if not rows:
            return delivered
        added = [row for row in rows if row[1] is not None]
        if added:
            matrix = np.frombuffer(b"".join(row[1] for row in added), dtype="<f4")
            store.add([row[0] for row in added], matrix.reshape(len(added), dimension).astype(np.float32))
        gone = [row[0] for row in rows if row[1] is None]
        if gone:
            store.delete(gone)
        with transaction(connection):
            connection.executemany("DELETE FROM outbox WHERE text_id = ?", ((row[0],) for row in rows))
        delivered += len(rows)
