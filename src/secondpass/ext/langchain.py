"""LangChain: a second pass over any vector store, our embedder for new ones, and both lists side by side.

    from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever, compare_retrieval

    store = Chroma(persist_directory="db", embedding_function=MiniLMEmbeddings())
    retriever = RerankedRetriever(vectorstore=store, k_candidates=20, k_final=3)
    documents = retriever.retrieve("What are the key benefits?")

Needs the extra ``langchain``; importing this module without langchain-core raises MissingExtraError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..arguments import checked_text
from ..embedding import MiniLMEmbedder
from ..errors import InputError, MissingExtraError, ModelInvalidError
from ..ranking import rank
from ..reranking import load_reranker
from ..types import Embedder, Reranker
from ._side_by_side import RetrievalComparison, compared

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
    from langchain_core.vectorstores import VectorStore
    from pydantic import Field, PrivateAttr, field_validator, model_validator
except ModuleNotFoundError as error:
    raise MissingExtraError("langchain-core", "langchain", "secondpass.ext.langchain") from error

__all__ = ["MiniLMEmbeddings", "RerankedRetriever", "RetrievalComparison", "compare_retrieval"]

RerankerChoice = str | Path | Reranker | None


class MiniLMEmbeddings(Embeddings):
    """LangChain's embeddings interface over all-MiniLM-L6-v2 on ONNX Runtime: 384 numbers, unit length.

    Args:
        embedder: another embedder of ours to use instead; a store must be opened with the
            embedder that filled it.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.embedder: Embedder = MiniLMEmbedder() if embedder is None else embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in input order."""
        vectors: list[list[float]] = self.embedder.embed_passages(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        vector: list[float] = self.embedder.embed_queries([text])[0].tolist()
        return vector


class RerankedRetriever(BaseRetriever):
    """Ask a vector store for many candidates, read each together with the query, return the best few.

    The documents that come back are copies with five more metadata entries:

    - ``relevance_score``: what the re-ranker gave, higher is better (a cross-encoder's logit);
    - ``rerank_rank``: place after the second pass, from 1;
    - ``candidate_rank``: place in the store's own list, from 1;
    - ``candidate_value``: the number the store gave, as it gave it and where it gives one. Whether
      higher or lower is better is the store's choice: Chroma and FAISS give a distance (lower is
      nearer), InMemoryVectorStore a cosine;
    - ``reranker``: name of the re-ranker.

    Attributes:
        vectorstore: any LangChain vector store, as it is.
        reranker_model: a name, a hub id, a folder, or an object with ``name`` and ``score``; None
            means ``"auto"``. It is loaded at construction.
        k_candidates: how many documents the store is asked for, at least ``k_final``.
        k_final: how many come back, at least 1.
        search_kwargs: passed on to the store's search, e.g. ``{"filter": {"lang": "en"}}``.
        download: fetch the re-ranker from its hub if it is not on this machine.

    Raises:
        pydantic.ValidationError: a field is wrong; the message says which and why.
        ModelError: the re-ranker is unknown, absent or damaged.
    """

    vectorstore: VectorStore
    reranker_model: RerankerChoice = None
    k_candidates: int = 20
    k_final: int = 3
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    download: bool = False

    _loaded: tuple[RerankerChoice, Reranker] | None = PrivateAttr(default=None)

    @field_validator("reranker_model", mode="before")
    @classmethod
    def _one_of_ours(cls, value: object) -> object:
        if value is None or isinstance(value, str | Path | Reranker):
            return value
        kind = type(value).__name__
        raise InputError(
            f"reranker_model must be a name, a folder, or an object with name and score(), not {kind}"
        )

    @model_validator(mode="after")
    def _usable(self) -> RerankedRetriever:
        self._check_sizes()
        _ = self.reranker
        return self

    @property
    def reranker(self) -> Reranker:
        """The loaded re-ranker; loaded anew when ``reranker_model`` was assigned another value."""
        if self._loaded is None or self._loaded[0] is not self.reranker_model:
            self._loaded = (self.reranker_model, _load(self.reranker_model, self.download))
        return self._loaded[1]

    def retrieve(self, query: str) -> list[Document]:
        """Return the ``k_final`` documents that answer best, best first; fewer if the store has fewer.

        The same as ``invoke``, so LangChain's callbacks and tracing see it.

        Raises:
            QueryError: the query is empty or not text.
        """
        return self.invoke(query)

    async def aretrieve(self, query: str) -> list[Document]:
        """Like ``retrieve``, with the work in a thread."""
        return await self.ainvoke(query)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 (the base class's signature)
    ) -> list[Document]:
        return self._ranked(query)[: self.k_final]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
    ) -> list[Document]:
        self._check_sizes()
        checked_text(query)
        wanted = {**self.search_kwargs, "k": self.k_candidates}
        found: Sequence[tuple[Document, float | None]]
        try:
            found = await self.vectorstore.asimilarity_search_with_score(query, **wanted)
        except NotImplementedError:
            found = _without_values(await self.vectorstore.asimilarity_search(query, **wanted))
        ranked = await run_in_executor(None, self._second_pass, query, found)
        return ranked[: self.k_final]

    def _ranked(self, query: str) -> list[Document]:
        """Return every candidate after the second pass, best first."""
        self._check_sizes()
        checked_text(query)
        wanted = {**self.search_kwargs, "k": self.k_candidates}
        found: Sequence[tuple[Document, float | None]]
        try:
            found = self.vectorstore.similarity_search_with_score(query, **wanted)
        except NotImplementedError:  # the base class's answer: this store has no scores to give
            found = _without_values(self.vectorstore.similarity_search(query, **wanted))
        return self._second_pass(query, found)

    def _second_pass(self, query: str, found: Sequence[tuple[Document, float | None]]) -> list[Document]:
        if not found:
            return []
        reranker = self.reranker
        scores = reranker.score(query, [document.page_content for document, _ in found])
        if len(scores) != len(found) or not all(map(math.isfinite, scores)):
            raise ModelInvalidError(
                f"the re-ranker {reranker.name!r} gave {list(map(float, scores))} for {len(found)} passages; "
                "it must give one finite number for each, in the same order"
            )
        ranked = rank((place, float(score)) for place, score in enumerate(scores))
        return [
            _annotated(*found[place], place + 1, position, score, reranker.name)
            for position, (place, score) in enumerate(ranked, start=1)
        ]

    def _check_sizes(self) -> None:
        for name in ("k_candidates", "k_final"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.k_final > self.k_candidates:
            raise InputError(
                f"k_final ({self.k_final}) is more than k_candidates ({self.k_candidates}): the second pass "
                "can only choose among the candidates; raise k_candidates"
            )


def _load(choice: RerankerChoice, download: bool) -> Reranker:
    if choice == "none":
        raise InputError("'none' is not a re-ranker; for stage 1 alone use vectorstore.as_retriever()")
    if choice is None:
        return load_reranker("auto", download=download)
    if isinstance(choice, str | Path):
        return load_reranker(choice, download=download)
    return choice


def _without_values(documents: Sequence[Document]) -> list[tuple[Document, float | None]]:
    return [(document, None) for document in documents]


def _annotated(
    document: Document,
    value: float | None,
    candidate_rank: int,
    rerank_rank: int,
    score: float,
    reranker: str,
) -> Document:
    """Return a copy: stores such as InMemoryVectorStore hand out the very metadata they keep."""
    added: dict[str, Any] = {
        "relevance_score": score,
        "rerank_rank": rerank_rank,
        "candidate_rank": candidate_rank,
        "reranker": reranker,
    }
    if value is not None:
        added["candidate_value"] = float(value)
    return document.model_copy(update={"metadata": {**document.metadata, **added}})


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
