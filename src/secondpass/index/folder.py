"""The folder of an index: finding it, making it, and telling what else it may be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from ..errors import IndexMismatchError, IndexMissingError, InputError
from .database import Database, connect
from .locking import write_lock
from .schema import APPLICATION_ID, FORMAT, Manifest, build, read_manifest
from .trouble import damaged, translated, unreadable, unwritable

__all__ = ["CACHE", "CHROMA", "DATABASE", "folder_of", "open_folder", "size_of"]

DATABASE = "index.db"
CACHE = "cache"
CHROMA = "chroma"
_OURS = {
    CACHE,
    CHROMA,
    "calibration",
    "write.lock",
    "write.pid",
    "index.db.new",
    "index.db-wal",
    "index.db-shm",
    "index.db.new-journal",
}
"""What may lie in a folder whose index was never finished, or whose ``index.db`` was deleted."""


def folder_of(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of an index folder.

    Raises:
        InputError: no path, or an empty one.
    """
    given = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise InputError(f"the folder of an index must be a path, got {path!r}")
    return Path(given).absolute()


def open_folder(folder: Path, new_manifest: Callable[[], Manifest] | None) -> tuple[Database, Manifest]:
    """Open the index in a folder, or make one there if ``new_manifest`` is given and there is none.

    Raises:
        IndexMissingError: none there, and none is to be made (or the folder is a file, or holds things).
        StorageError: it cannot be used.
    """
    path = folder / DATABASE
    if not _is_there(path):
        _check_place(folder, create=new_manifest is not None)
        if new_manifest is not None:
            _make(folder, new_manifest())
    with translated(folder):
        database = Database(path)
        try:
            with database.reading() as connection:
                return database, _checked(folder, connection)
        except BaseException:
            database.close()
            raise


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except PermissionError as exc:
        raise unreadable(path.parent, exc.strerror) from exc
    except OSError:
        return False
    return True


def size_of(folder: Path) -> int:
    """Return the bytes that the files of a folder take."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _check_place(folder: Path, *, create: bool) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise IndexMissingError(f"{folder} is a file, not the folder of an index; name a folder")
    if not create:
        raise IndexMissingError(
            f"there is no index in {folder}. Make one with: secondpass index YOUR_FILES --index {folder}"
        )
    try:
        others = sorted({each.name for each in folder.iterdir()} - _OURS) if folder.exists() else []
    except OSError as exc:
        raise unwritable(folder, exc) from exc
    others = [name for name in others if not name.endswith(".tmp")]
    if others:
        raise IndexMissingError(
            f"{folder} holds no index but other things ({others[0]!r}); name a new or an empty folder"
        )


def _make(folder: Path, manifest: Manifest) -> None:
    """Make an empty index under another name and move it in place, so that an ``index.db`` is never half
    made.
    """
    path, unfinished = folder / DATABASE, folder / f"{DATABASE}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise unwritable(folder, exc) from exc
    with write_lock(folder, timeout=10.0), translated(folder):
        if path.exists():  # another process was faster
            return
        try:
            # The log of a database that was deleted must never be replayed into this one.
            for name in (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}.new", f"{DATABASE}.new-journal"):
                (folder / name).unlink(missing_ok=True)
            unfinished.touch()
            connection = connect(unfinished)
            try:
                build(connection, manifest)
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            unfinished.replace(path)
            _sync(folder)
        except OSError as exc:
            raise unwritable(folder, exc) from exc


def _sync(folder: Path) -> None:
    """Let the new name survive a power cut, where folders can be synchronised."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _checked(folder: Path, connection: sqlite3.Connection) -> Manifest:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise damaged(folder, f"{DATABASE} is not the database of an index")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise IndexMismatchError(
            f"the index in {folder} has format {found}, this version of secondpass knows up to {FORMAT}; "
            "upgrade secondpass, or index into another folder"
        )
    if found < 1:
        raise damaged(folder, f"its format is {found}")
    try:
        return read_manifest(connection)
    except ValueError as exc:
        raise damaged(folder, str(exc)) from exc
