"""Fitting the gate: the threshold on stage 1's scores that skips stage 2 most often for a bounded loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.values import Setting, Trial
from ..gating import FEATURES, Gate, feature_value
from .changes import first, overlap
from .held_out import LEAST_QUERIES, SPLITS, halves, interval
from .values import GateReceipt

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.intp]

__all__ = ["KEPT", "LEAST_SKIPPED", "GateData", "fit_gate", "gate_data", "gate_receipt"]

LEAST_SKIPPED = 0.1
"""A gate that skips less on queries it was not fitted on is not worth its rule."""
KEPT = 0.98
"""Without judgments: the share of the first ``k`` that must stay, over all queries."""
BETTER_THAN_CHANCE = 0.5
"""A gate may lose at most this share of what skipping as many queries at random would lose."""
LEAST_UNCHANGED = 0.8
"""And of the queries that are skipped, the share whose first ``k`` stage 2 must leave as they are."""


@dataclass(frozen=True, slots=True)
class GateData:
    """What a gate is fitted on; one entry for each query.

    Attributes:
        setting: what it stands before.
        features: name to value.
        gains: quality of the setting minus that of its stage 1 alone; None without judgments.
        moved: share of the first ``k`` that stage 2 exchanges.
        allowed: mean harm over all queries that a gate may do: measure, or share of the first ``k``.
    """

    setting: Setting
    features: dict[str, Array]
    gains: Array | None
    moved: Array
    allowed: float

    @property
    def harm(self) -> Array:
        """What skipping costs; a query that stage 2 makes worse is no credit, since that is mostly luck."""
        return self.moved if self.gains is None else np.maximum(self.gains, 0.0)


def gate_data(
    trials: Sequence[Trial], setting: Setting, k: int, gains: Array | None, least_gain: float
) -> GateData:
    """Gather it from the trials of the setting's stage 1.

    Half of the smallest gain that counts is what a gate may lose.
    """
    before = [trial.passages[:k] for trial in trials]
    after = [first(trial, setting, k) for trial in trials]
    moved = np.array([1 - overlap(one, other) for one, other in zip(before, after, strict=True)])
    features = {
        name: np.array([feature_value(name, trial.scores[: setting.candidates], k) for trial in trials])
        for name in FEATURES
    }
    return GateData(setting, features, gains, moved, 1 - KEPT if gains is None else least_gain / 2)


def fit_gate(data: GateData, queries: Rows | None = None) -> Gate | None:
    """Return the rule that skips most of the queries for at most the allowed mean harm; None for no rule."""
    best: tuple[int, str, float] | None = None
    for name in FEATURES:
        values, harm = data.features[name], data.harm
        if queries is not None:
            values, harm = values[queries], harm[queries]
        skipped, threshold = _threshold(values, harm, data.allowed)
        if skipped and (best is None or skipped > best[0]):
            best = (skipped, name, threshold)
    if best is None:
        return None
    return Gate(data.setting.reranker, data.setting.stage1, best[1], best[2])


def _threshold(values: Array, harm: Array, allowed: float) -> tuple[int, float]:
    """Return how many values reach the lowest threshold that keeps within ``allowed``, and that threshold.

    It lies midway between the last value that is skipped and the next one; equal values stay together.
    """
    order = np.argsort(-values, kind="stable")
    sorted_values, spent = values[order], np.cumsum(harm[order]) / len(values)
    within = int(np.searchsorted(spent, allowed + 1e-12, side="right"))
    while 0 < within < len(values) and sorted_values[within] == sorted_values[within - 1]:
        within -= 1
    if within == 0 or not math.isfinite(sorted_values[within - 1]):
        return 0, math.inf
    last = float(sorted_values[within - 1])
    after = float(sorted_values[within]) if within < len(values) else last
    return within, float(f"{(last + after) / 2:.6g}")


def gate_receipt(
    data: GateData, k: int, full_ms: float, rerank_ms: float, *, splits: int = SPLITS, seed: int = 0
) -> tuple[GateReceipt | None, str]:
    """Return the gate with what it saves and costs on queries it was not fitted on, or why there is none.

    Args:
        data: of all queries.
        k: how many hits come back.
        full_ms: a search that is not gated, milliseconds.
        rerank_ms: what of it is stage 2.
        splits: as for ``held_out``.
        seed: of the splits.
    """
    queries = len(data.moved)
    gate = fit_gate(data) if queries >= LEAST_QUERIES else None
    if gate is None:
        return None, f"no gate: no rule on the {data.setting.stage1} scores of {queries} queries held"
    skips = _held_out_skips(data, splits, seed)
    skipped = float(skips.mean())
    lost = low = high = at_random = None
    if data.gains is not None:
        lost, low, high = interval(skips * data.gains)
        at_random = skipped * float(data.gains.mean())
    receipt = GateReceipt(
        gate=gate,
        setting=data.setting,
        k=k,
        skipped=skipped,
        saved_ms=skipped * rerank_ms,
        full_ms=full_ms,
        unchanged=float((skips * (data.moved == 0)).sum() / max(1.0, skips.sum())),
        lost=lost,
        low=low,
        high=high,
        lost_at_random=at_random,
        queries=queries,
        splits=splits,
    )
    return _if_worth_it(receipt, float((skips * data.moved).mean()), float(data.moved.mean()), data.allowed)


def _held_out_skips(data: GateData, splits: int, seed: int) -> Array:
    """Return ``(splits, queries)``: 1 where a gate that was fitted on the other half skips the query."""
    skips = np.zeros((splits, len(data.moved)))
    for split, pair in enumerate(halves(len(data.moved), splits, seed)):
        for fitted_on, applied_to in (pair, pair[::-1]):
            gate = fit_gate(data, fitted_on)
            if gate is not None:
                skips[split, applied_to] = data.features[gate.feature][applied_to] >= gate.threshold
    return skips


def _if_worth_it(
    receipt: GateReceipt, moved: float, moved_at_all: float, allowed: float
) -> tuple[GateReceipt | None, str]:
    """Return the receipt, or why there is no gate: it skips little, loses much, or is as good as chance."""
    if receipt.skipped < LEAST_SKIPPED:
        return None, (
            f"no gate: on queries it was not fitted on the best rule would skip stage 2 for only "
            f"{receipt.skipped:.0%}"
        )
    if receipt.lost is None and receipt.unchanged < LEAST_UNCHANGED:
        return None, (
            f"no gate: the best rule would skip stage 2 for {receipt.skipped:.0%} of other queries, but for "
            f"{1 - receipt.unchanged:.0%} of those it changes the first {receipt.k}"
        )
    loss = moved if receipt.lost is None else receipt.lost
    guessing = receipt.skipped * moved_at_all if receipt.lost_at_random is None else receipt.lost_at_random
    if loss > 2 * allowed or (loss > 0 and loss > guessing * BETTER_THAN_CHANCE):
        what = "of the first hits" if receipt.lost is None else "of the measure"
        return None, (
            f"no gate: on queries it was not fitted on the best rule loses {loss:.3f} {what}, "
            f"skipping as many at random {guessing:.3f}"
        )
    return receipt, ""
