"""A second pass over documents that any retriever found: a compressor, and a bare cross-encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr, field_validator, model_validator

from ...arguments import checked_text
from ...errors import InputError
from ...scores import ask, check_finite
from ...types import Reading, Reranker
from .documents import checked_documents
from .second_pass import RerankerChoice, checked_choice, checked_number, load, reranked

try:
    from langchain_core.cross_encoders import BaseCrossEncoder
except ModuleNotFoundError:  # langchain-core has it from 1.2.19 on; langchain-classic uses it from 1.0.3 on

    class BaseCrossEncoder:  # type: ignore[no-redef]
        """Stands in for what this langchain-core does not have yet."""


__all__ = ["CrossEncoderCompressor", "SecondpassCrossEncoder"]


class CrossEncoderCompressor(BaseDocumentCompressor):
    """Keeps the ``top_n`` documents that answer best, with the numbers of both stages in their metadata.

    For ``ContextualCompressionRetriever``. The metadata are those of ``RerankedRetriever``; LangChain's own
    ``CrossEncoderReranker`` keeps no number. Documents come back as copies.

    Attributes:
        reranker_model: a name, a hub id, a folder, or an object with ``name`` and ``score``; None means
            ``"auto"``. It is loaded at construction.
        top_n: how many come back, at least 1.
        score_key: where a document has the number stage 1 gave it; it is kept as ``candidate_value``.
            Retrievers of vector stores give none, but for ``SecondpassVectorStore(score_key="score")``;
            ``RerankedRetriever`` asks any store for it. Where there is none, an earlier pass's
            ``relevance_score`` is kept instead, since this pass takes its place.
        download: fetch the re-ranker from its hub if it is not on this machine.

    Raises:
        pydantic.ValidationError: a field is wrong; the message says which and why.
        ModelError: the re-ranker is unknown, absent or damaged.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker_model: RerankerChoice = None
    top_n: int = 3
    score_key: str = "score"
    download: bool = False

    _loaded: tuple[RerankerChoice, Reranker] | None = PrivateAttr(default=None)

    @field_validator("reranker_model", mode="before")
    @classmethod
    def _one_of_ours(cls, value: object) -> object:
        return checked_choice(value)

    @model_validator(mode="after")
    def _usable(self) -> CrossEncoderCompressor:
        checked_number("top_n", self.top_n)
        _ = self.reranker
        return self

    @property
    def reranker(self) -> Reranker:
        """The loaded re-ranker; loaded anew when ``reranker_model`` was assigned another value."""
        if self._loaded is None or self._loaded[0] is not self.reranker_model:
            self._loaded = (self.reranker_model, load(self.reranker_model, self.download))
        return self._loaded[1]

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 (the retriever around it sends the events)
    ) -> Sequence[Document]:
        """Return the best ``top_n``, best first; ``acompress_documents`` works in a thread.

        Raises:
            InputError: something is no document.
            QueryError: the query is empty or not text.
            ModelInvalidError: the re-ranker gave something other than one finite number for each.
        """
        checked_number("top_n", self.top_n)
        found = [(document, self._value(document)) for document in checked_documents(documents)]
        return reranked(self.reranker, query, found)[: self.top_n]

    def _value(self, document: Document) -> float | None:
        for key in (self.score_key, "relevance_score"):
            value = document.metadata.get(key)
            if isinstance(value, Real) and not isinstance(value, bool):  # also numpy's numbers
                return float(value)
        return None


class SecondpassCrossEncoder(BaseCrossEncoder):
    """LangChain's interface of cross-encoders over any re-ranker of ours, without torch.

    For langchain-classic's ``CrossEncoderReranker``, from its version 1.0.3 on.

    Takes the place of langchain-community's ``HuggingFaceCrossEncoder``. Scores are raw logits, higher is
    better; that class gave what sentence-transformers' activation made of them, in the same order.

    Args:
        model_name: a name, a hub id or a folder; an object with ``name`` and ``score`` does, too.
        download: fetch the model from its hub if it is not on this machine.

    Raises:
        InputError: it is no re-ranker.
        ModelError: unknown, absent or damaged.
    """

    def __init__(self, model_name: str | Path | Reranker = "auto", *, download: bool = False) -> None:
        checked_choice(model_name)
        self.reranker = load(model_name, download)

    @property
    def model_name(self) -> str:
        """Name of the re-ranker."""
        return self.reranker.name

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return one score for each pair of query and text, in input order.

        Pairs of the same query are read together, wherever they stand.

        Raises:
            InputError: something is no pair of texts.
            QueryError: a query is empty.
            ModelInvalidError: the re-ranker gave something other than one finite number for each.
        """
        if isinstance(text_pairs, str) or not isinstance(text_pairs, Iterable):
            raise InputError(f"pairs of query and text come as a list, got {type(text_pairs).__name__}")
        pairs = list(text_pairs)
        places: dict[str, list[int]] = {}
        for place, pair in enumerate(pairs):
            places.setdefault(_query_of(place, pair), []).append(place)
        scores = [0.0] * len(pairs)
        for query, asked in places.items():
            given = ask(self.reranker, query, [pairs[place][1] for place in asked])
            check_finite(self.reranker, given, [f"number {place + 1}" for place in asked])
            for place, each in zip(asked, given, strict=True):
                scores[place] = each.score if isinstance(each, Reading) else each
        return scores


def _query_of(place: int, pair: Any) -> str:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise InputError(f"pair {place + 1} must be a query and a text, got {pair!r:.80}")
    return checked_text(pair[0])
