"""Token states of passages in an SQLite file beside the index, by the hash of the text."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from ..errors import StorageError

__all__ = ["STATES_FILE", "StateStore", "key_of"]

STATES_FILE = "token_states.db"
_APPLICATION = 0x53505453
"""``SPTS``: tells our file from others."""
_FORMAT = 1
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS states (key BLOB PRIMARY KEY, states BLOB NOT NULL);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_FORMAT};
    COMMIT;
"""
_WAIT_SECONDS = 30.0
_SLICE = 500


def key_of(text: str) -> bytes:
    """Return what stands for a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class StateStore:
    """States by key, for several threads and processes; a kill loses at most what was not committed.

    Args:
        folder: of the index; the file is made where it is not there.
        made_with: fingerprint of what makes the states; others that are found are thrown away.
        create: make the file, or write to it at all.

    Raises:
        StorageError: the file is damaged, or something else, or cannot be opened.
    """

    def __init__(self, folder: Path, made_with: str, create: bool = False) -> None:
        self.path = folder / STATES_FILE
        self._lock = threading.Lock()
        with self._clear():
            self._connection = self._open(made_with, create)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the states of those keys that are known."""
        found: dict[bytes, bytes] = {}
        with self._lock, self._clear():
            for start in range(0, len(keys), _SLICE):
                part = keys[start : start + _SLICE]
                marks = ",".join("?" * len(part))
                found.update(
                    self._connection.execute(
                        f"SELECT key, states FROM states WHERE key IN ({marks})",  # noqa: S608  only marks
                        part,
                    )
                )
        return found

    def put(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep states, all or none."""
        with self._lock, self._clear(), self._connection as connection:
            connection.executemany("INSERT OR REPLACE INTO states (key, states) VALUES (?, ?)", entries)

    def keep_only(self, keys: set[bytes]) -> int:
        """Forget all others; return how many they were."""
        with self._lock, self._clear(), self._connection as connection:
            gone = [row for row in connection.execute("SELECT key FROM states") if row[0] not in keys]
            connection.executemany("DELETE FROM states WHERE key = ?", gone)
        return len(gone)

    def __len__(self) -> int:
        with self._lock, self._clear():
            return int(self._connection.execute("SELECT COUNT(*) FROM states").fetchone()[0])

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        with self._lock:
            self._connection.close()

    def _open(self, made_with: str, create: bool) -> sqlite3.Connection:
        name = f"{self.path.resolve().as_uri()}?mode={'rwc' if create else 'ro'}"
        connection = sqlite3.connect(name, timeout=_WAIT_SECONDS, check_same_thread=False, uri=True)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if tables and (application, version) != (_APPLICATION, _FORMAT):
                raise StorageError(f"{self.path} is not a file of token states; move it away and try again")
            connection.execute("PRAGMA trusted_schema = OFF")
            if create:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            self._check_maker(connection, made_with, create)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_maker(self, connection: sqlite3.Connection, made_with: str, create: bool) -> None:
        row = connection.execute("SELECT value FROM facts WHERE name = 'made with'").fetchone()
        if row is not None and row[0] == made_with:
            return
        if not create:
            raise StorageError(
                f"{self.path} was made by another version of the model; run: secondpass index --precompute"
            )
        with connection:
            connection.execute("DELETE FROM states")
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('made with', ?)", (made_with,))

    @contextmanager
    def _clear(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise StorageError(
                f"{self.path}: {exc}; delete it and run: secondpass index --precompute"
            ) from exc
