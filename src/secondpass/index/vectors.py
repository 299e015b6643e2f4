"""Where the vectors of an index are: in ``index.db``, or in a store outside, told through an outbox."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from ..stores import ChromaStore, SqliteStore, VectorCache
from ..types import VectorStore
from .folder import CACHE, CHROMA
from .outbox import Outbox, VectorSink, deliver
from .schema import Manifest

__all__ = ["Vectors"]


class Vectors:
    """The store of an index, whichever it is. Safe in several threads, each with its own connection."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._dimension = manifest.dimension
        self._cache = VectorCache(folder / CACHE, manifest.dimension) if manifest.store == "sqlite" else None
        self._outside: VectorStore | None = None
        self._lock = threading.Lock()

    @property
    def inside(self) -> bool:
        """Whether they are in ``index.db``, committed together with all else."""
        return self._cache is not None

    def store(self, connection: sqlite3.Connection) -> VectorStore:
        """Return what to search, as the connection sees it."""
        if self._cache is not None:
            return SqliteStore(connection, self._cache)
        with self._lock:
            if self._outside is None:
                self._outside = ChromaStore(self._folder / CHROMA, self._dimension)
            return self._outside

    def sink(self, connection: sqlite3.Connection) -> VectorSink:
        """Return what to write to inside a transaction of the connection."""
        if self._cache is not None:
            return SqliteStore(connection, self._cache)
        return Outbox(connection, self._dimension)

    def deliver(self, connection: sqlite3.Connection) -> None:
        """Tell an outside store what was committed."""
        if not self.inside:
            deliver(connection, self.store(connection), self._dimension)

    def save_cache(self, connection: sqlite3.Connection) -> None:
        """Bring what searches read up to date, so that the first search need not."""
        if self._cache is not None:
            self._cache.save(connection)
