"""Connections to ``index.db``: readers take them in turn, the writer has its own; and snapshots."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ..errors import InputError

__all__ = ["Database", "connect", "slices", "transaction"]

Value = TypeVar("Value")

_KEPT_LOG = 64 * 2**20
"""Bytes that the log may keep on the disk, once a very long document has made it grow."""

_WAIT_SECONDS = 10.0
"""Readers and the writer do not wait for each other; only recovery after a kill takes a lock for a moment."""


def connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """Open a database that is there; transactions are begun by hand."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}" if mode != "immutable" else f"{path.as_uri()}?mode=ro&immutable=1",
        uri=True,
        timeout=_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # close() may come from another thread; used by one at a time
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        # FULL: a commit is on the disk before it is reported, so that a power cut loses no more than a kill.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_KEPT_LOG}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled back already
            connection.execute("ROLLBACK")
        raise


def slices(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Cut into lists of at most ``size``: SQLite bounds the parameters of a statement."""
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part


class _Slot:
    """A connection, closed when the database is closed or nobody has it any more."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.process = os.getpid()

    @property
    def ours(self) -> bool:
        """Whether this process opened it; after a fork the child must leave it alone."""
        return self.process == os.getpid()

    def close(self) -> None:
        if self.ours:
            self.connection.close()

    def __del__(self) -> None:
        self.close()


class _MovedError(Exception):
    """Another file stands under the name."""


class Database:
    """``index.db`` for many reading threads and one writer at a time.

    All readers see the file that the first of them opened, also where the folder is moved away or another is
    put in its place meanwhile: who then finds no free connection waits for one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._local = threading.local()
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._free: list[_Slot] = []
        self._inherited: list[_Slot] = []
        self._lock = threading.Condition()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to this thread alone, inside one snapshot."""
        held: _Slot | None = getattr(self._local, "slot", None)
        if held is not None and held.ours:
            yield held.connection
            return
        slot = self._local.slot = self._taken()
        try:
            slot.connection.execute("BEGIN")
            try:
                yield slot.connection
            finally:
                if slot.connection.in_transaction:
                    slot.connection.execute("ROLLBACK")
        finally:
            self._local.slot = None
            self._give_back(slot)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of its own to the writer, who must hold the lock of the index."""
        self._check_open()
        connection = connect(self.path)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close all connections; more than once does no harm."""
        with self._lock:
            self._closed = True
            self._free.clear()
            for slot in list(self._slots):
                slot.close()
            self._lock.notify_all()

    def _taken(self) -> _Slot:
        self._check_open()
        with self._lock:
            slot = self._free_one()
        if slot is None:
            try:
                slot = self._opened()
            except (sqlite3.Error, _MovedError) as exc:
                slot = self._awaited()
                if slot is None:
                    if isinstance(exc, _MovedError):
                        raise sqlite3.OperationalError(str(exc)) from exc
                    raise
        return slot

    def _free_one(self) -> _Slot | None:
        while self._free:
            slot = self._free.pop()
            if slot.ours:
                return slot
            self._inherited.append(slot)  # not even closing it is safe
        return None

    def _awaited(self) -> _Slot | None:
        """Return a connection that another thread has done with; None where there is none to wait for."""
        with self._lock:
            if not any(each.ours for each in self._slots):
                return None
            found: list[_Slot | None] = [None]

            def free() -> bool:
                self._check_open()
                found[0] = self._free_one()
                return found[0] is not None

            self._lock.wait_for(free, _WAIT_SECONDS)
            return found[0]

    def _give_back(self, slot: _Slot) -> None:
        with self._lock:
            if not self._closed and slot.ours:
                self._free.append(slot)
                self._lock.notify()

    def _opened(self) -> _Slot:
        """Open one more connection to the same file.

        Raises:
            sqlite3.Error: it cannot be opened.
            _MovedError: another file stands there.
        """
        before = _identity(self.path)
        slot = _Slot(self._open())
        with self._lock:
            if self._identity is None and before == _identity(self.path):
                self._identity = before
            if self._identity is not None and not before == _identity(self.path) == self._identity:
                slot.close()
                raise _MovedError("another index was put in the place of this one; open it again")
            if self._closed:
                slot.close()
            else:
                self._slots.add(slot)
        self._check_open()
        return slot

    def _open(self) -> sqlite3.Connection:
        try:
            connection = connect(self.path)
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            # SQLite wants to write beside the database even to read it. In a folder that nobody can write,
            # and without a log to be replayed, the file alone is the whole truth.
            log = self.path.with_name(self.path.name + "-wal")
            if os.access(self.path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
                raise
            connection = connect(self.path, mode="immutable")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the index is closed; open it again with Index.open(folder)")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
