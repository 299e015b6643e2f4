"""The ``rerankers`` library: our re-rankers behind its one interface.

    import secondpass.ext.rerankers
    from rerankers import Reranker

    ranker = Reranker("auto", model_type="SecondpassRanker", verbose=0)
    ranker.rank("What does the ferry cost?", ["The ferry is blue.", "A ticket costs four."]).top_k(1)

Importing this module registers ``SecondpassRanker`` with the library. Needs the extra ``rerankers``; without
the library, importing this module raises MissingExtraError.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError
from ..types import Reranker
from ._rescoring import loaded, rescored

try:
    from rerankers.documents import Document
    from rerankers.models import AVAILABLE_RANKERS
    from rerankers.models.ranker import BaseRanker
    from rerankers.results import RankedResults, Result
except ModuleNotFoundError as error:
    raise MissingExtraError("rerankers", "rerankers", "secondpass.ext.rerankers") from error

__all__ = ["SecondpassRanker"]

Ids = Sequence[str] | Sequence[int]


class SecondpassRanker(BaseRanker):  # type: ignore[misc]  # the library has no types
    """One of our re-rankers as the library's ``BaseRanker``; nothing is printed, nothing is changed.

    Args:
        model_name_or_path: a name, a hub id, a folder, or an object with ``name`` and ``score``.
        verbose: taken for the library's sake; this ranker says nothing.
        settings: for ``secondpass.load_reranker``: ``download``, ``precision``, ``backend``, ``device``.

    Raises:
        InputError: no re-ranker.
        ModelError: the model is unknown, absent or damaged.
    """

    ranking_type = "pointwise"

    def __init__(
        self, model_name_or_path: str | Path | Reranker = "auto", verbose: int = 1, **settings: Any
    ) -> None:
        self.verbose = verbose
        self.model = loaded(model_name_or_path, **settings)

    def score(self, query: str, doc: str | Document) -> float:
        """Return the score of one passage, higher is better.

        Raises:
            QueryError: the query is empty or not text.
            InputError: the document is no text.
        """
        return rescored(self.model, query, [_text(_documents(doc, None, None)[0])])[0].score

    def rank(
        self,
        query: str,
        docs: str | Document | Sequence[str] | Sequence[Document],
        doc_ids: Ids | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
    ) -> RankedResults:
        """Return every document, best first, with score and rank from 1.

        Args:
            query: what was asked.
            docs: texts or the library's documents; none gives an empty answer.
            doc_ids: one for each; by default a document's own, else its place from 0.
            metadata: one for each.

        Raises:
            QueryError: the query is empty or not text.
            InputError: a document that is no text, or lists of different lengths.
        """
        found = _documents(docs, doc_ids, metadata)
        ranked = rescored(self.model, query, [_text(each) for each in found])
        best = [Result(document=found[each.place], score=each.score, rank=each.rank) for each in ranked]
        return RankedResults(results=best, query=query, has_scores=True)


def _documents(docs: object, ids: Ids | None, metadata: Sequence[dict[str, Any]] | None) -> list[Document]:
    """Return new documents: the library's own helper writes into those it is given, and prints."""
    given = [docs] if isinstance(docs, str | Document) else docs
    if not isinstance(given, Sequence) or not all(isinstance(each, str | Document) for each in given):
        raise InputError("docs must be texts or documents of the rerankers library, one or a list")
    for name, values in (("doc_ids", ids), ("metadata", metadata)):
        if values is not None and len(values) != len(given):
            raise InputError(f"{name} has {len(values)} entries for {len(given)} docs; give one for each")
    return [
        _document(
            each, place, None if ids is None else ids[place], None if metadata is None else metadata[place]
        )
        for place, each in enumerate(given)
    ]


def _document(
    given: str | Document, place: int, chosen: str | int | None, metadata: dict[str, Any] | None
) -> Document:
    if isinstance(given, str):
        return Document(given, doc_id=place if chosen is None else chosen, metadata=dict(metadata or {}))
    own = place if given.doc_id is None else given.doc_id
    return Document(
        given.text,
        doc_id=own if chosen is None else chosen,
        metadata=dict(given.metadata if metadata is None else metadata),
        document_type=given.document_type,
        image_path=given.image_path,
        base64=given.base64,
    )


def _text(document: Document) -> str:
    if not isinstance(document.text, str):
        raise InputError(f"document {document.doc_id!r} holds no text; our re-rankers read text, not images")
    return document.text


AVAILABLE_RANKERS["SecondpassRanker"] = SecondpassRanker
