"""The vectors of a database at one version, and how one version becomes the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IndexDamagedError
from ..products import product
from .exact import places_of
from .matrix_file import Block, Version, are_unit

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["View", "advanced", "blocks", "continues", "joined", "last_id_of", "version_of"]

_FETCHED = 2048


@dataclass(frozen=True, slots=True)
class View:
    """All vectors at one version, never changed once made, so that threads can share it.

    Attributes:
        base: what the file holds, mapped into memory (or built in memory where no file can be written).
        tail: what was added since.
        dead: places (in base, then tail) of what was removed since, ascending.
        last_id: the highest id ever used up to this version.
    """

    version: Version
    last_id: int
    base: Block
    tail: Block
    dead: Ids

    @property
    def ids(self) -> Ids:
        """Ids by place, ascending, the dead ones included."""
        return np.concatenate([self.base.ids, self.tail.ids]) if len(self.tail.ids) else self.base.ids

    def scores(self, query: Floats) -> Floats:
        """Return the cosine of each place; ``-inf`` for what was removed."""
        scores = np.concatenate([product(self.base.matrix, query), product(self.tail.matrix, query)])
        scores[self.dead] = -np.inf
        return scores

    def scores_at(self, places: Ids, query: Floats) -> Floats:
        """Return the cosines of some places, ascending."""
        split = int(np.searchsorted(places, len(self.base.ids)))
        in_tail = places[split:] - len(self.base.ids)
        parts = self.base.matrix[places[:split]], self.tail.matrix[in_tail]
        return np.concatenate([product(part, query) for part in parts])

    def alive(self, ids: Ids) -> Ids:
        """Return the ascending places of those of ``ids`` that are here."""
        return np.setdiff1d(places_of(self.ids, ids), self.dead, assume_unique=True)


def advanced(connection: sqlite3.Connection, known: View, version: Version, dimension: int) -> View | None:
    """Return ``known`` with all that happened since; None where it is not an earlier state, or was
    rewritten.
    """
    if known.version == version:
        return known
    if not continues(connection, known.version):
        return None
    since = (known.version.generation,)
    added = joined(blocks(connection, known.last_id, dimension), dimension)
    tail = Block(
        np.concatenate([known.tail.ids, added.ids]), np.concatenate([known.tail.matrix, added.matrix])
    )
    drops = connection.execute("SELECT id FROM vector_drops WHERE generation > ?", since).fetchall()
    ids = np.concatenate([known.base.ids, tail.ids])
    dead = np.union1d(known.dead, places_of(ids, np.array([row[0] for row in drops], dtype=np.int64)))
    return View(version, last_id_of(connection), known.base, tail, dead.astype(np.int64))


def continues(connection: sqlite3.Connection, version: Version) -> bool:
    """Say whether the present state came from that version by appending and dropping alone."""
    since = (version.generation,)
    stamp = connection.execute("SELECT stamp FROM vector_log WHERE generation = ?", since).fetchone()
    if stamp is None or stamp[0] != version.stamp:
        return False
    rewritten = connection.execute("SELECT 1 FROM vector_log WHERE generation > ? AND rewritten", since)
    return rewritten.fetchone() is None


def blocks(connection: sqlite3.Connection, above: int, dimension: int) -> Iterator[Block]:
    """Yield what the table holds above an id, in order, some thousand rows at a time."""
    cursor = connection.execute("SELECT id, vector FROM vectors WHERE id > ? ORDER BY id", (above,))
    while rows := cursor.fetchmany(_FETCHED):
        blobs = [row[1] for row in rows]
        if not all(isinstance(blob, bytes) and len(blob) == 4 * dimension for blob in blobs):
            raise IndexDamagedError(_DAMAGED)
        matrix = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(rows), dimension)
        if not are_unit(matrix):
            raise IndexDamagedError(_DAMAGED)
        yield Block(np.array([row[0] for row in rows], dtype=np.int64), matrix.astype(np.float32))


def joined(parts: Iterable[Block], dimension: int) -> Block:
    """Return all rows as one block."""
    listed = list(parts)
    return Block(
        np.concatenate([np.empty(0, dtype=np.int64), *(block.ids for block in listed)]),
        np.concatenate([np.empty((0, dimension), dtype=np.float32), *(block.matrix for block in listed)]),
    )


def version_of(connection: sqlite3.Connection) -> Version:
    """Return the version that the connection sees."""
    row = connection.execute(
        "SELECT generation, stamp FROM vector_log ORDER BY generation DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return Version(0, 0)
    if not all(isinstance(value, int) for value in row):
        raise IndexDamagedError(_DAMAGED)
    return Version(*row)


def last_id_of(connection: sqlite3.Connection) -> int:
    """Return the highest id ever used, -1 before the first."""
    row = connection.execute("SELECT last_id FROM vector_log ORDER BY generation DESC LIMIT 1").fetchone()
    if row is None:
        return -1
    if not isinstance(row[0], int):
        raise IndexDamagedError(_DAMAGED)
    return row[0]


_DAMAGED = (
    "the vectors in index.db, or the log of their changes, are damaged; "
    "delete the folder of the index and index the documents again"
)
