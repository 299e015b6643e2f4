"""From rows to values: hits, passages, documents, counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..ranking import rank
from ..types import Document, Hit, MetadataValue, Passage
from .database import slices
from .filters import EVERYTHING, Filter
from .folder import size_of
from .schema import FORMAT, Manifest
from .trouble import UnsoundRowError
from .values import DocumentSummary, IndexStatus

__all__ = [
    "allowed_texts",
    "counts",
    "document",
    "fingerprint",
    "hits",
    "passage",
    "passages",
    "status",
    "summaries",
    "text_hashes",
]

MAX_PLACES = 51
"""How many places of one text a hit tells of: its own and up to 50 more (a licence can stand in every
file).
"""

_PASSAGE = """
    SELECT p.id, d.key, t.text, p.start, p.end, d.source, p.line_start, p.line_end, p.page, d.metadata
    FROM passages p JOIN documents d ON d.id = p.document_id JOIN texts t ON t.id = p.text_id
"""


def hits(
    connection: sqlite3.Connection,
    scored: Sequence[tuple[int, float]],
    where: Filter = EVERYTHING,
    *,
    cosine: bool = False,
) -> list[Hit]:
    """Return a hit for each text that is there: its first place that passes, the others in ``also_in``."""
    found: dict[str, Hit] = {}
    for text_id, score in scored:
        rows = connection.execute(
            f"{_PASSAGE} WHERE p.text_id = ?{where.and_condition} ORDER BY d.key, p.start LIMIT ?",
            (text_id, *where.parameters, MAX_PLACES),
        ).fetchall()
        if not rows:  # an outside store may still know a text that is gone here
            continue
        first, *others = (_passage(row) for row in rows)
        distance = max(0.0, 1.0 - score) if cosine else None
        found[first.id] = Hit(first, score, 0, distance=distance, also_in=tuple(others))
    order = rank((key, hit.score) for key, hit in found.items())
    return [replace(found[key], rank=place) for place, (key, _) in enumerate(order, start=1)]


def allowed_texts(connection: sqlite3.Connection, where: Filter) -> list[int]:
    """Return the ids of the texts that stand in a document that passes."""
    return [row[0] for row in connection.execute(where.texts, where.parameters)]


def texts_after(connection: sqlite3.Connection, text_id: int) -> list[tuple[int, str]]:
    """Return the next 500 texts with their ids, in order of id."""
    rows = connection.execute("SELECT id, text FROM texts WHERE id > ? ORDER BY id LIMIT 500", (text_id,))
    return [(_whole(row[0]), _text(row[1])) for row in rows]


def text_hashes(connection: sqlite3.Connection, text_ids: Iterable[int]) -> dict[int, bytes]:
    """Return the hashes of those texts that are there."""
    hashes: dict[int, bytes] = {}
    for part in slices(text_ids, 500):
        marks = ", ".join("?" * len(part))
        hashes.update(connection.execute(f"SELECT id, hash FROM texts WHERE id IN ({marks})", part))  # noqa: S608
    return hashes


def passage(connection: sqlite3.Connection, passage_id: str) -> Passage:
    """Return a passage.

    Raises:
        InputError: no passage has that id.
    """
    row = connection.execute(f"{_PASSAGE} WHERE p.id = ?", (passage_id,)).fetchone()
    if row is None:
        raise InputError(f"no passage {passage_id!r} in the index; ids are those of hits")
    return _passage(row)


def passages(connection: sqlite3.Connection, document_key: str) -> list[Passage]:
    """Return the passages of a document in order of start; none for an id that is not there."""
    rows = connection.execute(f"{_PASSAGE} WHERE d.key = ? ORDER BY p.start", (document_key,))
    return [_passage(row) for row in rows]


def document(connection: sqlite3.Connection, key: str) -> Document:
    """Return a document.

    Raises:
        InputError: no document has that id.
    """
    row = connection.execute(
        "SELECT text, metadata, source, page_starts FROM documents WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        raise InputError(f"no document {key!r} in the index; Index.documents() lists those there are")
    text, metadata, source, page_starts = row
    starts = json.loads(_text(page_starts))
    if not isinstance(starts, list):
        raise UnsoundRowError("the page starts of a document are no list")
    return Document(key, _text(text), _metadata(metadata), _text(source), tuple(map(_whole, starts)))


def summaries(connection: sqlite3.Connection) -> list[DocumentSummary]:
    """Return all documents without their texts, in order of id."""
    rows = connection.execute(
        "SELECT d.key, d.source, (SELECT count(*) FROM passages p WHERE p.document_id = d.id), d.characters"
        " FROM documents d ORDER BY d.key"
    )
    return [DocumentSummary(_text(row[0]), _text(row[1]), row[2], _whole(row[3])) for row in rows]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many documents, passages, texts and unacknowledged changes there are."""
    return {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        for table in ("documents", "passages", "texts", "outbox")
    }


def status(connection: sqlite3.Connection, folder: Path, manifest: Manifest) -> IndexStatus:
    """Return what is in the index."""
    numbers = counts(connection)
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    if row is None or not str(row[0]).isdecimal():
        raise UnsoundRowError("the manifest names no generation")
    return IndexStatus(
        path=str(folder),
        documents=numbers["documents"],
        passages=numbers["passages"],
        texts=numbers["texts"],
        embedder=manifest.embedder,
        dimension=manifest.dimension,
        splitter=dict(manifest.splitter),
        store=manifest.store,
        size_bytes=size_of(folder),
        generation=int(row[0]),
        format=FORMAT,
        pending=numbers["outbox"],
    )


def fingerprint(connection: sqlite3.Connection, *, vectors: bool) -> str:
    """Return a digest of all that was indexed, whatever the order and history of the writes."""
    digest = blake2b(digest_size=16)
    queries = [
        "SELECT key, source, file, hex(content_hash), text, metadata, page_starts"
        " FROM documents ORDER BY key",
        "SELECT d.key, f.key, f.value FROM fields f JOIN documents d ON d.id = f.document_id ORDER BY 1, 2",
        "SELECT d.key, p.start, p.end, p.id, p.line_start, p.line_end, p.page, hex(t.hash) FROM passages p"
        " JOIN documents d ON d.id = p.document_id JOIN texts t ON t.id = p.text_id ORDER BY 1, 2, 3",
        "SELECT hex(hash), text FROM texts ORDER BY hash",
    ]
    if vectors:
        queries.append(
            "SELECT hex(t.hash), hex(v.vector)"
            " FROM vectors v LEFT JOIN texts t ON t.id = v.id ORDER BY t.hash"
        )
    for query in queries:
        digest.update(query.encode())
        for row in connection.execute(query):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _passage(row: tuple[Any, ...]) -> Passage:
    key, document_key, text, start, end, source, line_start, line_end, page, metadata = row
    if _whole(end) - _whole(start) != len(_text(text)):
        raise UnsoundRowError("a passage is longer or shorter than its text")
    return Passage(
        id=_text(key),
        document_id=_text(document_key),
        text=text,
        start=start,
        end=end,
        source=_text(source),
        line_start=_whole(line_start),
        line_end=_whole(line_end),
        page=None if page is None else _whole(page),
        metadata=_metadata(metadata),
    )


def _metadata(written: object) -> dict[str, MetadataValue]:
    metadata = json.loads(_text(written))
    if not isinstance(metadata, dict):
        raise UnsoundRowError("the metadata of a document are no mapping")
    return metadata


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnsoundRowError(f"a text was expected, not {type(value).__name__}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise UnsoundRowError(f"a whole number was expected, not {type(value).__name__}")
    return value
