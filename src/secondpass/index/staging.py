"""Vectors embedded ahead of a long document, so that a run that was killed need not embed them again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .database import transaction
from .trouble import unwritable

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["Staging"]

_SLICE = 512


class Staging:
    """Vectors by the hash of their text, in a file of its own that is deleted when a run ends well.

    It holds nothing that cannot be computed again: what is damaged, or comes from another index, is thrown
    away. One writer uses it, under the lock of the index.

    Args:
        path: the file; made at the first ``put``.
        owner: which index this is for.
        dimension: length of a vector.
    """

    def __init__(self, path: Path, owner: str, dimension: int) -> None:
        self._path = path
        self._owner = owner
        self._dimension = dimension
        self._connection: sqlite3.Connection | None = self._reopened() if path.exists() else None

    def known(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Return those hashes whose vectors are here."""
        if self._connection is None:
            return set()
        known: set[bytes] = set()
        for start in range(0, len(hashes), _SLICE):
            part = hashes[start : start + _SLICE]
            known.update(row[0] for row in self._rows("hash", part))
        return known

    def put(self, hashes: Sequence[bytes], vectors: Floats) -> None:
        """Keep vectors, one transaction a call."""
        if self._connection is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise unwritable(self._path.parent.parent, exc) from exc
            self._connection = self._made()
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO staged (hash, vector) VALUES (?, ?)",
                ((key, row.astype("<f4").tobytes()) for key, row in zip(hashes, vectors, strict=True)),
            )

    def slices(self, hashes: Sequence[bytes]) -> Iterator[tuple[list[bytes], Floats]]:
        """Yield the vectors of hashes that are all here, some hundred at a time, in order."""
        for start in range(0, len(hashes), _SLICE):
            part = list(hashes[start : start + _SLICE])
            found = dict(self._rows("hash, vector", part))
            blob = b"".join(found[key] for key in part)
            yield (
                part,
                np.frombuffer(blob, dtype="<f4").reshape(len(part), self._dimension).astype(np.float32),
            )

    def close(self, *, delete: bool) -> None:
        """Close the file; delete it when nothing in it is needed any more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if delete:
            self._delete()

    def _rows(self, columns: str, hashes: Sequence[bytes]) -> sqlite3.Cursor:
        if self._connection is None:
            raise sqlite3.OperationalError("the staging file is not open")
        marks = ", ".join("?" * len(hashes))
        return self._connection.execute(f"SELECT {columns} FROM staged WHERE hash IN ({marks})", hashes)  # noqa: S608

    def _reopened(self) -> sqlite3.Connection | None:
        """Open what a killed run left, if it can be trusted; else throw it away."""
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
        try:
            owner = connection.execute("SELECT value FROM owner").fetchone()
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()
            size = (4 * self._dimension,)
            odd = connection.execute(
                "SELECT 1 FROM staged WHERE length(vector) <> ? LIMIT 1", size
            ).fetchone()
            if owner == (self._owner,) and sound == ("ok",) and odd is None:
                return self._hurried(connection)
        except sqlite3.Error:
            pass
        connection.close()
        self._delete()
        return None

    def _made(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
        try:
            self._hurried(connection)
            connection.execute("CREATE TABLE owner (value TEXT NOT NULL)")
            connection.execute("CREATE TABLE staged (hash BLOB PRIMARY KEY, vector BLOB NOT NULL)")
            connection.execute("INSERT INTO owner VALUES (?)", (self._owner,))
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _hurried(connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost it; then it is embedded again
        return connection

    def _delete(self) -> None:
        for suffix in ("", "-journal"):
            with suppress(OSError):  # what cannot be deleted can be overwritten, or fails there with a reason
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
