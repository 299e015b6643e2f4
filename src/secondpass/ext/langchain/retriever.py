"""``RerankedRetriever``: a second pass behind any vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import Field, PrivateAttr, field_validator, model_validator

from ...arguments import checked_text
from ...errors import InputError
from ...types import Reranker
from .second_pass import RerankerChoice, checked_choice, checked_number, load, reranked

__all__ = ["RerankedRetriever", "searched"]

Found = Sequence[tuple[Document, float | None]]


class RerankedRetriever(BaseRetriever):
    """Ask a vector store for many candidates, read each together with the query, return the best few.

    The documents that come back are copies with more metadata entries:

    - ``relevance_score``: what the re-ranker gave, higher is better (a cross-encoder's logit);
    - ``relevance_probability``: its sigmoid, where the score is a logit;
    - ``rerank_rank``: place after the second pass, from 1;
    - ``candidate_rank``: place in the store's own list, from 1;
    - ``candidate_value``: the number the store gave, as it gave it and where it gives one. Whether
      higher or lower is better is the store's choice: Chroma and FAISS give a distance (lower is
      nearer), InMemoryVectorStore a cosine;
    - ``reranker``: name of the re-ranker;
    - ``truncated``: True where the re-ranker could not read the document whole.

    ``invoke(query, k_final=1)`` and ``k_candidates=`` hold for one call.

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
        return checked_choice(value)

    @model_validator(mode="after")
    def _usable(self) -> RerankedRetriever:
        self._sizes()
        _ = self.reranker
        return self

    @property
    def reranker(self) -> Reranker:
        """The loaded re-ranker; loaded anew when ``reranker_model`` was assigned another value."""
        if self._loaded is None or self._loaded[0] is not self.reranker_model:
            self._loaded = (self.reranker_model, load(self.reranker_model, self.download))
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
        k_final: int | None = None,
        k_candidates: int | None = None,
    ) -> list[Document]:
        candidates, final = self._sizes(k_candidates, k_final)
        return self._ranked(query, candidates)[:final]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        k_final: int | None = None,
        k_candidates: int | None = None,
    ) -> list[Document]:
        candidates, final = self._sizes(k_candidates, k_final)
        checked_text(query)
        wanted = {**self.search_kwargs, "k": candidates}
        found: Found
        try:
            found = await self.vectorstore.asimilarity_search_with_score(query, **wanted)
        except NotImplementedError:
            found = _without_values(await self.vectorstore.asimilarity_search(query, **wanted))
        ranked = await run_in_executor(None, reranked, self.reranker, query, found)
        return ranked[:final]

    def _ranked(self, query: str, candidates: int | None = None) -> list[Document]:
        """Return every candidate after the second pass, best first."""
        candidates, _ = self._sizes(candidates)
        found = searched(self.vectorstore, query, {**self.search_kwargs, "k": candidates})
        return reranked(self.reranker, query, found)

    def _sizes(self, candidates: int | None = None, final: int | None = None) -> tuple[int, int]:
        """Return how many are read and how many come back: those of this call, else the fields."""
        candidates = checked_number("k_candidates", self.k_candidates if candidates is None else candidates)
        final = checked_number("k_final", self.k_final if final is None else final)
        if final > candidates:
            raise InputError(
                f"k_final ({final}) is more than k_candidates ({candidates}): the second pass "
                "can only choose among the candidates; raise k_candidates"
            )
        return candidates, final


def searched(store: VectorStore, query: str, wanted: dict[str, Any]) -> Found:
    """Return what a store finds, with its numbers where it has any.

    Raises:
        QueryError: the query is empty or not text.
    """
    checked_text(query)
    try:
        return store.similarity_search_with_score(query, **wanted)
    except NotImplementedError:  # the base class's answer: this store has no scores to give
        return _without_values(store.similarity_search(query, **wanted))


def _without_values(documents: Sequence[Document]) -> list[tuple[Document, float | None]]:
    return [(document, None) for document in documents]
