"""One transaction: documents go in, with their passages, new texts, words and vectors; what nobody needs goes
out.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import Passage
from .database import slices
from .door import Prepared, text_hash
from .filters import field_value
from .outbox import VectorSink

if TYPE_CHECKING:
    from ..types import Floats

__all__ = [
    "Pending",
    "VectorsByHash",
    "delete_documents",
    "hashes_of",
    "hashes_of_document",
    "known_hashes",
    "slices",
    "write_batch",
]

_SLICE = 512

VectorsByHash = Iterable[tuple[Sequence[bytes], "Floats"]]
"""Vectors of texts that are new, by the hash of the text, in slices."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A document that is to be written, with its passages and the hashes of their texts."""

    prepared: Prepared
    file: str | None
    passages: list[Passage]
    hashes: list[bytes]


def write_batch(
    connection: sqlite3.Connection, store: VectorSink, batch: Sequence[Pending], vectors: VectorsByHash
) -> None:
    """Write documents, new or changed, inside the caller's transaction."""
    texts = {
        digest: passage.text
        for pending in batch
        for passage, digest in zip(pending.passages, pending.hashes, strict=True)
    }
    _insert_texts(connection, store, texts, vectors)
    ids = _text_ids(connection, texts)
    left: set[int] = set()
    for pending in batch:
        left |= _write_document(connection, pending, ids)
    _sweep(connection, store, left)
    _bump(connection)


def delete_documents(connection: sqlite3.Connection, store: VectorSink, keys: Iterable[str]) -> int:
    """Delete documents inside the caller's transaction; return how many of them there were."""
    left: set[int] = set()
    deleted = 0
    for key in keys:
        row = connection.execute("SELECT id FROM documents WHERE key = ?", (key,)).fetchone()
        if row is None:
            continue
        left |= _forget_passages(connection, row[0])
        connection.execute("DELETE FROM documents WHERE id = ?", row)
        deleted += 1
    if deleted:
        _sweep(connection, store, left)
        _bump(connection)
    return deleted


def known_hashes(connection: sqlite3.Connection, hashes: Iterable[bytes]) -> set[bytes]:
    """Return those hashes whose text is there, and thus its vector."""
    known: set[bytes] = set()
    for part in slices(hashes, _SLICE):
        marks = ", ".join("?" * len(part))
        rows = connection.execute(f"SELECT hash FROM texts WHERE hash IN ({marks})", part)  # noqa: S608
        known.update(row[0] for row in rows)
    return known


def _insert_texts(
    connection: sqlite3.Connection, store: VectorSink, texts: dict[bytes, str], vectors: VectorsByHash
) -> None:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'texts'").fetchone()
    next_id = (row[0] if row else 0) + 1
    for hashes, rows in vectors:
        ids = list(range(next_id, next_id + len(hashes)))
        next_id += len(hashes)
        named = [(each, texts[digest]) for each, digest in zip(ids, hashes, strict=True)]
        connection.executemany(
            "INSERT INTO texts (id, hash, text) VALUES (?, ?, ?)",
            ((each, digest, text) for (each, text), digest in zip(named, hashes, strict=True)),
        )
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", named)
        store.add(ids, np.asarray(rows, dtype=np.float32))


def _text_ids(connection: sqlite3.Connection, hashes: Iterable[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for part in slices(hashes, _SLICE):
        marks = ", ".join("?" * len(part))
        query = f"SELECT hash, id FROM texts WHERE hash IN ({marks})"  # noqa: S608
        ids.update(connection.execute(query, part))
    return ids


def _write_document(connection: sqlite3.Connection, pending: Pending, text_ids: dict[bytes, int]) -> set[int]:
    """Insert or replace one document; return the texts that its former passages stood for."""
    document = pending.prepared.document
    values = (
        document.source,
        pending.file,
        pending.prepared.content_hash,
        len(document.text),
        pending.prepared.metadata,
        json.dumps(document.page_starts),
        document.text,
    )
    row = connection.execute("SELECT id FROM documents WHERE key = ?", (document.id,)).fetchone()
    left: set[int] = set()
    if row is None:
        row_id = connection.execute(
            "INSERT INTO documents (source, file, content_hash, characters, metadata, page_starts, text, key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, document.id),
        ).lastrowid
    else:
        row_id = row[0]
        left = _forget_passages(connection, row_id)
        connection.execute(
            "UPDATE documents SET source = ?, file = ?, content_hash = ?, characters = ?, metadata = ?,"
            " page_starts = ?, text = ? WHERE id = ?",
            (*values, row_id),
        )
    connection.executemany(
        "INSERT INTO fields (document_id, key, value) VALUES (?, ?, ?)",
        ((row_id, name, field_value(value)) for name, value in document.metadata.items()),
    )
    connection.executemany(
        "INSERT INTO passages (id, document_id, text_id, start, end, line_start, line_end, page)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                each.id,
                row_id,
                text_ids[digest],
                each.start,
                each.end,
                each.line_start,
                each.line_end,
                each.page,
            )
            for each, digest in zip(pending.passages, pending.hashes, strict=True)
        ),
    )
    return left


def _forget_passages(connection: sqlite3.Connection, document_id: int) -> set[int]:
    rows = connection.execute("SELECT DISTINCT text_id FROM passages WHERE document_id = ?", (document_id,))
    left = {row[0] for row in rows}
    connection.execute("DELETE FROM passages WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM fields WHERE document_id = ?", (document_id,))
    return left


def _sweep(connection: sqlite3.Connection, store: VectorSink, text_ids: Iterable[int]) -> None:
    """Delete those texts, with their words and vectors, that no passage stands for any more."""
    for part in slices(sorted(text_ids), _SLICE):
        marks = ", ".join("?" * len(part))
        orphans = connection.execute(
            f"SELECT id, text FROM texts WHERE id IN ({marks})"  # noqa: S608
            " AND NOT EXISTS (SELECT 1 FROM passages p WHERE p.text_id = texts.id)",
            part,
        ).fetchall()
        connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", orphans)
        connection.executemany("DELETE FROM texts WHERE id = ?", ((row[0],) for row in orphans))
        store.delete([row[0] for row in orphans])


def _bump(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")


def hashes_of(passages: Iterable[Passage]) -> list[bytes]:
    """Return the hash of each passage's text."""
    return [text_hash(passage.text) for passage in passages]


def hashes_of_document(connection: sqlite3.Connection, document_id: int) -> set[bytes]:
    """Return the hashes of the texts that a stored document's passages stand for."""
    rows = connection.execute(
        "SELECT t.hash FROM passages p JOIN texts t ON t.id = p.text_id WHERE p.document_id = ?",
        (document_id,),
    )
    return {row[0] for row in rows}
