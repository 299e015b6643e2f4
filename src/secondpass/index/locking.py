"""One writer at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import IndexLockedError
from .trouble import unwritable

__all__ = ["write_lock"]


@contextmanager
def write_lock(folder: Path, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock of the writer; the system frees it when a process dies.

    Raises:
        IndexLockedError: another process (or another Index over the same folder) is writing.
        IndexWriteError: the lock cannot be made in that folder.
    """
    # The process id stands in a file of its own: taking a lock may empty the file that is locked.
    lock, holder = FileLock(folder / "write.lock"), folder / "write.pid"
    if not folder.is_dir():  # FileLock would make one, in the way of whoever is putting another in its place
        raise unwritable(folder, "the folder is not there (any more)")
    try:
        lock.acquire(timeout=timeout)
    except Timeout as exc:
        raise IndexLockedError(
            f"{_who(holder)} is writing to the index in {folder}; wait until it is done and try again. "
            "Searching works meanwhile"
        ) from exc
    except (OSError, NotImplementedError) as exc:
        raise unwritable(folder, exc) from exc
    try:
        with suppress(OSError):  # knowing who is a courtesy
            holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        return f"process {int(holder.read_text(encoding='ascii'))}"
    except (OSError, ValueError):
        return "another process"
