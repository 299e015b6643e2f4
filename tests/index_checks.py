"""Shared by the tests of the index: holding its tables against each other."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def check_consistent(folder: Path, *, inside: bool = True) -> None:
    """Fail where a table of ``index.db`` contradicts another; ``inside``: the vectors are there too."""
    connection = sqlite3.connect(folder / "index.db", isolation_level=None)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")  # raises if not
        for unused in ("texts", "documents"):
            lost = f"SELECT count(*) FROM passages WHERE {unused[:-1]}_id NOT IN (SELECT id FROM {unused})"
            assert connection.execute(lost).fetchone() == (0,), f"passages without their {unused}"
        orphans = "SELECT count(*) FROM texts WHERE id NOT IN (SELECT text_id FROM passages)"
        assert connection.execute(orphans).fetchone() == (0,), "texts that no passage stands for"
        fields = "SELECT count(*) FROM fields WHERE document_id NOT IN (SELECT id FROM documents)"
        assert connection.execute(fields).fetchone() == (0,), "fields of no document"
        if inside:
            ids = connection.execute("SELECT id FROM texts ORDER BY id").fetchall()
            assert connection.execute("SELECT id FROM vectors ORDER BY id").fetchall() == ids
        rows = connection.execute(
            "SELECT d.text, p.start, p.end, t.text FROM passages p"
            " JOIN documents d ON d.id = p.document_id JOIN texts t ON t.id = p.text_id"
        )
        assert all(whole[start:end] == text for whole, start, end, text in rows)
    finally:
        connection.close()
