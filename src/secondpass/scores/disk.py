"""Scores in an SQLite file, for several threads and processes; thrown away and made anew where it is damaged.

A row's id says when it was last used: ids only rise, and what is used again in the older half gets a
new one. So the least recently used ones are the lowest ids, and forgetting them frees whole pages. Using a
score writes nothing at once; it is noted down with the next scores that are kept.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .packing import Given, pack, unpack

__all__ = ["DamagedScoresError", "DiskScores", "file_identity", "put_aside"]

_APPLICATION = 0x53505343
"""``SPSC``: tells our file from others."""
_FORMAT = 1
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS scores (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, given BLOB NOT NULL);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_FORMAT};
    COMMIT;
"""
_WAIT_SECONDS = 2.0
"""A writer waits this long for another one; then these scores are not kept."""
_LOG_BYTES = 4 * 2**20
_SLICE = 500
_MOST_USED = 10_000
"""Uses that are remembered until something is kept."""
_HIGH_WATER = 0.9
"""Share of the bound that may be in use before a quarter is forgotten; the rest is room for a transaction."""


class DamagedScoresError(Exception):
    """The file is not, or no longer, one that was written here."""


class DiskScores:
    """Scores in a file. Whatever SQLite raises comes out, damage as ``DamagedScoresError``."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._process = -1
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._used: set[bytes] = set()
        with _damage():
            self._connection = self._open()
        self._process = os.getpid()
        self.identity = file_identity(path)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Given]:
        """Return what is known of these keys; nothing is written."""
        found: dict[bytes, Given] = {}
        with self._lock, _damage():
            middle = self._middle()
            for start in range(0, len(keys), _SLICE):
                part = keys[start : start + _SLICE]
                marks = ",".join("?" * len(part))
                rows = self._connection.execute(
                    f"SELECT id, key, given FROM scores WHERE key IN ({marks})",  # noqa: S608  only marks
                    part,
                )
                for number, key, packed in rows:
                    found[key] = unpack(key, packed)
                    if number < middle and len(self._used) < _MOST_USED:
                        self._used.add(key)
        return found

    def put(self, entries: Iterable[tuple[bytes, Given]]) -> bool:
        """Keep scores in one transaction, and forget the least recently used where there are too many.

        Returns:
            True, since they are kept.
        """
        rows = [(key, pack(key, given)) for key, given in entries]
        with self._lock, _damage(), self._transaction() as connection:
            used = self._used.difference(key for key, _ in rows)
            self._used.clear()
            # A replaced row gets a new id, one above the highest: it counts as used just now.
            connection.executemany(
                "INSERT OR REPLACE INTO scores (key, given) SELECT key, given FROM scores WHERE key = ?",
                [(key,) for key in used],
            )
            connection.executemany("INSERT OR REPLACE INTO scores (key, given) VALUES (?, ?)", rows)
        with self._lock, _damage():
            if self._in_use() > self._max_bytes * _HIGH_WATER:
                self._forget()
        return True

    def forget(self) -> None:
        """Forget the least recently used quarter."""
        with self._lock, _damage():
            self._forget()

    def size_bytes(self) -> int:
        """Return the bytes of the file that hold scores."""
        with self._lock, _damage():
            return self._in_use()

    def __len__(self) -> int:
        with self._lock, _damage():
            return int(self._connection.execute("SELECT COUNT(*) FROM scores").fetchone()[0])

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        with self._lock:
            if self._process == os.getpid():  # a connection must not be touched across a fork
                self._connection.close()

    def __del__(self) -> None:
        if self._process == os.getpid():
            self._connection.close()

    @property
    def stale(self) -> bool:
        """Whether this object came here through a fork, or the file in its place is another one by now."""
        return self._process != os.getpid() or file_identity(self.path) != self.identity

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            empty = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
            if not empty and (application, version) != (_APPLICATION, _FORMAT):
                raise DamagedScoresError(f"{self.path} is not a file of scores in format {_FORMAT}")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            # NORMAL: a kill loses nothing that was kept, a power cut perhaps the last scores, never the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            page = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {max(16, self._max_bytes // page)}")
            if empty:
                connection.executescript(_SCHEMA)
            connection.execute("SELECT id, key, given FROM scores LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _middle(self) -> float:
        low, high = self._connection.execute(
            "SELECT (SELECT MIN(id) FROM scores), (SELECT MAX(id) FROM scores)"
        ).fetchone()
        return 0.0 if low is None else (low + high) / 2

    def _in_use(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _forget(self) -> None:
        with self._transaction() as connection:
            total = connection.execute("SELECT COUNT(*) FROM scores").fetchone()[0]
            connection.execute(
                "DELETE FROM scores WHERE id <= (SELECT id FROM scores ORDER BY id LIMIT 1 OFFSET ?)",
                [total // 4],
            )


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError) as exc:
        raise DamagedScoresError(str(exc)) from exc
    except sqlite3.DatabaseError as exc:
        kind = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if kind in (
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_FORMAT,
        ):
            raise DamagedScoresError(str(exc)) from exc
        raise


def put_aside(path: Path, identity: tuple[int, int] | None) -> None:
    """Rename a damaged file, unless another process has put a sound one there already.

    It is not deleted: whoever named a file of something else as a cache gets it back as ``NAME.damaged``.

    Raises:
        OSError: it cannot be renamed.
    """
    from filelock import FileLock

    with FileLock(path.with_name(f"{path.name}.lock"), timeout=_WAIT_SECONDS):
        if file_identity(path) != identity:
            return
        # The log goes first: it must never be replayed into the file that comes next.
        for name in (f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        path.replace(path.with_name(f"{path.name}.damaged"))


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what stays the same for a file while it is written to, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
