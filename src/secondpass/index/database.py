"""Connections to ``index.db``: one for each reading thread, one for the writer; and snapshots over them."""

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
    """A thread's connection, closed when the thread ends or the database is closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def close(self) -> None:
        if self.process == os.getpid():
            self.connection.close()

    def __del__(self) -> None:
        self.close()


class Database:
    """``index.db`` for many reading threads and one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection, inside one snapshot."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

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
            for slot in list(self._slots):
                slot.close()

    def _connection(self) -> sqlite3.Connection:
        self._check_open()
        slot = getattr(self._local, "slot", None)
        if slot is None or slot.process != os.getpid():
            slot = _Slot(self._open())
            with self._lock:
                self._slots.add(slot)
            self._local.slot = slot
        connection: sqlite3.Connection = slot.connection
        return connection

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
