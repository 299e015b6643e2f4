"""BERT-family encoders on our own 8-bit kernels (``_kernels.c``), for processors with AVX-512 VNNI.

Weights are int8 with a scale for each output, activations int8 with a scale and an offset for each token. So
a text's states do not depend on what else is in its batch, to the last bit, and a batch needs no padding.
Where the kernels cannot run (another processor, no compiler at installation, another architecture) the caller
takes ONNX Runtime; ``SECONDPASS_NATIVE=0`` makes it do so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from .batching import Integers, Row, Starts, packed_batches, starts_of
from .errors import ModelInvalidError
from .inference import Floats, unit

_kernels: Any = None
with suppress(ImportError):  # it was installed without a compiler
    _kernels = import_module("secondpass._kernels")

__all__ = [
    "BATCH_TOKENS",
    "HEAD_WIDTH",
    "Array",
    "Encoder",
    "Layer",
    "Linear",
    "Norm",
    "Table",
    "available",
    "best_cosines",
    "best_signs",
    "norm",
]

BATCH_TOKENS = 384
"""Tokens in a batch: its states stay in the L2 cache while the weights pass by."""

Array = npt.NDArray[Any]
HEAD_WIDTH = 32
"""A head's width must be a multiple of this, and a layer's of 64: whole registers."""


@cache
def _runs_here() -> bool:
    return _kernels is not None and bool(_kernels.supported())


def available() -> bool:
    """Whether the kernels can run on this processor and are not switched off."""
    return _runs_here() and os.environ.get("SECONDPASS_NATIVE", "").strip() not in ("0", "no", "off", "false")


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map, ``x @ weight + bias``.

    Attributes:
        weight: ``(inputs, outputs)``, int8 with a scale or any float.
        scale: ``(outputs,)`` of int8 weights, else None.
        bias: ``(outputs,)``.
    """

    weight: Array
    scale: Array | None
    bias: Array

    def quantised(self) -> tuple[Array, Floats]:
        """Return int8 weights and the scale of each output, from its largest weight; symmetric."""
        if self.scale is not None:
            return self.weight, self.scale.astype(np.float32)
        weight = self.weight.astype(np.float32)
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
        return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)

    def dense(self) -> Floats:
        """Return the weights as float32."""
        weight = self.weight.astype(np.float32)
        return weight if self.scale is None else weight * self.scale.astype(np.float32)

    def packed(self) -> Any:
        """Return the map as the kernels want it."""
        return _pack([self])


def _pack(maps: Sequence[Linear]) -> Any:
    """Several maps of the same inputs, side by side."""
    weights, scales = zip(*(each.quantised() for each in maps), strict=True)
    weight = np.ascontiguousarray(np.concatenate(weights, axis=1), dtype=np.int8)
    bias = np.concatenate([each.bias for each in maps]).astype(np.float32)
    return _kernels.linear(weight, np.concatenate(scales), bias, *weight.shape)


@dataclass(frozen=True, slots=True)
class Norm:
    """Weight and bias of a layer norm, ``(width,)`` each."""

    weight: Array
    bias: Array

    def stacked(self) -> Floats:
        """Return ``(2, width)`` float32."""
        return np.stack([self.weight, self.bias]).astype(np.float32)


class Layer:
    """One post-norm BERT layer."""

    def __init__(self, maps: dict[str, Linear], norms: tuple[Norm, Norm], heads: int, epsilon: float) -> None:
        """Pack the weights.

        Args:
            maps: ``query``, ``key``, ``value``, ``out``, ``up``, ``down``.
            norms: after attention, after feed-forward.
            heads: how many; a head is a multiple of 32 wide.
            epsilon: of both norms.
        """
        self._layer = _kernels.layer(
            _pack([maps["query"], maps["key"], maps["value"]]),
            maps["out"].packed(),
            maps["up"].packed(),
            maps["down"].packed(),
            np.concatenate([norm.stacked() for norm in norms]),
            heads,
            epsilon,
        )

    def __call__(self, states: Floats, starts: Starts) -> None:
        """Turn ``(tokens, width)`` states into the next ones, in place; each text reads itself."""
        _kernels.run(self._layer, states, starts)

    def reading(self, states: Floats, starts: Starts, others: Floats, other_starts: Starts) -> None:
        """The same, each text reading itself and its other text, whose states stay as they are."""
        _kernels.run(self._layer, states, starts, others, other_starts)


@dataclass(frozen=True, slots=True)
class Table:
    """Embeddings by number, ``(n, width)``; bytes have a scale (one, or one a row) and an offset."""

    values: Array
    scale: Array | None = None
    zero: int = 0

    def __getitem__(self, ids: Array) -> Floats:
        rows = self.values[ids].astype(np.float32)
        if self.scale is None:
            return rows
        return np.asarray(
            (rows - self.zero) * (self.scale[ids] if self.scale.size > 1 else self.scale), np.float32
        )


@dataclass(frozen=True)
class Encoder:
    """Embeddings and layers.

    Attributes:
        words, positions, types: the three tables that are added up.
        norm: of the sum.
        layers: in order.
        first_position: number of the first token's position (0 for BERT, 2 for RoBERTa).
        epsilon: of the norm.
    """

    words: Table
    positions: Table
    types: Table
    norm: Floats
    layers: tuple[Layer, ...]
    first_position: int = 0
    epsilon: float = 1e-12

    def embed(self, rows: Sequence[Row]) -> tuple[Floats, Starts]:
        """Return the states before the first layer ``(tokens, width)``, and the starts ``(n + 1,)``."""
        starts = starts_of(rows)
        ids = np.concatenate([np.array(row.ids, dtype=np.int64) for row in rows])
        kinds = np.concatenate([np.array(row.types, dtype=np.int64) for row in rows])
        places = np.arange(len(ids)) - np.repeat(starts[:-1], np.diff(starts)) + self.first_position
        try:
            states = self.words[ids] + self.positions[places] + self.types[kinds]
        except IndexError as exc:
            raise ModelInvalidError(
                f"a token is outside the model's tables ({exc}); its tokenizer may belong to another model"
            ) from exc
        norm(states, self.norm, self.epsilon)
        return states, starts

    def batches(self, lengths: Sequence[int]) -> list[Integers]:
        """Return groups of equal work; no padding, so lengths need not be alike."""
        return packed_batches(lengths, BATCH_TOKENS)

    def states(self, rows: Sequence[Row]) -> tuple[Floats, Starts]:
        """Return the last layer's states ``(tokens, width)``, and where each row starts ``(n + 1,)``."""
        states, starts = self.embed(rows)
        for layer in self.layers:
            layer(states, starts)
        return states, starts


def norm(states: Floats, weight_and_bias: Floats, epsilon: float) -> None:
    """Layer norm of ``(n, width)`` states in place; see ``Norm.stacked``."""
    _kernels.norm(states, weight_and_bias, epsilon)


def best_cosines(states: Floats, starts: Starts, words: Floats) -> tuple[Floats, Floats]:
    """Return each text's sum of states, and the best cosine of any of its tokens with each word.

    Args:
        states: packed, ``(tokens, width)``.
        starts: ``(n + 1,)``.
        words: ``(m, width)``, of unit length.

    Returns:
        ``(n, width)`` and ``(n, m)``.
    """
    if not available():
        similarity = unit(states) @ words.T
        return np.add.reduceat(states, starts[:-1], axis=0), np.maximum.reduceat(
            similarity, starts[:-1], axis=0
        )
    sums = np.empty((len(starts) - 1, states.shape[1]), dtype=np.float32)
    best = np.empty((len(starts) - 1, len(words)), dtype=np.float32)
    _kernels.pool(states, starts, np.ascontiguousarray(words, dtype=np.float32), sums, best)
    return sums, best


def best_signs(bits: Array, starts: Starts, words: Floats) -> Floats:
    """Return for each text and word the largest product of the word with any of the text's sign vectors.

    Args:
        bits: packed, ``(tokens, width / 8)`` uint8, the lowest bit first; a set one is +1, another -1.
        starts: ``(n + 1,)``.
        words: ``(m, width)``, m at least 1.

    Returns:
        ``(n, m)``.
    """
    words = np.ascontiguousarray(words, dtype=np.float32)
    if not available():
        signs = np.unpackbits(bits, axis=1, bitorder="little").astype(np.float32) * 2 - 1
        return np.maximum.reduceat(signs @ words.T, starts[:-1], axis=0)
    best = np.empty((len(starts) - 1, len(words)), dtype=np.float32)
    _kernels.signs(np.ascontiguousarray(bits), starts, words, best, words.shape[1])
    return best
