"""The tables of ``index.db``, how they are made, and how an older layout becomes the present one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..stores.sqlite_store import SCHEMA as VECTORS

__all__ = ["APPLICATION_ID", "FORMAT", "MIGRATIONS", "Manifest", "build", "read_manifest"]

FORMAT = 1
"""Version of the layout, in SQLite's ``user_version``."""

APPLICATION_ID = 0x32504153
"""In SQLite's ``application_id``: ``2PAS``, so that no other program's database is taken for an index."""

_FIRST = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    file TEXT,
    content_hash BLOB NOT NULL,
    characters INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    page_starts TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX documents_by_file ON documents (file) WHERE file IS NOT NULL;
CREATE INDEX documents_by_source ON documents (source);

CREATE TABLE fields (document_id INTEGER NOT NULL, key TEXT NOT NULL, value);
CREATE INDEX fields_by_value ON fields (key, value, document_id);
CREATE INDEX fields_by_document ON fields (document_id);

CREATE TABLE texts (id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, text TEXT NOT NULL);

CREATE TABLE passages (
    id TEXT PRIMARY KEY,
    document_id INTEGER NOT NULL,
    text_id INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    line_start INTEGER NOT NULL,
    line_end INTEGER NOT NULL,
    page INTEGER
) WITHOUT ROWID;
CREATE INDEX passages_by_document ON passages (document_id, text_id);
CREATE INDEX passages_by_text ON passages (text_id, document_id);

CREATE VIRTUAL TABLE words USING fts5(
    text, content = 'texts', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TABLE outbox (text_id INTEGER PRIMARY KEY, vector BLOB);
{VECTORS}
"""
# documents.file: the file it was read from, NULL for a document that a caller handed in.
# documents.text stands last: to reach what stands behind it, SQLite would read all of it.
# documents.key, fields: what people filter on; fields repeats documents.metadata one row a value.
# texts: each distinct text of a passage once. Ids are never used again, so that what is derived from them can
#   tell old from new.
# outbox: for a store outside this file, what it has not acknowledged: a vector to add, or NULL to delete.

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Script n brings format n to format n + 1; the first makes all tables."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """How an index was built; it never changes."""

    uuid: str
    embedder: str
    dimension: int
    store: str
    splitter: Mapping[str, Any]


def build(connection: sqlite3.Connection, manifest: Manifest) -> None:
    """Make all tables of an empty database."""
    connection.execute("BEGIN IMMEDIATE")
    for script in MIGRATIONS:
        for statement in _statements(script):
            connection.execute(statement)
    values = {
        "uuid": manifest.uuid,
        "embedder": manifest.embedder,
        "dimension": str(manifest.dimension),
        "store": manifest.store,
        "splitter": json.dumps(manifest.splitter, sort_keys=True),
        "generation": "0",
    }
    connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", values.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def read_manifest(connection: sqlite3.Connection) -> Manifest:
    """Return the manifest.

    Raises:
        ValueError: a line of it is missing or makes no sense.
    """
    values = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    try:
        splitter = json.loads(values["splitter"])
        if not isinstance(splitter, dict):
            raise ValueError("the settings of the splitter are no mapping")
        if values["store"] not in ("sqlite", "chroma"):
            raise ValueError(f"no store {values['store']!r}")
        dimension = int(values["dimension"])
        if dimension < 1:
            raise ValueError(f"the dimension is {dimension}")
        return Manifest(values["uuid"], values["embedder"], dimension, values["store"], splitter)
    except KeyError as exc:
        raise ValueError(f"its manifest says nothing about {exc}") from exc


def _statements(script: str) -> list[str]:
    """Cut a script into statements, so that they can run inside one transaction (executescript commits)."""
    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
