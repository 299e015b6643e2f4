"""Texts to unit vectors with all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import models
from ..arguments import checked_precision
from ..batching import Integers, Row, Starts
from ..catalogue import EMBEDDER
from ..checkpoints import minilm_encoder
from ..errors import QueryError
from ..inference import Floats, TokenStates, mean_states, run_states, unit
from ..tokenizing import (
    MAX_QUERY_TOKENS,
    Frame,
    check_length,
    checked_texts,
    load_tokenizer,
    parts,
    single_frame,
    slices,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MAX_CHARACTERS", "WINDOW", "MiniLMEmbedder"]

WINDOW = 256
"""Tokens the model reads at once, its two special tokens included; it was trained with at most that many."""
MAX_CHARACTERS = 20_000
"""A passage is cut here before it is tokenised: 254 tokens never need more, unless a text is all spaces."""


class MiniLMEmbedder:
    """all-MiniLM-L6-v2: mean of the last layer's token states over the mask, scaled to unit length.

    Weights are stored as int8. The model is opened at the first call. An empty text (or one of spaces)
    gives the vector of its two special tokens: finite, of unit length, without meaning. Safe to use from
    several threads.

    Args:
        precision: of activations: ``int8``, where the processor can (see ``secondpass.native``), or ``fp32``.
            Mean cosine between the two is .9995, and they mix in one index.

    Raises:
        InputError: another precision.
    """

    def __init__(self, precision: str = "int8") -> None:
        self.precision = checked_precision(precision)
        self._folder = models.resolve(EMBEDDER, "embedder")

    @property
    def name(self) -> str:
        """``all-MiniLM-L6-v2``."""
        return EMBEDDER

    @property
    def dimension(self) -> int:
        """384."""
        return 384

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Embed queries, none cut: a long one is read in parts of 254 tokens whose means are averaged.

        Returns:
            ``(n, 384)`` float32, each row of unit length.

        Raises:
            QueryError: a query has more than 2048 tokens or 20,000 characters.
            InputError: not a list of strings.
        """
        rows: list[Row] = []
        owners: list[int] = []
        queries = checked_texts(texts, "queries")
        for query in queries:
            check_length(query)
        for place, ids in enumerate(self._tokenise(queries)):
            if len(ids) > MAX_QUERY_TOKENS:
                raise QueryError(
                    f"the query has {len(ids)} tokens, at most {MAX_QUERY_TOKENS} can be read; "
                    "ask a shorter question"
                )
            own = [self._frame.around(part) for part in parts(ids, self._room)]
            rows += own
            owners += [place] * len(own)
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        weights = np.array([len(row.ids) for row in rows], dtype=np.float32)[:, None]
        np.add.at(sums, owners, self._pooled(rows) * weights)
        return unit(sums)

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Embed passages; of a longer one the first 256 tokens (special ones included) are read.

        Returns:
            ``(n, 384)`` float32, each row of unit length.

        Raises:
            InputError: not a list of strings.
        """
        texts = checked_texts(texts, "passages")
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        start = 0
        for part in slices([text[:MAX_CHARACTERS] for text in texts]):
            rows = [self._frame.around(ids[: self._room]) for ids in self._tokenise(part)]
            vectors[start : start + len(part)] = unit(self._pooled(rows))
            start += len(part)
        return vectors

    def _tokenise(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _pooled(self, rows: list[Row]) -> Floats:
        means = np.empty((len(rows), self.dimension), dtype=np.float32)

        def work(places: Integers, states: Floats, starts: Starts) -> None:
            means[places] = mean_states(states, starts)

        run_states(self._encoder, rows, work)
        return means

    @property
    def _room(self) -> int:
        return WINDOW - self._frame.size

    @cached_property
    def _encoder(self) -> TokenStates:
        return minilm_encoder(self._folder, self.precision)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._folder)

    @cached_property
    def _frame(self) -> Frame:
        return single_frame(self._tokenizer)
