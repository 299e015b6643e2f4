"""``Holder``: the open index of a server with its warm engines, opened anew where it was replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...calibration import FOLDER, lookup
from ...engine import Engine
from ...errors import IndexMissingError
from ...index import Index
from ...index.folder import DATABASE
from ...scores import SCORES_FILE, CachedReranker, ScoreCache
from ...types import Reranker
from .settings import ServerSettings

__all__ = ["Holder", "Opened"]


@dataclass(slots=True, eq=False)
class Opened:
    """An index that is open for reading, with what was made for it."""

    index: Index
    stamp: tuple[int, int] | None
    cache: ScoreCache | None
    engines: dict[tuple[str, str], Engine] = field(default_factory=dict)
    users: int = 0


class Holder:
    """Lends the open index; one that was replaced is closed when the last request that uses it has ended.

    What another process adds to the same file is seen by the index itself. A new file under the same name is
    told by its device and inode, which are looked at for each request.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._now: Opened | None = None

    @contextmanager
    def lent(self) -> Iterator[Opened]:
        """Lend the index as it is now.

        Raises:
            StorageError: there is none, or it cannot be used.
        """
        with self._lock:
            opened = self._current()
            opened.users += 1
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1
                if not opened.users and opened is not self._now:
                    opened.index.close()

    def close(self) -> None:
        """Close the index, or have the last request that uses it do so."""
        with self._lock:
            before, self._now = self._now, None
            if before is not None and not before.users:
                before.index.close()

    def engine(self, opened: Opened, stage1: str, reranker: Reranker | None) -> Engine:
        """Return the warm engine for a way to search."""
        key = (stage1, "" if reranker is None else reranker.name)
        with self._lock:
            known = opened.engines.get(key)
        if known is None or known.reranker is not reranker:
            readers = [] if reranker is None else [reranker]
            known = Engine(
                opened.index,
                reranker,
                self._settings.candidates,
                stage1,
                calibrations(opened, readers),
                cache=opened.cache,
            )
            with self._lock:
                opened.engines[key] = known
        return known

    def _current(self) -> Opened:
        folder = self._settings.index
        if folder is None:
            raise IndexMissingError("this server was started without an index; it only re-ranks")
        stamp = _stamp(folder)
        if self._now is None or (stamp is not None and stamp != self._now.stamp):
            kept = ScoreCache(folder / SCORES_FILE) if self._settings.cache else None
            before, self._now = self._now, Opened(Index.open(folder, create=False), stamp, kept)
            if before is not None and not before.users:
                before.index.close()
        return self._now


def calibrations(opened: Opened, readers: list[Reranker]) -> dict[str, Any]:
    """Return what turns scores into probabilities, by the name of the re-ranker."""
    folder = opened.index.path
    if not (folder / FOLDER).is_dir():
        return {}
    asked = [each if opened.cache is None else CachedReranker(each, opened.cache) for each in readers]
    found = {each.name: lookup(folder, each).calibration for each in asked}
    return {name: each.probability for name, each in found.items() if each is not None}


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / DATABASE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
