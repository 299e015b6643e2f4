"""What searches read instead of the table of vectors: one matrix, kept up to date by small steps."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .exact import best
from .graph import GraphCache
from .matrix_file import Block, Version, read_matrix, write_matrix
from .view import View, advanced, blocks, joined, last_id_of, version_of

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["ANN_THRESHOLD", "VectorCache", "View"]

ANN_THRESHOLD = 100_000
"""From so many vectors on, a graph is built; below, an exact search takes a few hundredths of a second."""


class VectorCache:
    """The vectors of one database as a matrix: mapped from a file, or in memory where none can be written.

    Safe to use from several threads, each with its own connection.

    Args:
        folder: where the file goes; made when needed. None keeps all in memory.
        dimension: length of a vector, at least 1.
        ann_threshold: from how many vectors on ``save`` builds a graph, through which unfiltered searches go.
    """

    def __init__(self, folder: Path | None, dimension: int, ann_threshold: int = ANN_THRESHOLD) -> None:
        if dimension < 1:
            raise InputError(f"the dimension of a store must be at least 1, got {dimension}")
        self.dimension = dimension
        self._path = None if folder is None else folder / "vectors.f32"
        self._lock = threading.Lock()
        self._view: View | None = None
        self._graphs = GraphCache(folder, dimension, ann_threshold)

    def search(
        self, connection: sqlite3.Connection, query: Floats, k: int, allowed: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        """Return the best ``k`` (id, cosine) of what the connection sees."""
        view = self.view(connection)
        if allowed is None:
            found = self._graphs.search(connection, view, query, k)
            if found is not None:
                return found
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
        version = version_of(connection)
        with self._lock:
            view = self._caught_up(connection, version, slack=0.25)
            if self._view is None or version.generation >= self._view.version.generation:
                self._view = view
            return view

    def save(self, connection: sqlite3.Connection) -> None:
        """Bring the file up to date, so that the next process finds little to catch up with."""
        version = version_of(connection)
        with self._lock:
            self._view = self._caught_up(connection, version, slack=0.02)
            self._graphs.save(connection, self._view)

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
            view = advanced(connection, known, version, self.dimension)
            if view is not None:
                behind = len(view.tail.ids) + len(view.dead)
                if behind <= max(512, slack * len(view.base.ids)):
                    return view
        return self._rebuilt(connection, version, write=not newer)

    def _from_file(self) -> View | None:
        saved = None if self._path is None else read_matrix(self._path, self.dimension)
        return None if saved is None else self._fresh(saved.version, saved.last_id, saved.block)

    def _rebuilt(self, connection: sqlite3.Connection, version: Version, *, write: bool) -> View:
        last_id = last_id_of(connection)
        if write and self._path is not None:
            try:
                # Not the folder above: where the index was moved away, nothing may grow in its place.
                self._path.parent.mkdir(exist_ok=True)
                write_matrix(
                    self._path, version, last_id, self.dimension, blocks(connection, -1, self.dimension)
                )
            except OSError:
                pass  # a folder that cannot be written, or a full disk: memory will do
            else:
                view = self._from_file()
                if view is not None and view.version == version:
                    return view
        return self._fresh(version, last_id, joined(blocks(connection, -1, self.dimension), self.dimension))

    def _fresh(self, version: Version, last_id: int, base: Block) -> View:
        return View(version, last_id, base, joined((), self.dimension), np.empty(0, dtype=np.int64))

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
