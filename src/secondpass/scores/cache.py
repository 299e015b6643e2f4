"""``ScoreCache``: scores by re-ranker, query and text of the passage, in memory or on the disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..errors import InputError
from .disk import DamagedScoresError, DiskScores, file_identity, put_aside
from .memory import MemoryScores
from .packing import Given, keepable, keys

__all__ = ["MAX_BYTES", "SCORES_FILE", "ScoreCache"]

MAX_BYTES = 64 * 2**20
"""Room for about 600,000 scores on the disk."""
SCORES_FILE = "cache/scores.db"
"""Where the scores of an index lie, below its folder."""
_LEAST_BYTES = 2**18

Value = TypeVar("Value")


class ScoreCache:
    """Keeps what re-rankers said, so that the same passage need not be read twice for the same query.

    On the disk it is a file that may be deleted at any time. It holds scores under digests, no text. It is
    safe to use from several threads and processes, survives a kill, and never fails: a damaged file is put
    aside (``NAME.damaged``) and made anew, and where the disk is full or nothing can be written, scores are
    kept in memory for as long as the process lives.

    Args:
        path: the file, e.g. ``Path(index_folder) / SCORES_FILE``; None keeps the scores in memory. Its
            folder is made, those above it are not: without them, scores are kept in memory.
        max_bytes: at least 256 KiB. The least recently used are forgotten when it is reached; SQLite's log
            beside the file may take a few MiB more.

    Raises:
        InputError: ``max_bytes`` is too small.
    """

    def __init__(self, path: Path | str | None = None, max_bytes: int = MAX_BYTES) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < _LEAST_BYTES:
            raise InputError(
                f"max_bytes must be a whole number of at least {_LEAST_BYTES}, got {max_bytes!r}"
            )
        self.path = None if path is None else Path(path).absolute()
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._memory = MemoryScores(max_bytes)
        self._disk: DiskScores | None = None
        self._closed = self.path is None

    def get(self, fingerprint: str, query: str, texts: Sequence[str]) -> list[Given | None]:
        """Return what is known of each text: a ``Reading`` or a score, or None.

        Args:
            fingerprint: of the re-ranker.
            query: as it was asked.
            texts: the passages.
        """
        wanted = keys(fingerprint, query, texts)
        found = self._memory.get(wanted)
        if missing := [key for key in dict.fromkeys(wanted) if key not in found]:
            found |= self._on_disk(lambda disk: disk.get(missing)) or {}
        return [found.get(key) for key in wanted]

    def put(self, fingerprint: str, query: str, texts: Sequence[str], given: Sequence[Given]) -> None:
        """Keep what a re-ranker made of each text, all in one transaction."""
        pairs = zip(keys(fingerprint, query, texts), given, strict=True)
        entries = [(key, each) for key, each in pairs if keepable(each)]
        if entries and not self._on_disk(lambda disk: disk.put(entries)):
            self._memory.put(entries)

    def size_bytes(self) -> int:
        """Return about how many bytes the scores take."""
        return self._memory.size_bytes() + (self._on_disk(DiskScores.size_bytes) or 0)

    def close(self) -> None:
        """Close the file; more than once does no harm, and further calls find nothing on the disk."""
        with self._lock:
            self._closed = True
            if self._disk is not None:
                self._disk.close()
            self._disk = None

    def __len__(self) -> int:
        return len(self._memory) + (self._on_disk(len) or 0)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> ScoreCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _on_disk(self, work: Callable[[DiskScores], Value]) -> Value | None:
        """Return what the work on the file gives; None where there is none or it cannot be used now."""
        try:
            for _ in range(2):
                disk = self._opened()
                if disk is None:
                    return None
                try:
                    return work(disk)
                except DamagedScoresError:
                    self._throw_away(disk)
        except sqlite3.Error as exc:
            self._cope(exc)
        except FileNotFoundError:  # the folder above is away, perhaps only for a moment
            return None
        except OSError:  # the folder cannot be made, the damaged file cannot be removed
            self.close()
        return None

    def _opened(self) -> DiskScores | None:
        if self._closed or self.path is None:
            return None
        with self._lock:
            if self._disk is not None and self._disk.stale:
                self._disk.close()
                self._disk = None
            if self._disk is None:
                self._disk = self._open(self.path)
            return self._disk

    def _open(self, path: Path) -> DiskScores:
        # Not the folder above: where an index was moved away, nothing may grow in its place.
        path.parent.mkdir(exist_ok=True)
        before = file_identity(path)
        try:
            return DiskScores(path, self.max_bytes)
        except DamagedScoresError:
            put_aside(path, before)
            return DiskScores(path, self.max_bytes)

    def _throw_away(self, disk: DiskScores) -> None:
        with self._lock:
            disk.close()
            if self._disk is disk:
                self._disk = None
        put_aside(disk.path, disk.identity)

    def _cope(self, exc: sqlite3.Error) -> None:
        """Go on without the file: this time, where it is only busy or its bound is reached; else for good."""
        kind = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        disk = self._disk
        if kind == sqlite3.SQLITE_FULL and disk is not None:
            try:
                disk.forget()
            except (sqlite3.Error, DamagedScoresError):
                self.close()
            return
        self.close()
