"""An embedder without weights, for tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["HashEmbedder"]

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """A hashed bag of words: each word adds 1 or -1 at a place that its hash names; the sum has unit length.

    A real embedder, if a crude one: texts that share words are close. It needs no weights, gives the same
    bits on each machine and in each batch, and embeds thousands of passages a second.

    Args:
        dimension: length of a vector, at least 2.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 2:
            raise InputError(f"the dimension must be at least 2, got {dimension}")
        self._dimension = dimension
        self._places: dict[str, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """``hashed-words-`` and the dimension."""
        return f"hashed-words-{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length."""
        return self.embed_passages(texts)

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length; a text without a word gives the first
        axis.
        """
        if isinstance(texts, str):
            raise InputError("an embedder takes a list of texts, got one text")
        rows = np.zeros((len(texts), self._dimension), dtype=np.float64)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower()):
                place, sign = self._place(word)
                row[place] += sign
            if not row.any():
                row[0] = 1.0
        vectors: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return vectors

    def _place(self, word: str) -> tuple[int, int]:
        known = self._places.get(word)
        if known is None:
            digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=9).digest()
            known = int.from_bytes(digest[:8], "big") % self._dimension, 1 if digest[8] & 1 else -1
            self._places[word] = known
        return known
