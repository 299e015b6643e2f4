"""Stage 1: which texts fit a query, by meaning, by words, or by both."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from ..ranking import fuse, rank
from ..types import Hit, VectorStore
from .filters import Filter
from .lexical import lexical
from .reader import allowed_texts, hits, text_hashes

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
    lists = [dense(connection, store, vector, depth, where), lexical(connection, query, depth, where)]
    # Ids of texts tell in which order they came; their hashes do not, so that ties do not depend on history.
    hashes = text_hashes(connection, {each for pairs in lists for each, _ in pairs})
    ids = {digest: each for each, digest in hashes.items()}
    ranked = [
        [key for key, _ in rank((hashes[each], score) for each, score in pairs if each in hashes)]
        for pairs in lists
    ]
    return hits(connection, [(ids[digest], score) for digest, score in fuse(ranked)[:k]], where)


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
