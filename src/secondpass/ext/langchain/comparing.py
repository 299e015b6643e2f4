"""``compare_retrieval``: the store's own best beside what the second pass made of them."""

from __future__ import annotations

from typing import Any

from langchain_core.vectorstores import VectorStore

from ...errors import InputError
from .retriever import RerankedRetriever
from .second_pass import RerankerChoice
from .side_by_side import RetrievalComparison, compared

__all__ = ["RetrievalComparison", "compare_retrieval"]


def compare_retrieval(
    source: VectorStore | RerankedRetriever,
    query: str,
    *,
    k_final: int | None = None,
    k_candidates: int | None = None,
    reranker_model: RerankerChoice = None,
) -> RetrievalComparison:
    """Search once, and show the store's own best beside what the second pass made of them.

    Args:
        source: a vector store, or a RerankedRetriever, whose settings then hold where the
            following are not given.
        query: what to ask.
        k_final: how many documents each list shows (3).
        k_candidates: how many the store is asked for (20).
        reranker_model: as in RerankedRetriever.

    Raises:
        InputError: ``source`` is neither, or a number is out of range (as pydantic.ValidationError,
            also a ValueError, for a vector store).
        QueryError: the query is empty or not text.
        ModelError: the re-ranker is unknown, absent or damaged.
    """
    given = {"k_final": k_final, "k_candidates": k_candidates, "reranker_model": reranker_model}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if isinstance(source, RerankedRetriever):
        retriever = source.model_copy(update=settings)
    elif isinstance(source, VectorStore):
        retriever = RerankedRetriever(vectorstore=source, **settings)
    else:
        kind = type(source).__name__
        raise InputError(f"compare_retrieval needs a vector store or a RerankedRetriever, not {kind}")
    ranked = retriever._ranked(query)
    return compared(query, retriever.reranker.name, ranked, retriever.k_final)
