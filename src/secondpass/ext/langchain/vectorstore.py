"""``SecondpassVectorStore``: our index behind LangChain's interface of vector stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from ...arguments import checked_count, checked_stage1
from ...errors import InputError
from ...index import Index
from ...types import Embedder, Hit, Passage
from .asked import considered, listed, refuse
from .conditions import checked_filter
from .documents import OnePassage, of_file_passage, of_passage, prepared_all, with_texts
from .embeddings import MiniLMEmbeddings, as_embedder, unit
from .opening import opened

if TYPE_CHECKING:
    from ...types import Floats

__all__ = ["SecondpassVectorStore"]

Filter = Mapping[str, Any] | None


class SecondpassVectorStore(VectorStore):
    """An index of ours as a LangChain vector store: on disk, exact, with BM25 beside the vectors.

    Each LangChain document is one passage, whole. An index that ``secondpass index`` built from files can be
    searched, too: its passages come back with their source and lines, under their passage ids; adding and
    deleting are left to ``secondpass index``.

    Scores are higher for better: the cosine (``dense``), BM25 (``lexical``) or fused ranks (``hybrid``).
    Equal texts under several ids all come back, up to 51 of them. NUL and half surrogate pairs become
    U+FFFD. The asynchronous methods work in a thread.

    Args:
        folder: where the index is or shall be, or an open ``Index``; None takes a folder for the life of
            ``index``.
        embedding: a LangChain ``Embeddings`` or an embedder of ours; None takes the one the index was built
            with, all-MiniLM-L6-v2 for a new one. Its vectors are scaled to unit length.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        score_key: under which key of their metadata the documents that are found carry their score, for
            retrievers, which return no numbers; None leaves it out.

    Attributes:
        index: the index; also for an ``Engine``.

    Raises:
        InputError: an argument cannot be used.
        IndexMismatchError: the index was built with another embedder.
        IndexMissingError, IndexDamagedError, IndexWriteError: as for ``Index.open``.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Index | None = None,
        embedding: Embeddings | Embedder | None = None,
        *,
        stage1: str = "dense",
        score_key: str | None = None,
    ) -> None:
        self.stage1 = checked_stage1(stage1)
        self.score_key = score_key
        if isinstance(folder, Index):
            if embedding is not None:
                raise InputError("an open Index has its embedder; leave embedding out, or give its folder")
            self.index = folder
        else:
            self.index = opened(folder, as_embedder(embedding))
        self._embeddings = embedding if isinstance(embedding, Embeddings) else None
        self._whole = self.index.status().splitter.get("name") == OnePassage.NAME

    @property
    def embeddings(self) -> Embeddings:
        """What was given, or the index's embedder behind LangChain's interface."""
        if self._embeddings is None:
            self._embeddings = MiniLMEmbeddings(self.index.embedder)
        return self._embeddings

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> SecondpassVectorStore:
        """Return a store with these texts in it; ``kwargs`` are those of the class.

        Raises:
            InputError, IndexMismatchError, IndexWriteError: as for the class and ``add_texts``.
        """
        store = cls(kwargs.pop("folder", None), embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, as ``add_documents``; ``metadatas`` and ``ids``: one for each, or none at all."""
        return self.add_documents(with_texts(texts, metadatas), ids=ids, **kwargs)

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add documents; one whose id is there takes its place, and costs no embedding if it is the same.

        Nothing is written if one of them cannot be stored.

        Args:
            documents: each with its own id, or none, and gets a random one.
            **kwargs: ``ids``: one for each document, before its own.

        Returns:
            The ids, in order.

        Raises:
            InputError: an id is given twice, metadata cannot be kept, or the index was built from files.
            IndexLockedError, IndexWriteError: as for ``Index.add``.
        """
        ids = kwargs.pop("ids", None)
        refuse(kwargs)
        self._check_writable("adds to")
        ours = prepared_all(documents, ids)
        self.index.add(ours)
        return [each.id for each in ours]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, all of them where ``ids`` is None; unknown ids are ignored."""
        refuse(kwargs)
        self._check_writable("deletes from")
        self.index.remove([each.id for each in self.index.documents()] if ids is None else listed(ids))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of their ids; unknown ids are left out."""
        return [found for each in listed(ids) if (found := self._get(each)) is not None]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        filter: Filter = None,  # noqa: A002 (as LangChain's stores call it)
        **kwargs: Any,
    ) -> list[Document]:
        """Return at most ``k`` documents, best first.

        Args:
            query: a question or a few words.
            k: how many, at least 1.
            filter: only documents whose metadata have all of these values; equality is all it knows.
            **kwargs: nothing else.

        Raises:
            QueryError: the query is empty, too long or not text.
            InputError: an argument is out of range, or no document has a key of the filter.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: Filter = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Like ``similarity_search``, each with its score; higher is better."""
        refuse(kwargs)
        return self._shown(self._hits(query, None, k, filter, self.stage1))[:k]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Filter = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[Document]:
        """Return the documents whose vectors are nearest to one, whatever ``stage1`` is."""
        refuse(kwargs)
        found = self._shown(self._near(embedding, k, filter))
        return [document for document, _ in found[:k]]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[Document]:
        """Return ``k`` of the best ``fetch_k`` documents, chosen to fit the query and to differ.

        Args:
            query: a question or a few words.
            k: how many, at least 1.
            fetch_k: how many are considered; their texts are embedded for it.
            lambda_mult: 1 looks at the query alone, 0 only at the difference.
            filter: as for ``similarity_search``.
            **kwargs: nothing else.
        """
        refuse(kwargs)
        fetched = considered(fetch_k, k, lambda_mult)
        vector = self.index.embed_query(query)
        hits = self._hits(query, vector, fetched, filter, self.stage1)
        return self._diverse(vector, hits, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[Document]:
        """Like ``max_marginal_relevance_search``, for a vector."""
        refuse(kwargs)
        hits = self._near(embedding, considered(fetch_k, k, lambda_mult), filter)
        return self._diverse(self._vector(embedding), hits, k, lambda_mult)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self.stage1 != "dense":
            raise InputError(
                f"{self.stage1} scores have no scale of 0 to 1; thresholds need stage1='dense', "
                "or the re-ranker's relevance_probability"
            )
        return lambda cosine: min(1.0, max(0.0, cosine))

    def _vector(self, embedding: Sequence[float]) -> Floats:
        vector: Floats = unit([embedding], self.index.status().dimension)[0]
        return vector

    def _near(self, embedding: Sequence[float], k: int, where: Filter) -> list[Hit]:
        # A dense search looks at the vector alone; the index wants a query of any kind beside it.
        return self._hits("by vector", self._vector(embedding), k, where, "dense")

    def _hits(self, query: str, vector: Floats | None, k: int, where: Filter, stage1: str) -> list[Hit]:
        checked_count("k", k)
        where = checked_filter(where)
        if where and not len(self.index):  # where there is no document yet, no key can be unknown
            return []
        return self.index.candidates(query, vector, k, stage1, where)

    def _shown(self, hits: Sequence[Hit]) -> list[tuple[Document, float]]:
        shown = []
        for hit in hits:
            places = (hit.passage, *hit.also_in) if self._whole else (hit.passage,)
            for passage in places:
                document = self._document(passage)
                if self.score_key is not None:
                    document.metadata[self.score_key] = hit.score
                shown.append((document, hit.score))
        return shown

    def _diverse(self, vector: Floats, hits: Sequence[Hit], k: int, weight: float) -> list[Document]:
        found = [document for document, _ in self._shown(hits)]
        vectors = self.index.embedder.embed_passages([each.page_content for each in found])
        chosen = maximal_marginal_relevance(vector, vectors.tolist(), weight, k)
        return [found[place] for place in chosen]

    def _get(self, key: str) -> Document | None:
        try:
            if self._whole:
                document = self.index.document(key)
                return of_passage(document.id, document.text, document.metadata)
            return of_file_passage(self.index.passage(key))
        except InputError:  # there is none of that id
            return None

    def _document(self, passage: Passage) -> Document:
        if self._whole:
            return of_passage(passage.document_id, passage.text, passage.metadata)
        return of_file_passage(passage)

    def _check_writable(self, what: str) -> None:
        if not self._whole:
            raise InputError(
                f"the index in {self.index.path} was built from files; secondpass index {what} it. "
                "LangChain documents need a folder of their own"
            )
