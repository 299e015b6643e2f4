"""What searches read instead of the table of vectors: one matrix, kept up to date by small steps."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IndexDamagedError, InputError
from .exact import best, places_of
from .matrix_file import Block, Version, are_unit, read_matrix, write_matrix

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["VectorCache", "View"]

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
        scores = np.concatenate([self.base.matrix @ query, self.tail.matrix @ query])
        scores[self.dead] = -np.inf
        return scores

    def scores_at(self, places: Ids, query: Floats) -> Floats:
        """Return the cosines of some places, ascending."""
        split = int(np.searchsorted(places, len(self.base.ids)))
        in_tail = places[split:] - len(self.base.ids)
        return np.concatenate([self.base.matrix[places[:split]] @ query, self.tail.matrix[in_tail] @ query])

    def alive(self, ids: Ids) -> Ids:
        """Return the ascending places of those of ``ids`` that are here."""
        return np.setdiff1d(places_of(self.ids, ids), self.dead, assume_unique=True)


class VectorCache:
    """The vectors of one database as a matrix: mapped from a file, or in memory where none can be written.

    Safe to use from several threads, each with its own connection.

    Args:
        folder: where the file goes; made when needed. None keeps all in memory.
        dimension: length of a vector, at least 1.
    """

    def __init__(self, folder: Path | None, dimension: int) -> None:
        if dimension < 1:
            raise InputError(f"the dimension of a store must be at least 1, got {dimension}")
        self.dimension = dimension
        self._path = None if folder is None else folder / "vectors.f32"
        self._lock = threading.Lock()
        self._view: View | None = None

    def search(
        self, connection: sqlite3.Connection, query: Floats, k: int, allowed: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        """Return the best ``k`` (id, cosine) of what the connection sees."""
        view = self.view(connection)
        try:
            return _search(view, query, k, allowed)
        except _NotCosines:
            self._distrust()
            return _search(self.view(connection), query, k, allowed)

    def view(self, connection: sqlite3.Connection) -> View:
        """Return the vectors that the connection sees (inside a transaction: its snapshot).

        Raises:
            IndexDamagedError: the table holds something else than unit vectors.
        """
        version = _version(connection)
        with self._lock:
            view = self._caught_up(connection, version, slack=0.25)
            if self._view is None or version.generation >= self._view.version.generation:
                self._view = view
            return view

    def save(self, connection: sqlite3.Connection) -> None:
        """Bring the file up to date, so that the next process finds little to catch up with."""
        version = _version(connection)
        with self._lock:
            self._view = self._caught_up(connection, version, slack=0.02)

    def _caught_up(self, connection: sqlite3.Connection, version: Version, slack: float) -> View:
        """Return a view of ``version``: what is at hand plus what changed, or all anew if that is too
        much.
        """
        newer = self._view is not None and self._view.version.generation > version.generation
        for known in (self._view, None if newer else self._from_file()):
            if known is None:
                continue
            if known.version == version and known is self._view:
                return known
            view = _advanced(connection, known, version, self.dimension)
            if view is not None:
                behind = len(view.tail.ids) + len(view.dead)
                if behind <= max(512, slack * len(view.base.ids)):
                    return view
        return self._rebuilt(connection, version, write=not newer)

    def _from_file(self) -> View | None:
        saved = None if self._path is None else read_matrix(self._path, self.dimension)
        return None if saved is None else self._fresh(saved.version, saved.last_id, saved.block)

    def _rebuilt(self, connection: sqlite3.Connection, version: Version, *, write: bool) -> View:
        last_id = _last_id(connection)
        if write and self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_matrix(
                    self._path, version, last_id, self.dimension, _blocks(connection, -1, self.dimension)
                )
            except OSError:
                pass  # a folder that cannot be written, or a full disk: memory will do
            else:
                view = self._from_file()
                if view is not None and view.version == version:
                    return view
        return self._fresh(version, last_id, _joined(_blocks(connection, -1, self.dimension), self.dimension))

    def _fresh(self, version: Version, last_id: int, base: Block) -> View:
        return View(version, last_id, base, _joined((), self.dimension), np.empty(0, dtype=np.int64))

    def _distrust(self) -> None:
        with self._lock:
            self._view = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)


class _NotCosines(Exception):  # noqa: N818 (never leaves this module)
    """The matrix gave numbers that no unit vectors give: its file is damaged."""


def _search(view: View, query: Floats, k: int, allowed: Sequence[int] | None) -> list[tuple[int, float]]:
    with np.errstate(over="ignore", invalid="ignore"):
        if allowed is None:
            ids, scores = view.ids, view.scores(query)
        else:
            places = view.alive(np.asarray(allowed, dtype=np.int64))
            ids, scores = view.ids[places], view.scores_at(places, query)
    if len(scores) and not scores.max() <= 1.01:
        raise _NotCosines
    return best(ids, scores, k)


def _advanced(connection: sqlite3.Connection, known: View, version: Version, dimension: int) -> View | None:
    """Return ``known`` with all that happened since; None where it is not an earlier state, or was
    rewritten.
    """
    if known.version == version:
        return known
    since = (known.version.generation,)
    stamp = connection.execute("SELECT stamp FROM vector_log WHERE generation = ?", since).fetchone()
    if stamp is None or stamp[0] != known.version.stamp:
        return None
    if connection.execute("SELECT 1 FROM vector_log WHERE generation > ? AND rewritten", since).fetchone():
        return None
    added = _joined(_blocks(connection, known.last_id, dimension), dimension)
    tail = Block(
        np.concatenate([known.tail.ids, added.ids]), np.concatenate([known.tail.matrix, added.matrix])
    )
    drops = connection.execute("SELECT id FROM vector_drops WHERE generation > ?", since).fetchall()
    ids = np.concatenate([known.base.ids, tail.ids])
    dead = np.union1d(known.dead, places_of(ids, np.array([row[0] for row in drops], dtype=np.int64)))
    return View(version, _last_id(connection), known.base, tail, dead.astype(np.int64))


def _blocks(connection: sqlite3.Connection, above: int, dimension: int) -> Iterator[Block]:
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


def _joined(blocks: Iterator[Block] | tuple[()], dimension: int) -> Block:
    listed = list(blocks)
    return Block(
        np.concatenate([np.empty(0, dtype=np.int64), *(block.ids for block in listed)]),
        np.concatenate([np.empty((0, dimension), dtype=np.float32), *(block.matrix for block in listed)]),
    )


def _version(connection: sqlite3.Connection) -> Version:
    row = connection.execute(
        "SELECT generation, stamp FROM vector_log ORDER BY generation DESC LIMIT 1"
    ).fetchone()
    return Version(0, 0) if row is None else Version(*row)


def _last_id(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT last_id FROM vector_log ORDER BY generation DESC LIMIT 1").fetchone()
    return -1 if row is None else int(row[0])


_DAMAGED = (
    "the vectors in index.db are damaged (not of unit length, or of another size); "
    "delete the folder of the index and index the documents again"
)
