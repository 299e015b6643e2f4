"""Embedders both ways: ours behind LangChain's interface, LangChain's behind ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from ...embedding import MiniLMEmbedder
from ...errors import InputError
from ...types import Embedder

if TYPE_CHECKING:
    from ...types import Floats

__all__ = ["MiniLMEmbeddings", "as_embedder", "unit"]


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


class _OfLangChain:
    """Any LangChain embeddings as an embedder of ours.

    Its name is the class and, where the object tells, the model: an index that was filled with one model is
    not opened with another.

    Args:
        embeddings: asked once at construction, to learn how long its vectors are.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        told = (getattr(embeddings, name, None) for name in ("model", "model_name", "model_id"))
        models = [each for each in told if isinstance(each, str) and each]
        self._name = ":".join(["langchain", type(embeddings).__name__, *models[:1]])
        self._dimension = len(embeddings.embed_query("How long is a vector?"))

    @property
    def name(self) -> str:
        """``langchain``, the class and the model."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length."""
        return unit([self._embeddings.embed_query(text) for text in texts], self._dimension)

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length."""
        return unit(self._embeddings.embed_documents(list(texts)) if texts else [], self._dimension)


def as_embedder(given: object) -> Embedder | None:
    """Return an embedder of ours for one of either kind; None stays None.

    Raises:
        InputError: it is neither.
    """
    if isinstance(given, MiniLMEmbeddings):
        return given.embedder
    if isinstance(given, Embeddings):
        return _OfLangChain(given)
    if given is None or isinstance(given, Embedder):
        return given
    raise InputError(f"embedding must be a LangChain Embeddings or an embedder, got {type(given).__name__}")


def unit(vectors: Sequence[Sequence[float]], dimension: int) -> Floats:
    """Return ``(n, dimension)`` float32 rows scaled to unit length; stores of ours compare by cosine.

    Raises:
        InputError: another shape, or a vector of length zero or of something other than finite numbers.
    """
    import numpy as np

    try:
        rows = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), dimension)
    except (TypeError, ValueError) as exc:
        raise InputError(f"the embeddings must be vectors of {dimension} numbers each") from exc
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        raise InputError("the embeddings gave a vector that is zero or not finite; it has no direction")
    scaled: Floats = (rows / lengths).astype(np.float32)
    return scaled
