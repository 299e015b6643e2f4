"""What is added: documents as they come, or files with what vanished from them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sized
from itertools import chain

from ..errors import InputError, LoadError
from ..loading import LoadOptions, Skipped, discover, read
from ..loading.options import absolute, named_paths, printable
from ..types import Document
from .adding import Adding

__all__ = ["Addable", "sorted_out", "take_documents", "take_files"]

Path_ = str | os.PathLike[str]
Addable = Path_ | Document | Iterable[Path_ | Document]
"""A path, a Document, or several of one kind."""


def sorted_out(given: Addable) -> tuple[list[Path_] | None, Iterable[Document], int | None]:
    """Return the paths, or else the documents and how many there are (None where unknown).

    Raises:
        InputError: neither paths nor documents, or both at once.
    """
    if isinstance(given, (str, os.PathLike)):
        return [given], (), None
    if isinstance(given, Document):
        return None, (given,), 1
    if not isinstance(given, Iterable):
        raise InputError(f"an index takes paths or Documents, got {type(given).__name__}")
    count = len(given) if isinstance(given, Sized) else None
    iterator = iter(given)
    first = next(iterator, None)
    if first is None:
        return [], (), 0
    rest = chain([first], iterator)
    if isinstance(first, Document):
        return None, _only_documents(rest), count
    return list(_only_paths(rest)), (), None


def take_documents(adding: Adding, documents: Iterable[Document], count: int | None) -> None:
    """Add documents that a caller made."""
    adding.tally.expected = count
    for taken, document in enumerate(documents, start=1):
        adding.tally.all_read = taken == count
        adding.take(document, None)
        adding.write_if_full()
    adding.tally.all_read = True
    adding.flush()


def take_files(
    adding: Adding, connection: sqlite3.Connection, paths: list[Path_], options: LoadOptions, *, prune: bool
) -> list[Skipped]:
    """Add files; what a file no longer holds goes. Return those that gave no document.

    With ``prune``, documents below ``paths`` whose files this run did not meet go too; a file that is still
    there, but could not be read, keeps what was read of it earlier, and so does all below a folder that could
    not be listed.
    """
    files = list(discover(paths, options))
    adding.tally.expected = len(files)
    skipped: list[Skipped] = []
    met: set[str] = set()
    closed: list[str] = []
    for place, path in enumerate(files, start=1):
        name = printable(path)
        if os.path.lexists(path):
            met.add(name)
        try:
            documents = read(path, options)
        except LoadError as exc:
            skipped.append(Skipped(exc.path, exc.reason, error=True))
            _expect(adding, -1)
            if path.is_dir():
                closed.append(f"{name}/")
            continue
        if not documents:
            skipped.append(Skipped(name, "empty: no text in it", error=False))
        _expect(adding, len(documents) - 1)
        skipped += _take_file(adding, connection, name, documents, last=place == len(files))
    adding.tally.all_read = True
    adding.flush()
    if prune:
        below = _below(connection, paths)
        adding.delete([key for key, file in below if file not in met and not file.startswith(tuple(closed))])
    return skipped


def _take_file(
    adding: Adding, connection: sqlite3.Connection, name: str, documents: list[Document], *, last: bool
) -> list[Skipped]:
    skipped: list[Skipped] = []
    for number, document in enumerate(documents, start=1):
        adding.tally.all_read = last and number == len(documents)
        try:
            adding.take(document, name)
        except InputError as exc:
            skipped.append(Skipped(document.id, str(exc), error=True))
            _expect(adding, -1)
            continue
        adding.write_if_full()
    present = {document.id for document in documents}
    rows = connection.execute("SELECT key FROM documents WHERE file = ?", (name,))
    vanished = [row[0] for row in rows if row[0] not in present]
    if vanished:
        adding.delete(vanished)
    return skipped


def _below(connection: sqlite3.Connection, paths: list[Path_]) -> Iterator[tuple[str, str]]:
    """Yield id and file of each document read from a path or from below it."""
    for path in named_paths(paths):
        name = printable(absolute(path)).rstrip("/")
        yield from connection.execute(
            "SELECT key, file FROM documents WHERE file = ? OR (file >= ? AND file < ?)",
            (name, f"{name}/", f"{name}0"),  # "0" follows "/"
        ).fetchall()


def _expect(adding: Adding, more: int) -> None:
    if adding.tally.expected is not None:
        adding.tally.expected += more


def _only_paths(mixed: Iterable[object]) -> Iterator[Path_]:
    for each in mixed:
        if not isinstance(each, (str, os.PathLike)):
            raise InputError(f"give either paths or Documents; among the paths is {type(each).__name__}")
        yield each


def _only_documents(mixed: Iterable[object]) -> Iterator[Document]:
    for each in mixed:
        if not isinstance(each, Document):
            raise InputError(f"give either paths or Documents; among the Documents is {type(each).__name__}")
        yield each
