"""Stage 1: which texts fit a query, by meaning, by words, or by both."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ..ranking import fuse
from ..types import Hit, VectorStore
from .filters import Filter
from .lexical import lexical
from .reader import allowed_texts, hits

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["stage1_hits"]

FUSED_DEPTH = 100
"""How deep the two lists are that ``hybrid`` merges, at least."""


def stage1_hits(
    connection: sqlite3.Connection,
    store: VectorStore,
    query: str,
    vector: Floats | None,
    k: int,
    where: Filter,
) -> list[Hit]:
    """Return stage-1 hits: dense with a vector and no query, lexical with a query and no vector, else
    hybrid.
    """
    if vector is None:
        return hits(connection, lexical(connection, query, k, where), where)
    if not query:
        return hits(connection, dense(connection, store, vector, k, where), where, cosine=True)
    depth = max(k, FUSED_DEPTH)
    lists = [
        [each for each, _ in dense(connection, store, vector, depth, where)],
        [each for each, _ in lexical(connection, query, depth, where)],
    ]
    return hits(connection, fuse(lists)[:k], where)


def dense(
    connection: sqlite3.Connection, store: VectorStore, vector: Floats, k: int, where: Filter
) -> list[tuple[int, float]]:
    """Return at most ``k`` pairs (text id, cosine), best first.

    What an outside store has not been told to forget yet is asked for beyond ``k``, and left out.
    """
    gone = {row[0] for row in connection.execute("SELECT text_id FROM outbox WHERE vector IS NULL")}
    allowed = allowed_texts(connection, where) if where else None
    found = store.search(vector, k + len(gone), allowed)
    return [pair for pair in found if pair[0] not in gone][:k]
