"""Scores in this process's memory, the least recently used thrown away first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from .packing import Given

__all__ = ["BYTES_A_SCORE", "MemoryScores"]

BYTES_A_SCORE = 512
"""What one entry takes, rounded up: key, reading, its numbers, and its place in the dictionary (measured with
tracemalloc: about 350)."""


class MemoryScores:
    """Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._most = max(1, max_bytes // BYTES_A_SCORE)
        self._scores: OrderedDict[bytes, Given] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Given]:
        """Return what is known of these keys."""
        found = {}
        with self._lock:
            for key in keys:
                given = self._scores.get(key)
                if given is not None:
                    self._scores.move_to_end(key)
                    found[key] = given
        return found

    def put(self, entries: Iterable[tuple[bytes, Given]]) -> None:
        """Keep scores."""
        with self._lock:
            for key, given in entries:
                self._scores[key] = given
                self._scores.move_to_end(key)
            while len(self._scores) > self._most:
                self._scores.popitem(last=False)

    def size_bytes(self) -> int:
        """Return about how much memory they take."""
        return len(self._scores) * BYTES_A_SCORE

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._scores.clear()

    def __len__(self) -> int:
        return len(self._scores)
