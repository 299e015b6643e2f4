"""``Holder``: the open index of a server with its warm engines, opened anew where it was replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...calibration import FOLDER, Lookup, lookup
from ...engine import Engine
from ...errors import IndexMissingError, SecondpassError
from ...gating import Gate
from ...index import Index
from ...index.folder import DATABASE
from ...scores import SCORES_FILE, CachedReranker, ScoreCache
from ...types import Reranker
from .settings import ServerSettings

__all__ = ["Calibrations", "Holder", "Opened", "Warm", "calibrations", "probabilities"]

logger = logging.getLogger("secondpass.server")

_AGAIN_SECONDS = 1.0
"""After which an index that could not be used is tried again, where its file looks the same."""
_AWAY_SECONDS = 5.0
"""After which an index that is gone is taken for deleted, and the next document makes a new one."""
_POLL_SECONDS = 0.05

Calibrations = dict[str, Lookup]
"""What calibration there is, by the name of the re-ranker."""


class _Stamp(NamedTuple):
    """What tells one file of an index from another, whatever is written into it."""

    device: int
    inode: int


class _Refused(NamedTuple):
    """A file that could not take the place of the open index, as it looked then."""

    stamp: _Stamp
    changed: int
    size: int
    until: float


@dataclass(frozen=True, slots=True)
class Warm:
    """An engine, and the calibrations that it was made with."""

    engine: Engine
    found: Calibrations
    fitted: tuple[tuple[str, int], ...]


@dataclass(slots=True, eq=False)
class Opened:
    """An index that is open for reading, with what was made for it."""

    index: Index
    stamp: _Stamp | None
    cache: ScoreCache | None
    engines: dict[tuple[str, str, bool], Warm] = field(default_factory=dict)
    users: int = 0

    @property
    def in_place(self) -> bool:
        """Whether its folder is where it was, so that what lies in it belongs to this index."""
        return _stamp(self.index.path) == self.stamp

    def close(self) -> None:
        """Close all files."""
        self.index.close()
        if self.cache is not None:
            self.cache.close()


class Holder:
    """Lends the open index; one that was replaced is closed when the last request that uses it has ended.

    What another process adds to the same file is seen by the index itself. A new file under the same name is
    told by its device and inode, which are looked at for each request. It is tried with a search before it
    takes over: where it cannot be used, or while there is none, the open one is served on.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._now: Opened | None = None
        self._refused: _Refused | None = None

    @contextmanager
    def lent(self) -> Iterator[Opened]:
        """Lend the index as it is now.

        Raises:
            StorageError: there is none, or it cannot be used, and none was open before.
        """
        if self._settings.index is None:
            raise IndexMissingError("this server was started without an index; it only re-ranks")
        opened = self._taken(self._settings.index)
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1
                if not opened.users and opened is not self._now:
                    opened.close()

    def wait_for_folder(self) -> None:
        """Give the folder of an open index that is away a moment to come back.

        Whoever swaps indexes would otherwise find that a document had made a new one in the place.
        """
        folder, until = self._settings.index, time.monotonic() + _AWAY_SECONDS
        while self._now is not None and folder is not None and not folder.is_dir():
            if time.monotonic() > until:
                return
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Close the index, or have the last request that uses it do so."""
        with self._lock:
            before, self._now = self._now, None
            if before is not None and not before.users:
                before.close()

    def warm(self, opened: Opened, stage1: str, reranker: Reranker | None, gate: Gate | None = None) -> Warm:
        """Return the engine for a way to search, made anew where a calibration was fitted meanwhile."""
        key = (stage1, "" if reranker is None else reranker.name, gate is not None)
        fitted = _fitted(opened.index.path)
        with self._lock:
            known = opened.engines.get(key)
        # Calibrations of another index, or none while the folder is away, are not for this one.
        fresh = known is not None and (known.fitted == fitted or not opened.in_place)
        if known is not None and fresh and known.engine.reranker is reranker:
            return known
        found = calibrations(opened, [] if reranker is None else [reranker])
        engine = Engine(
            opened.index,
            reranker,
            self._settings.candidates,
            stage1,
            probabilities(found),
            cache=opened.cache,
            gate=gate,
        )
        made = Warm(engine, found, fitted)
        with self._lock:
            opened.engines[key] = made
        return made

    def _taken(self, folder: Path) -> Opened:
        while True:
            self._look(folder)
            with self._lock:
                if self._now is not None:
                    self._now.users += 1
                    return self._now

    def _look(self, folder: Path) -> None:
        """Open what is there, unless that is open already or another request is doing so."""
        if not self._wanted(folder) or not self._opening.acquire(blocking=self._now is None):
            return
        try:
            if self._wanted(folder):
                self._open(folder)
        finally:
            self._opening.release()

    def _wanted(self, folder: Path) -> bool:
        now, stamp = self._now, _stamp(folder)
        if now is None:
            return True
        if stamp is None or stamp == now.stamp:
            return False
        refused = self._refused
        return refused is None or time.monotonic() > refused.until or refused[:3] != _looks(folder)

    def _open(self, folder: Path) -> None:
        looks = _looks(folder)
        try:
            opened = self._opened(folder, looks, tried=self._now is not None)
        except SecondpassError as exc:
            if self._now is None:
                raise
            before = self._refused
            if looks is not None:
                self._refused = _Refused(*looks, time.monotonic() + _AGAIN_SECONDS)
                if before is None or before[:3] != looks:  # once for each
                    said = "the index was replaced by one that cannot be used; the one before is served on"
                    logger.warning("%s (%s: %s)", said, type(exc).__name__, exc)
            return
        with self._lock:
            replaced, self._now, self._refused = self._now, opened, None
            if replaced is not None and not replaced.users:
                replaced.close()
        if replaced is not None:
            logger.info("the index was replaced; the new one is served")

    def _opened(self, folder: Path, looks: tuple[_Stamp, int, int] | None, *, tried: bool) -> Opened:
        index = Index.open(folder, create=False)
        try:
            if tried:
                index.status()
                index.search("a", 1, stage1="hybrid")
        except BaseException:
            index.close()
            raise
        kept = ScoreCache(folder / SCORES_FILE) if self._settings.cache else None
        return Opened(index, None if looks is None else looks[0], kept)


def calibrations(opened: Opened, readers: list[Reranker]) -> Calibrations:
    """Return what calibration there is beside the index for each re-ranker."""
    folder = opened.index.path
    if not (folder / FOLDER).is_dir():
        return {}
    asked = [each if opened.cache is None else CachedReranker(each, opened.cache) for each in readers]
    return {each.name: lookup(folder, each) for each in asked}


def probabilities(found: Calibrations) -> dict[str, Any]:
    """Return what turns scores into probabilities, by the name of the re-ranker."""
    return {name: each.calibration.probability for name, each in found.items() if each.calibration}


def _stamp(folder: Path) -> _Stamp | None:
    looks = _looks(folder)
    return None if looks is None else looks[0]


def _looks(folder: Path) -> tuple[_Stamp, int, int] | None:
    try:
        found = (folder / DATABASE).stat()
    except OSError:
        return None
    return _Stamp(found.st_dev, found.st_ino), found.st_mtime_ns, found.st_size


def _fitted(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return the calibrations beside an index, with when each was written."""
    try:
        return tuple(sorted((each.name, each.stat().st_mtime_ns) for each in (folder / FOLDER).iterdir()))
    except OSError:
        return ()
