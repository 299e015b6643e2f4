"""``minilm-l6`` on our own kernels: cosine and max-sim as a residual, and a joint branch over the query.

The arithmetic is that of ``training/model.py`` and of the ONNX file, see docs/adr/0004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import native
from ..batching import Integers, Row, Starts
from ..checkpoints import Weights, norm_of
from ..cores import for_each
from ..inference import Floats, mean_states, unit
from ..native import Encoder, Layer, Linear, Table, best_cosines
from ..products import product

__all__ = ["ResidualScorer", "is_residual"]

_DEPTH = 6
_EPSILON = 1e-12
_HEAD_EPSILON = 1e-5
_SPECIAL = (0, 101, 102)
"""Ids of [PAD], [CLS] and [SEP]: no words."""


def is_residual(config: dict[str, Any]) -> bool:
    """Whether a ``config.json`` is that of a residual cross-encoder."""
    ours = config.get("secondpass")
    return isinstance(ours, dict) and bool(ours.get("one_query_per_batch"))


@dataclass(frozen=True, slots=True)
class _Query:
    """What the passages of one query are read with.

    Attributes:
        ids: ``(t,)`` with [CLS] and [SEP].
        states: ``(t, width)`` where the joint branch begins.
        unit_states: ``(t, width)`` of the last layer, unit length.
        vector: ``(width,)``, mean of the last layer, unit length.
        words: ``(t,)``, 1 for words, 0 for special tokens.
    """

    ids: Integers
    states: Floats
    unit_states: Floats
    vector: Floats
    words: Floats


class ResidualScorer:
    """``logit = scale * (a * cosine + b * max-sim) + joint branch + bias``."""

    def __init__(self, weights: Weights) -> None:
        """Pack the weights.

        Raises:
            KeyError: a tensor is not there.
        """
        self._encoder = Encoder(
            weights.table("encoder.words"),
            weights.table("encoder.positions"),
            Table(weights.tensor("encoder.type")[None, :]),
            norm_of(weights, "encoder.norm").stacked(),
            tuple(_layer(weights, f"encoder.layers.{depth}") for depth in range(_DEPTH)),
            epsilon=_EPSILON,
        )
        self._joint = tuple(_layer(weights, f"branch.layers.{depth}") for depth in range(_trained(weights)))
        self._first = _DEPTH - len(self._joint)
        self._match = weights.linear("branch.match")
        self._segment = weights.tensor("branch.passage_segment")
        self._head_norm = norm_of(weights, "branch.head_norm").stacked()
        self._hidden, self._last = weights.linear("branch.head_hidden"), weights.linear("branch.head_out")
        hidden, last = (np.ascontiguousarray(each.dense().T) for each in (self._hidden, self._last))
        self._dense = self._match.dense(), hidden, last
        self._rarity = weights.tensor("rarity")
        self._scale, self._cosine, self._maxsim, self._bias = (
            float(weights.tensor(name).reshape(-1)[0])
            for name in ("branch.scale", "branch.cosine_weight", "branch.maxsim_weight", "bias")
        )

    def logits(self, rows: Sequence[Row]) -> Floats:
        """Return ``(n,)`` for ``n`` pairs of one query: its tokens have type 0, the passage's type 1."""
        length = rows[0].types.count(0)
        query = self._query(Row(rows[0].ids[:length], rows[0].types[:length]))
        passages = [Row(row.ids[length:], [0] * (len(row.ids) - length)) for row in rows]
        logits = np.empty(len(rows), dtype=np.float32)

        def work(places: Integers) -> None:
            logits[places] = self._read(query, [passages[place] for place in places])

        for_each(work, self._encoder.batches([len(row.ids) for row in passages]))
        return logits

    def _query(self, row: Row) -> _Query:
        states, starts = self._encoder.embed([row])
        depths = self._depths(states, starts)
        ids = np.array(row.ids)
        words = np.array([token not in _SPECIAL for token in row.ids], dtype=np.float32)
        return _Query(ids, depths[0], unit(states), unit(mean_states(states, starts))[0], words)

    def _depths(self, states: Floats, starts: Starts) -> list[Floats]:
        """Run all layers in place; return the states that the joint layers read, the first one's first."""
        kept = []
        for depth, layer in enumerate(self._encoder.layers):
            if depth >= self._first:
                kept.append(states.copy())
            layer(states, starts)
        return kept

    def _read(self, query: _Query, passages: list[Row]) -> Floats:
        states, starts = self._encoder.embed(passages)
        depths = self._depths(states, starts)
        sums, best = best_cosines(states, starts, query.unit_states)
        best = best * query.words
        maxsim = best.sum(axis=1) / max(1, len(query.ids) - 2)
        cosine = (unit(sums) * query.vector).sum(axis=1)  # a product of matrices rounds by their shape
        residual = self._scale * (self._cosine * cosine + self._maxsim * maxsim)
        joint = self._branch(query, best, [row.ids for row in passages], depths, starts)
        return np.asarray(residual + joint + self._bias, dtype=np.float32)

    def _branch(
        self, query: _Query, best: Floats, passages: list[list[int]], depths: list[Floats], starts: Starts
    ) -> Floats:
        """Return what the joint layers add, ``(n,)``."""
        exact = np.array([[token in ids for token in query.ids.tolist()] for ids in map(set, passages)])
        exact = exact * query.words
        rare = np.broadcast_to(self._rarity[query.ids] * query.words, exact.shape)
        match, hidden, last = self._dense
        states = (query.states + self._match.bias).astype(np.float32)
        for feature, weight in zip((best, exact, rare, exact * rare), match, strict=True):
            states = states + feature.astype(np.float32)[:, :, None] * weight
        count, tokens, width = states.shape
        packed = states.reshape(-1, width)
        own = np.arange(count + 1, dtype=np.int32) * tokens
        for layer, other in zip(self._joint, depths, strict=True):
            layer.reading(packed, own, other + self._segment, starts)
        pooled = np.concatenate([packed[own[:-1]], mean_states(packed, own)], axis=1)
        native.norm(pooled, self._head_norm, _HEAD_EPSILON)
        # one passage after the other, so that a logit does not depend on how many there are
        return np.array(
            [
                (product(last, _gelu(product(hidden, each) + self._hidden.bias)) + self._last.bias)[0]
                for each in pooled
            ]
        )


def _gelu(x: Floats) -> Floats:
    """Return x (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun, formula 7.1.26."""
    z = np.abs(x) * np.float32(0.70710678)
    t = 1 / (1 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * x * series * np.exp(-z * z)
    return np.asarray(np.where(x > 0, x - tail, tail), dtype=np.float32)


def _trained(weights: Weights) -> int:
    """Return how many joint layers there are."""
    depth = 0
    while True:
        try:
            weights.tensor(f"branch.layers.{depth}.query.bias")
        except KeyError:
            return depth
        depth += 1


def _layer(weights: Weights, place: str) -> Layer:
    maps: dict[str, Linear] = {
        name: weights.linear(f"{place}.{name}") for name in ("query", "key", "value", "out", "up", "down")
    }
    heads = maps["query"].weight.shape[0] // 32
    norms = norm_of(weights, f"{place}.attention_norm"), norm_of(weights, f"{place}.output_norm")
    return Layer(maps, norms, heads, _EPSILON)
