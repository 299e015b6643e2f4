"""``minilm-l6`` on our own kernels: cosine and max-sim as a residual, and a joint branch over the query.

The arithmetic is that of ``training/model.py`` and of the ONNX file, see docs/adr/0004.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import native
from ..architectures import own_settings
from ..batching import Integers, Row, Starts
from ..checkpoints import Weights, norm_of
from ..cores import for_each
from ..inference import Floats, mean_states, unit
from ..native import Encoder, Layer, Linear, Table, best_cosines

__all__ = ["ResidualScorer", "frozen_encoder", "is_residual", "reads_mutually"]

_DEPTH = 6
_EPSILON = 1e-12
_HEAD_EPSILON = 1e-5
_SPECIAL = (0, 101, 102)
"""Ids of [PAD], [CLS] and [SEP]: no words."""


def is_residual(config: dict[str, Any]) -> bool:
    """Whether a ``config.json`` is that of a residual cross-encoder."""
    return bool(own_settings(config).get("one_query_per_batch"))


def reads_mutually(config: dict[str, Any]) -> bool:
    """Whether in the joint layers the passage's tokens read the query too, see ``JointBranch``."""
    return bool(own_settings(config).get("mutual"))


def frozen_encoder(weights: Weights) -> Encoder:
    """Return the bi-encoder of a residual cross-encoder.

    Raises:
        KeyError: a tensor is not there.
    """
    return Encoder(
        weights.table("encoder.words"),
        weights.table("encoder.positions"),
        Table(weights.tensor("encoder.type")[None, :]),
        norm_of(weights, "encoder.norm").stacked(),
        tuple(_layer(weights, f"encoder.layers.{depth}") for depth in range(_DEPTH)),
        epsilon=_EPSILON,
    )


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

    one_query = False

    def __init__(self, weights: Weights, mutual: bool = False) -> None:
        """Pack the weights.

        Args:
            weights: of the whole model.
            mutual: see ``reads_mutually``.

        Raises:
            KeyError: a tensor is not there.
        """
        self._encoder = frozen_encoder(weights)
        self._joint = tuple(_layer(weights, f"branch.layers.{depth}") for depth in range(_trained(weights)))
        self._mutual = mutual
        first = _DEPTH - len(self._joint)
        self._read_at = range(first, first + 1 if mutual else _DEPTH)
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
        """Return ``(n,)`` for ``n`` pairs: a query's tokens have type 0, its passage's type 1."""
        lengths = [row.types.count(0) for row in rows]
        own = [tuple(row.ids[:length]) for row, length in zip(rows, lengths, strict=True)]
        queries = self._queries(list(dict.fromkeys(own)))
        asked = [queries[ids] for ids in own]
        passages = [_as_text(row.ids[length:]) for row, length in zip(rows, lengths, strict=True)]
        logits = np.empty(len(rows), dtype=np.float32)

        def work(places: Integers) -> None:
            logits[places] = self._read(
                [asked[place] for place in places], [passages[place] for place in places]
            )

        for_each(work, self._encoder.batches([len(row.ids) for row in passages]))
        return logits

    def _queries(self, texts: list[tuple[int, ...]]) -> dict[tuple[int, ...], _Query]:
        found: dict[tuple[int, ...], _Query] = {}

        def work(places: Integers) -> None:
            states, starts = self._encoder.embed([_as_text(texts[place]) for place in places])
            first = self._depths(states, starts)[0]
            units, vectors = unit(states), unit(mean_states(states, starts))
            for line, place in enumerate(places):
                tokens = slice(starts[line], starts[line + 1])
                ids = np.array(texts[place])
                words = np.array([token not in _SPECIAL for token in texts[place]], dtype=np.float32)
                found[texts[place]] = _Query(ids, first[tokens], units[tokens], vectors[line], words)

        for_each(work, self._encoder.batches([len(ids) for ids in texts]))
        return found

    def _depths(self, states: Floats, starts: Starts) -> list[Floats]:
        """Run all layers in place; return the states that the joint layers read, the first one's first."""
        kept = []
        for depth, layer in enumerate(self._encoder.layers):
            if depth in self._read_at:
                kept.append(states.copy())
            layer(states, starts)
        return kept

    def _read(self, asked: list[_Query], passages: list[Row]) -> Floats:
        """Return the logits ``(n,)`` of ``n`` passages, each with the query at its place."""
        states, starts = self._encoder.embed(passages)
        depths = self._depths(states, starts)
        residual = np.empty(len(asked), dtype=np.float32)
        met: list[Floats] = []
        for start, end in _runs(asked):
            query, part = asked[start], starts[start : end + 1]
            sums, best = best_cosines(states[part[0] : part[-1]], part - part[0], query.unit_states)
            best = best * query.words
            maxsim = best.sum(axis=1) / max(1, len(query.ids) - 2)
            cosine = (unit(sums) * query.vector).sum(axis=1)  # a product of matrices rounds by their shape
            residual[start:end] = self._scale * (self._cosine * cosine + self._maxsim * maxsim)
            met.append(best.reshape(-1))
        joint = self._branch(asked, np.concatenate(met), [row.ids for row in passages], depths, starts)
        return np.asarray(residual + joint + self._bias, dtype=np.float32)

    def _branch(
        self,
        asked: list[_Query],
        best: Floats,
        passages: list[list[int]],
        depths: list[Floats],
        starts: Starts,
    ) -> Floats:
        """Return what the joint layers add, ``(n,)``; ``best`` has a number for each token of each query."""
        words = np.concatenate([query.words for query in asked])
        exact = np.array(
            [
                token in ids
                for query, ids in zip(asked, map(set, passages), strict=True)
                for token in query.ids.tolist()
            ]
        )
        exact = exact * words
        rare = self._rarity[np.concatenate([query.ids for query in asked])] * words
        match, hidden, last = self._dense
        states = np.concatenate([query.states for query in asked])
        states = (states + self._match.bias).astype(np.float32)
        for feature, weight in zip((best, exact, rare, exact * rare), match, strict=True):
            states = states + feature.astype(np.float32)[:, None] * weight
        own = np.cumsum([0, *(len(query.ids) for query in asked)], dtype=np.int32)
        if self._mutual:
            states, others = self._both(states, own, depths[0] + self._segment, starts)
            self._joint[-1].reading(states, own, others, starts)
        else:
            for layer, other in zip(self._joint, depths, strict=True):
                layer.reading(states, own, other + self._segment, starts)
        pooled = np.concatenate([states[own[:-1]], mean_states(states, own)], axis=1)
        native.norm(pooled, self._head_norm, _HEAD_EPSILON)
        # not `@`: a row's sums must not depend on how many rows there are
        inner = np.einsum("nj,ij->ni", pooled, hidden) + self._hidden.bias
        return np.asarray(np.einsum("ni,i->n", _gelu(inner), last[0]) + self._last.bias[0])

    def _both(self, states: Floats, own: Starts, others: Floats, starts: Starts) -> tuple[Floats, Floats]:
        """Run all joint layers but the last over queries and passages, each reading both; return both."""
        whole = np.empty((len(states) + len(others), states.shape[1]), dtype=np.float32)
        first, second = _after(own, starts), _after(starts, own[1:])
        whole[first], whole[second] = states, others
        bounds = own + starts
        for layer in self._joint[:-1]:
            layer(whole, bounds)
        return whole[first], whole[second]


def _after(starts: Starts, before: Starts) -> Integers:
    """Return where the tokens of texts stand when before each text stands another one, (tokens,)."""
    lengths = np.diff(starts)
    return np.arange(starts[-1]) + np.repeat(before[: len(lengths)], lengths)


def _as_text(ids: Sequence[int]) -> Row:
    """Return tokens as a text that stands alone."""
    return Row(list(ids), [0] * len(ids))


def _runs(asked: list[_Query]) -> Iterator[tuple[int, int]]:
    """Yield where neighbours with the same query start and end."""
    start = 0
    for end in range(1, len(asked) + 1):
        if end == len(asked) or asked[end] is not asked[start]:
            yield start, end
            start = end


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
