"""The second pass over LangChain's documents: copies, best first, with the numbers of both stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langchain_core.documents import Document

from ...errors import InputError
from ...reranking import load_reranker
from ...types import Reranker
from .._rescoring import rescored

__all__ = ["RerankerChoice", "checked_choice", "checked_number", "load", "reranked"]

RerankerChoice = str | Path | Reranker | None


def checked_choice(value: object) -> object:
    """Return what may stand in a field ``reranker_model``.

    Raises:
        InputError: it names no re-ranker and is none.
    """
    if value is None or isinstance(value, str | Path | Reranker):
        return value
    kind = type(value).__name__
    raise InputError(
        f"reranker_model must be a name, a folder, or an object with name and score(), not {kind}"
    )


def checked_number(name: str, value: int) -> int:
    """Return a number of at least 1.

    Raises:
        InputError: it is less.
    """
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}")
    return value


def load(choice: RerankerChoice, download: bool) -> Reranker:
    """Return the re-ranker that is meant; None is ``auto``.

    Raises:
        InputError: ``none``.
        ModelError: unknown, absent or damaged.
    """
    if choice == "none":
        raise InputError("'none' is not a re-ranker; for stage 1 alone use vectorstore.as_retriever()")
    if choice is None or isinstance(choice, str | Path):
        reranker: Reranker = load_reranker("auto" if choice is None else choice, download=download)
        return reranker
    return choice


def reranked(
    reranker: Reranker, query: str, found: Sequence[tuple[Document, float | None]]
) -> list[Document]:
    """Return copies of all documents after the second pass; equals stay in the order they came.

    Copies, since stores such as InMemoryVectorStore hand out the very metadata they keep.

    Args:
        reranker: reads the texts.
        query: what was asked.
        found: each document with the number stage 1 gave it, as it gave it.

    Raises:
        QueryError: the query is empty or not text.
        ModelInvalidError: the re-ranker gave something other than one finite number for each.
    """
    ranked = []
    for each in rescored(reranker, query, [document.page_content for document, _ in found]):
        document, value = found[each.place]
        numbers = each.metadata(reranker.name, None)
        if value is not None:
            numbers["candidate_value"] = float(value)
        ranked.append(document.model_copy(update={"metadata": {**document.metadata, **numbers}}))
    return ranked
