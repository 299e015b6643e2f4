"""``CachedReranker``: a re-ranker that reads only what it has not read before."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from ..types import Reading, Reranker, SupportsReadings
from .asking import ask
from .cache import ScoreCache
from .packing import Given

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["CachedReranker"]


class CachedReranker:
    """A re-ranker in front of another one: known scores come from the cache, the others in one call.

    A text that stands several times in a call is read once. It is a ``SupportsReadings`` exactly where the
    inner one is. Safe to use from several threads, where the inner one is.

    Args:
        reranker: the one that reads.
        cache: where scores are kept.
        fingerprint: stands for everything its scores depend on; by default the re-ranker's own attribute
            ``fingerprint``. Where it has none, its scores are kept in memory and for this object alone, since
            nothing could tell that its weights have changed.

    Raises:
        InputError: not a re-ranker.
    """

    def __new__(cls, reranker: Reranker, *_: object, **__: object) -> CachedReranker:
        """Return one with ``read`` and ``logits`` where the inner one has them."""
        return super().__new__(_CachedReader if isinstance(reranker, SupportsReadings) else cls)

    def __init__(self, reranker: Reranker, cache: ScoreCache, fingerprint: str | None = None) -> None:
        if not isinstance(reranker, Reranker):
            raise InputError(
                f"a re-ranker has a name and score(query, passages), got {type(reranker).__name__}; "
                "see load_reranker(name)"
            )
        self.inner = reranker
        own = fingerprint or getattr(reranker, "fingerprint", None)
        self.fingerprint = own if isinstance(own, str) and own else f"{reranker.name} {uuid.uuid4()}"
        self.cache = cache if own else ScoreCache(None, cache.max_bytes)

    @property
    def name(self) -> str:
        """The inner one's."""
        return self.inner.name

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return ``(n,)`` float32 in input order, as the inner one would."""
        import numpy as np

        given = self._given(query, passages)
        return np.array(
            [each.score if isinstance(each, Reading) else each for each in given], dtype=np.float32
        )

    def known(self, query: str, passages: Sequence[str]) -> list[Given | None]:
        """Return what the cache knows of each passage, None where it must be read."""
        return self.cache.get(self.fingerprint, query, passages)

    def _given(self, query: str, passages: Sequence[str]) -> list[Given]:
        texts = list(passages)
        if not isinstance(query, str) or not all(isinstance(text, str) for text in texts):
            return ask(self.inner, query, texts)  # it says best what is wrong
        found = dict(zip(texts, self.known(query, texts), strict=True))
        missing = [text for text, given in found.items() if given is None]
        if missing:
            read = ask(self.inner, query, missing)
            self.cache.put(self.fingerprint, query, missing, read)
            found.update(zip(missing, read, strict=True))
        return [given for given in (found[text] for text in texts) if given is not None]


class _CachedReader(CachedReranker):
    """One whose inner re-ranker tells what it read."""

    @property
    def logits(self) -> bool:
        """The inner one's."""
        return isinstance(self.inner, SupportsReadings) and self.inner.logits

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won."""
        return [each for each in self._given(query, passages) if isinstance(each, Reading)]
