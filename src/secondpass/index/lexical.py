"""BM25 over the full-text index of SQLite (FTS5)."""

from __future__ import annotations

import sqlite3
import unicodedata

from .filters import Filter

__all__ = ["lexical"]

MAX_TERMS = 400
"""Of a longer query the first distinct words count; SQLite bounds the size of an expression."""


def lexical(connection: sqlite3.Connection, query: str, k: int, where: Filter) -> list[tuple[int, float]]:
    """Return at most ``k`` pairs (text id, BM25 score), best first; a passage with any of the words is a hit.

    The score is SQLite's ``bm25()`` with its sign turned, so that higher is better.
    """
    terms = _terms(query)
    if not terms:
        return []
    found = _best(connection, _telling(connection, terms), k, where)
    return found if len(found) == k else _best(connection, terms, k, where)


def _telling(connection: sqlite3.Connection, terms: list[str]) -> list[str]:
    """Return the words that stand in at most half of the passages, all where there are none.

    SQLite's BM25 weighs a word of more than half of them with 1e-6 (its idf would be negative), so "the"
    and "of" cost most of the time and tell nothing.
    """
    newest = (
        connection.execute("SELECT max(id) FROM texts").fetchone()[0] or 0
    )  # as many or more than there are
    told = [
        term
        for term in terms
        if connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (_quoted(term),)).fetchone()[
            0
        ]
        <= newest / 2
    ]
    return told or terms


def _best(connection: sqlite3.Connection, terms: list[str], k: int, where: Filter) -> list[tuple[int, float]]:
    allowed = f" AND rowid IN ({where.texts})" if where else ""
    rows = connection.execute(
        f"SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ?{allowed}"  # noqa: S608
        " ORDER BY score DESC, rowid LIMIT ?",
        (" OR ".join(map(_quoted, terms)), *where.parameters, k),
    )
    return [(row[0], row[1]) for row in rows]


def _quoted(term: str) -> str:
    """Words in quotes are words, never operators of the query language."""
    return f'"{term}"'


def _terms(query: str) -> list[str]:
    """Return the distinct words of a query as the tokenizer ``unicode61`` cuts them, in order."""
    cut = "".join(letter if _in_word(letter) else " " for letter in query.casefold())
    return list(dict.fromkeys(cut.split()))[:MAX_TERMS]


def _in_word(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] in "LNM" or category == "Co"
