"""Embedding on a thread of its own, so that the writer reads, splits and writes meanwhile."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..stores.checks import checked_vectors
from ..types import Embedder

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["Ahead"]


class Ahead:
    """Asks an embedder for one list of texts at a time, never for two at once.

    It sees the lists that it would see without a thread, in the same order, so its vectors are the same to
    the bit.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._thread: ThreadPoolExecutor | None = None

    def start(self, texts: Sequence[str]) -> Future[Floats]:
        """Begin to embed texts, once those begun before are done."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="secondpass-embed")
        return self._thread.submit(contextvars.copy_context().run, self._embed, list(texts))

    def close(self) -> None:
        """Wait for what is under way; drop what has not begun."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _embed(self, texts: list[str]) -> Floats:
        if not texts:
            return checked_vectors([], 0, self._embedder.dimension)
        return checked_vectors(self._embedder.embed_passages(texts), len(texts), self._embedder.dimension)
