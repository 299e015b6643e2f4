"""Approximate search for many vectors: an HNSW graph (usearch) in the cache folder, never trusted
unchecked.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cores import usable_cores
from .exact import best
from .matrix_file import Block, Version, temporary_name
from .view import View, blocks, continues

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["Graph", "GraphCache", "build_graph", "read_graph"]

# Measured on 2 busy cores, recall@20 of exact: 60,000 clustered vectors of 384 numbers 1.00 in 4 ms a search;
# 114,000 hashed bags of random words (64 numbers, no structure: the worst case) 0.994 in 3 ms, and 0.90 where
# a search expands 256 neighbours. Building takes 40 s for 100,000 vectors of 384 numbers; twice the links
# cost 5 times that.
_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSION_SEARCH = 1024
_SPARE = 64
"""Neighbours asked for beyond ``k``: some are gone by now, and halves of floats blur who is the last."""
_STALE = 0.25
"""From so large a part of new vectors on, comparing with all is as good."""
_UPDATED = 0.05
_PAGE = 4096
_SAMPLED_PAGES = 256


@dataclass(frozen=True, slots=True)
class Graph:
    """An opened graph: of all vectors at one version, up to ``last_id``. Halves of floats; scores are not its
    job.
    """

    version: Version
    last_id: int
    count: int
    opened: Any

    def nearest(self, query: Floats, k: int) -> Ids:
        """Return about the ``k`` nearest ids, in no promised order."""
        keys: Ids = np.asarray(self.opened.search(query, min(k, self.count)).keys).astype(np.int64)
        return keys


class GraphCache:
    """The graph of one database: searched where it fits, brought up to date by ``save``. Safe in several
    threads.

    Args:
        folder: where the files go; without one there is no graph.
        dimension: length of a vector.
        threshold: with fewer vectors there is no graph.
    """

    def __init__(self, folder: Path | None, dimension: int, threshold: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._threshold = threshold
        self._lock = threading.Lock()
        self._graph: Graph | None = None
        self._fits: Version | None = None

    def search(
        self, connection: sqlite3.Connection, view: View, query: Floats, k: int
    ) -> list[tuple[int, float]] | None:
        """Return the best ``k`` (id, cosine), or None where an exact search is due.

        The graph names candidates; what was added after it joins them; the exact cosine ranks them.
        """
        graph = self._fitting(connection, view)
        if graph is None:
            return None
        ids = view.ids
        newer = np.arange(int(np.searchsorted(ids, graph.last_id, side="right")), len(ids))
        if len(newer) > _STALE * graph.count:
            return None
        with self._lock:  # usearch lends a search one of a fixed number of work spaces, and fails without
            nearest = graph.nearest(query, k + _SPARE)
        near = view.alive(nearest)
        places = np.union1d(near, np.setdiff1d(newer, view.dead, assume_unique=True)).astype(np.int64)
        if len(places) < min(k, len(ids) - len(view.dead)):
            return None
        scores = view.scores_at(places, query)
        return best(ids[places], scores, k) if scores.max() <= 1.01 else None

    def save(self, connection: sqlite3.Connection, view: View) -> None:
        """Build the graph where there are enough vectors, or bring it up to date once a twentieth has
        changed.
        """
        if self._folder is None or len(view.ids) - len(view.dead) < self._threshold:
            return
        alive = np.delete(view.ids, view.dead)
        graph = self._fitting(connection, view)
        former, dropped, above = None, None, -1
        if graph is not None:
            keys = np.asarray(graph.opened.keys).astype(np.int64)
            dropped = np.setdiff1d(keys, alive)
            added = int(np.count_nonzero(alive > graph.last_id))
            if len(dropped) + added <= _UPDATED * len(alive):
                return
            if len(dropped) <= 2 * _UPDATED * len(alive):  # a graph full of holes finds less
                former, above = graph, graph.last_id
        rows = blocks(connection, above, self._dimension)
        build_graph(self._folder, view.version, view.last_id, self._dimension, rows, former, dropped)
        with self._lock:
            self._graph = self._fits = None

    def _fitting(self, connection: sqlite3.Connection, view: View) -> Graph | None:
        """Return a graph from which appending and dropping leads to the view."""
        if self._folder is None or len(view.ids) < self._threshold:
            return None
        with self._lock:
            if self._fits == view.version:
                return self._graph
            graph = self._graph
            if graph is None or not continues(connection, graph.version):
                graph = read_graph(self._folder, self._dimension)
            if graph is not None and not continues(connection, graph.version):
                graph = None
            self._graph, self._fits = graph, view.version
            return graph


def build_graph(
    folder: Path,
    version: Version,
    last_id: int,
    dimension: int,
    blocks: Iterable[Block],
    former: Graph | None = None,
    dropped: Ids | None = None,
) -> None:
    """Write the graph of the blocks, or of a former graph without what was dropped and with the blocks added.

    A graph that cannot be written (a full disk) is none: searches stay exact.
    """
    index = _empty(dimension)
    if former is not None:
        index.load(os.fspath(folder / "vectors.usearch"))
        for key in () if dropped is None else dropped.tolist():
            index.remove(key)
    for block in blocks:
        index.add(block.ids.astype(np.uint64), np.ascontiguousarray(block.matrix), threads=usable_cores())
    path, about = folder / "vectors.usearch", folder / "vectors.usearch.json"
    temporary = temporary_name(path)
    try:
        with suppress(OSError, RuntimeError):
            index.save(os.fspath(temporary))
            facts = {
                "generation": version.generation,
                "stamp": version.stamp,
                "last_id": last_id,
                "count": len(index),
                "dimension": dimension,
                "checksum": _checksum(temporary),
            }
            temporary.replace(path)
            temporary.write_text(json.dumps(facts), encoding="ascii")
            temporary.replace(about)
    finally:
        temporary.unlink(missing_ok=True)


def read_graph(folder: Path, dimension: int) -> Graph | None:
    """Map the graph into memory; None where there is none, or its file is not the one that was written.

    usearch does not survive a damaged file, so size and 256 pages, evenly spread, are compared first.
    """
    path, about = folder / "vectors.usearch", folder / "vectors.usearch.json"
    try:
        facts = json.loads(about.read_text(encoding="ascii"))
        if facts["dimension"] != dimension or facts["checksum"] != _checksum(path):
            return None
        graph = Graph(
            Version(int(facts["generation"]), int(facts["stamp"])),
            int(facts["last_id"]),
            int(facts["count"]),
            _empty(dimension),
        )
        graph.opened.view(os.fspath(path))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    return graph if len(graph.opened) == graph.count else None


def _empty(dimension: int) -> Any:
    from usearch.index import Index  # only where there are many vectors

    return Index(
        ndim=dimension,
        metric="ip",  # of unit vectors: the cosine
        dtype="f16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=_EXPANSION_SEARCH,
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = blake2b(str(size).encode(), digest_size=16)
        for start in np.linspace(0, max(0, size - _PAGE), _SAMPLED_PAGES).astype(np.int64).tolist():
            file.seek(start)
            digest.update(file.read(_PAGE))
    return digest.hexdigest()
