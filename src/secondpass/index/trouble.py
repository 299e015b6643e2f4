"""The one place where errors of SQLite and of the file system become errors of ours."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import IndexDamagedError, IndexLockedError, IndexWriteError, StorageError

__all__ = ["UnsoundRowError", "damaged", "translated", "unreadable", "unwritable"]

_DAMAGED_READS = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_DATA,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
} if hasattr(sqlite3, "SQLITE_IOERR_DATA") else {266, 522, 8202, 8458}  # fmt: skip


class UnsoundRowError(sqlite3.DatabaseError):
    """A row holds what was never written into it."""


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Raise StorageErrors about the index in ``folder`` in place of what SQLite and damaged rows raise."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _from_sqlite(folder, exc) from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise damaged(folder, f"a row holds something unreadable ({exc})") from exc


def damaged(folder: Path, what: str) -> IndexDamagedError:
    """Return the error for files that cannot be trusted."""
    return IndexDamagedError(
        f"the index in {folder} is damaged: {what}. "
        "Restore it from a backup, or delete the folder and index the documents again"
    )


def unwritable(folder: Path, why: object) -> IndexWriteError:
    """Return the error for a folder that takes no writes."""
    return IndexWriteError(
        f"the index in {folder} cannot be written: {why}. "
        "Nothing that was reported done is lost; check the rights of the folder, or name another with --index"
    )


def unreadable(folder: Path, why: object) -> StorageError:
    """Return the error for a folder, or a database in it, that may not be read."""
    return StorageError(
        f"the index in {folder} cannot be read: {why}. Check the rights of the folder and of what is in it"
    )


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except PermissionError:
        return False
    except OSError:
        return True


def _from_sqlite(folder: Path, exc: sqlite3.Error) -> StorageError:
    code = getattr(exc, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    kind = code & 0xFF
    if kind == sqlite3.SQLITE_FULL:
        return IndexWriteError(
            f"the disk is full, the index in {folder} could not be written. "
            "Nothing that was reported done is lost; make space and run the same command again"
        )
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexLockedError(
            f"another process holds the database of the index in {folder}; "
            "wait until it is done and try again"
        )
    if kind == sqlite3.SQLITE_IOERR and code not in _DAMAGED_READS:
        return unwritable(folder, f"input/output error ({exc})")
    if not _readable(folder / "index.db"):
        return unreadable(folder, exc)
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return unwritable(folder, exc)
    if kind == sqlite3.SQLITE_NOMEM:
        return StorageError(f"not enough memory to work on the index in {folder}; free some and try again")
    return damaged(folder, f"SQLite says {str(exc)!r}")
