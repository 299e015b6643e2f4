"""Haystack: a ranker for any pipeline, and a retriever that runs both stages over our own index.

    from secondpass.ext.haystack import SecondpassRanker, SecondpassRetriever

    pipeline.add_component("ranker", SecondpassRanker(top_k=3))
    pipeline.connect("retriever.documents", "ranker.documents")

Needs the extra ``haystack``; importing this module without haystack-ai raises MissingExtraError.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arguments import checked_count, checked_stage1
from ..engine import Engine
from ..errors import InputError, MissingExtraError
from ..index import Index
from ..types import Hit, Reranker, SearchResult
from ._rescoring import hit_metadata, loaded, rescored

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ModuleNotFoundError as error:
    raise MissingExtraError("haystack-ai", "haystack", "secondpass.ext.haystack") from error

__all__ = ["SecondpassRanker", "SecondpassRetriever"]


@component
class SecondpassRanker:
    """Reads each document together with the query and keeps the best ``top_k``.

    The documents that come back are copies with the re-ranker's score; their ``meta`` has
    ``relevance_score``, ``relevance_probability`` (where the score is a logit), ``rerank_rank``,
    ``candidate_score`` (the score they came with), ``candidate_rank`` and ``reranker``. A document that came
    twice, as from a hybrid retrieval, is read once; one without text is refused.

    Args:
        model: a name, a hub id or a folder; loaded by ``warm_up``.
        top_k: how many come back, at least 1.
        score_threshold: documents below this score are left out.
        download: fetch the model from its hub if it is not on this machine.
        backend: ``onnx`` or ``torch``.
        device: see ``secondpass.load_reranker``.

    Raises:
        InputError: a number is out of range.
    """

    def __init__(
        self,
        model: str = "auto",
        top_k: int = 3,
        score_threshold: float | None = None,
        download: bool = False,
        backend: str = "onnx",
        device: str | None = None,
    ) -> None:
        if not isinstance(model, str | Path):
            raise InputError(f"model must be a name or a folder, got {type(model).__name__}")
        self.model = str(model)
        self.top_k = checked_count("top_k", top_k)
        self.score_threshold = _threshold(score_threshold)
        self.download = download
        self.backend = backend
        self.device = device
        self._reranker: Reranker | None = None

    def warm_up(self) -> None:
        """Load the model; a second call does nothing.

        Raises:
            ModelError: it is unknown, absent or damaged.
        """
        self._loaded()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents, best first.

        Args:
            query: what was asked.
            documents: candidates, best first.
            top_k: instead of the component's own.
            score_threshold: instead of the component's own.

        Raises:
            QueryError: the query is empty or not text.
            InputError: a document without text, or a number out of range.
        """
        most = self.top_k if top_k is None else checked_count("top_k", top_k)
        least = self.score_threshold if score_threshold is None else _threshold(score_threshold)
        first: dict[str, Document] = {}
        for document in documents:
            first.setdefault(document.id, document)
        found = list(first.values())
        reranker = self._loaded()
        kept = [
            replace(
                found[each.place],
                score=each.score,
                meta={
                    **found[each.place].meta,
                    **each.metadata(reranker.name, found[each.place].score),
                },
            )
            for each in rescored(reranker, query, [_text(document) for document in found])[:most]
            if least is None or each.score >= least
        ]
        return {"documents": kept}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """Like ``run``, with the work in a thread."""
        found: dict[str, list[Document]] = await asyncio.to_thread(
            self.run, query=query, documents=documents, top_k=top_k, score_threshold=score_threshold
        )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` needs."""
        settings: dict[str, Any] = default_to_dict(
            self,
            model=self.model,
            top_k=self.top_k,
            score_threshold=self.score_threshold,
            download=self.download,
            backend=self.backend,
            device=self.device,
        )
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SecondpassRanker:
        """Return the component that ``to_dict`` described."""
        made: SecondpassRanker = default_from_dict(cls, data)
        return made

    def _loaded(self) -> Reranker:
        if self._reranker is None:
            self._reranker = loaded(
                self.model, download=self.download, backend=self.backend, device=self.device
            )
        return self._reranker


@component
class SecondpassRetriever:
    """Both stages over our index, as a Haystack retriever.

    A document's ``meta`` is the passage's metadata, ``source``, lines, and the numbers of both stages as
    in ``SecondpassRanker``. A document that a deadline left unread has no score.

    Args:
        index: folder of an index that ``secondpass index`` or ``Index`` made; opened by ``warm_up``.
        model: the re-ranker's name, hub id or folder; ``none`` gives stage 1's list.
        top_k: how many come back, at least 1.
        candidates: how many stage 1 hands to stage 2, at least ``top_k``.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        deadline_ms: as for ``Engine.search``.

    Raises:
        InputError: a number or a name is out of range.
    """

    def __init__(
        self,
        index: str,
        model: str = "auto",
        top_k: int = 3,
        candidates: int = 20,
        stage1: str = "dense",
        deadline_ms: float | None = None,
    ) -> None:
        self.index = str(index)
        self.model = str(model)
        self.top_k = checked_count("top_k", top_k)
        self.candidates = checked_count("candidates", candidates)
        self.stage1 = checked_stage1(stage1)
        self.deadline_ms = deadline_ms
        self._engine: Engine | None = None
        self._opened: Index | None = None

    def warm_up(self) -> None:
        """Open the index and load the model; a second call does nothing.

        Raises:
            StorageError: there is no index, or it cannot be used.
            ModelError: the model is unknown, absent or damaged.
        """
        self._ready()

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, top_k: int | None = None, filters: dict[str, str] | None = None
    ) -> dict[str, list[Document]]:
        """Return the best passages as documents, best first.

        Args:
            query: what is asked.
            top_k: instead of the component's own.
            filters: only passages whose metadata have these values, e.g. ``{"lang": "en"}``; Haystack's
                conditions with operators are not understood.

        Raises:
            QueryError: the query is empty, too long or not text.
            InputError: a number is out of range, or filters of another shape.
        """
        if filters is not None and not all(isinstance(value, str) for value in filters.values()):
            raise InputError("filters must be names and texts that they equal, e.g. {'lang': 'en'}")
        most = self.top_k if top_k is None else checked_count("top_k", top_k)
        result = self._ready().search(query, most, where=filters or None, deadline_ms=self.deadline_ms)
        return {"documents": [_document(hit, result) for hit in result.hits]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, top_k: int | None = None, filters: dict[str, str] | None = None
    ) -> dict[str, list[Document]]:
        """Like ``run``, with the work in a thread."""
        found: dict[str, list[Document]] = await asyncio.to_thread(
            self.run, query=query, top_k=top_k, filters=filters
        )
        return found

    def close(self) -> None:
        """Close the index; the next run opens it again."""
        opened, self._opened, self._engine = self._opened, None, None
        if opened is not None:
            opened.close()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` needs."""
        settings: dict[str, Any] = default_to_dict(
            self,
            index=self.index,
            model=self.model,
            top_k=self.top_k,
            candidates=self.candidates,
            stage1=self.stage1,
            deadline_ms=self.deadline_ms,
        )
        return settings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SecondpassRetriever:
        """Return the component that ``to_dict`` described."""
        made: SecondpassRetriever = default_from_dict(cls, data)
        return made

    def _ready(self) -> Engine:
        if self._engine is None:
            reranker = None if self.model == "none" else loaded(self.model)
            self._opened = Index.open(self.index, create=False)
            self._engine = Engine(self._opened, reranker, self.candidates, self.stage1)
        return self._engine


def _document(hit: Hit, result: SearchResult) -> Document:
    numbers = hit_metadata(hit, result)
    return Document(
        id=hit.passage.id,
        content=hit.passage.text,
        meta=numbers,
        score=None if hit.unread else hit.score,
    )


def _text(document: Document) -> str:
    if document.content is None:
        raise InputError(f"document {document.id} has no text (content); a re-ranker reads text")
    return str(document.content)


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"score_threshold must be a finite number, got {value!r}")
    return float(value)
