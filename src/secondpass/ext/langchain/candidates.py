"""``LangChainCandidates``: any LangChain store or retriever as stage 1 of an ``Engine``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ...arguments import checked_count, checked_text
from ...errors import InputError
from ...types import Hit, Passage
from .conditions import joined
from .retriever import searched

if TYPE_CHECKING:
    from ...types import Floats

__all__ = ["LangChainCandidates"]


class LangChainCandidates:
    """What an ``Engine`` needs of an index, over a LangChain vector store or retriever.

        engine = Engine(LangChainCandidates(store), load_reranker())
        hits = engine.search("When is the deposit returned?").hits

    Deadlines, comparisons, kept scores and gates then work over that store. Its order is taken as it is. A
    hit's ``score`` is the store's number where numbers fall along the list, and minus it where they rise (a
    distance), so that higher is better; without numbers that tell, it is minus the rank. The number as it
    was given stands in the passage's metadata as ``candidate_value``.

    A document's ``start_index`` and ``source`` become the passage's, its id the passage's id.

    Args:
        source: a vector store; or a retriever, which decides itself how many it finds, and takes no filter.
        search_kwargs: passed on to the store's search, or to the retriever's ``invoke``. A ``filter`` in
            them always holds; a search's ``where`` narrows it further.

    Raises:
        InputError: ``source`` is neither.
    """

    def __init__(
        self, source: VectorStore | BaseRetriever, search_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        if not isinstance(source, VectorStore | BaseRetriever):
            raise InputError(f"candidates come from a vector store or retriever, got {type(source).__name__}")
        self.source = source
        self.search_kwargs = dict(search_kwargs or {})

    def embed_query(self, query: str) -> Floats:
        """Return no numbers: the store embeds queries itself."""
        import numpy as np

        checked_text(query)
        return np.empty(0, dtype=np.float32)

    def candidates(
        self,
        query: str,
        vector: Floats | None,  # noqa: ARG002 (the store embeds queries itself)
        k: int,
        stage1: str = "dense",
        where: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Return at most ``k`` hits in the store's order.

        ``where`` becomes the store's ``filter``: a function for ``InMemoryVectorStore``, ``$and`` for Chroma,
        else the mapping itself.

        Raises:
            QueryError: the query is empty or not text.
            InputError: ``stage1`` is not ``dense``, a retriever is given a filter, or ``where`` cannot be
                joined with the filter in ``search_kwargs``.
        """
        checked_count("k", k)
        if stage1 != "dense":
            raise InputError(f"a LangChain store searches its own way, not {stage1}; leave stage1 at dense")
        if isinstance(self.source, VectorStore):
            wanted = {**self.search_kwargs, "k": k}
            narrowed = joined(self.source, where, wanted.pop("filter", None))
            if narrowed is not None:
                wanted["filter"] = narrowed
            found = searched(self.source, query, wanted)
        elif where:
            raise InputError("a retriever takes no filter from outside; give it the vector store itself")
        else:
            found = [(each, None) for each in self.source.invoke(checked_text(query), **self.search_kwargs)]
        return _hits(found[:k])


def _hits(found: Sequence[tuple[Document, float | None]]) -> list[Hit]:
    scores = _scores([value for _, value in found])
    hits: list[Hit] = []
    seen: set[str] = set()
    for rank, ((document, value), score) in enumerate(zip(found, scores, strict=True), start=1):
        key = document.id or f"{rank:08d}"
        while key in seen:  # a store may hold a document twice; ids of passages are unique
            key = f"{key}#{rank}"
        seen.add(key)
        hits.append(Hit(_passage(document, key, value), score, rank))
    return hits


def _passage(document: Document, key: str, value: float | None) -> Passage:
    metadata = dict(document.metadata)
    if value is not None:
        metadata["candidate_value"] = float(value)
    start = metadata.get("start_index")
    start = start if isinstance(start, int) and start >= 0 else 0
    source = metadata.get("source")
    source = source if isinstance(source, str) and source else key
    text = document.page_content
    return Passage(key, source, text, start, start + len(text), source=source, metadata=metadata)


def _scores(values: Sequence[float | None]) -> list[float]:
    """Return scores that are higher for better, from the numbers of a list that is best first."""
    numbers = [float(value) for value in values if value is not None]
    if len(numbers) == len(values) and len(set(numbers)) > 1 and all(map(math.isfinite, numbers)):
        if numbers == sorted(numbers, reverse=True):
            return numbers
        if numbers == sorted(numbers):
            return [-number for number in numbers]
    return [float(-rank) for rank in range(1, len(values) + 1)]
