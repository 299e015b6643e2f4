"""A wanted precision becomes the least probability that reaches it, and weeds out what lies below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..errors import InputError
from ..types import SearchResult
from .values import Calibration, Step

__all__ = ["LEAST_PAIRS", "checked_precision", "least", "relevant_only", "steps", "threshold"]

LEAST_PAIRS = 10
"""Pairs above a threshold, below which their precision is too much a matter of luck to go by."""


def steps(predicted: Sequence[float], labels: Sequence[float]) -> tuple[Step, ...]:
    """Return the thresholds that give more precision than every lower one, ascending.

    The precision above a threshold is taken as the lower of two estimates: the share of relevant pairs, and
    the mean probability. The share alone promises too much where few pairs lie above: picking the first
    threshold that reaches it picks the luckiest.

    Args:
        predicted: held-out probability of each pair.
        labels: 1 for relevant, 0 for not, in the same order.
    """
    order = sorted(zip(predicted, labels, strict=True), reverse=True)
    found: list[Step] = []
    relevant = expected = 0.0
    for place, (probability, label) in enumerate(order, start=1):
        relevant += label
        expected += probability
        last_of_equals = place == len(order) or order[place][0] < probability
        if last_of_equals and place >= LEAST_PAIRS:
            found.append(Step(probability, min(relevant, expected) / place, place))
    kept: list[Step] = []
    for step in reversed(found):
        if not kept or step.precision > kept[-1].precision:
            kept.append(step)
    return tuple(kept)


def least(among: Sequence[Step], precision: float) -> Step | None:
    """Return the first step that reaches a precision, or None where none does."""
    return next((step for step in among if step.precision >= precision), None)


def threshold(calibration: Calibration, precision: float) -> float:
    """Return the least probability that reached a precision; see ``Calibration.threshold``.

    Raises:
        InputError: out of range, or never reached.
    """
    found = least(calibration.steps, checked_precision(precision))
    if found is None:
        best = max(calibration.steps, key=lambda step: step.precision, default=None)
        reached = (
            "no threshold had enough hits above it"
            if best is None
            else f"the best was {math.floor(best.precision * 1000) / 10:.1f}%, of {best.pairs} candidates "
            f"with a probability of at least {best.probability:.0%}"
        )
        raise InputError(
            f"a precision of {precision:.0%} was never reached with {calibration.reranker} on the "
            f"{calibration.queries} judged queries; {reached}. Ask for less, or judge more queries"
        )
    return found.probability


def checked_precision(precision: object) -> float:
    """Return a precision above 0 and at most 1.

    Raises:
        InputError: it is none.
    """
    if isinstance(precision, bool) or not isinstance(precision, int | float) or not 0 < precision <= 1:
        raise InputError(f"a precision is a number above 0 and at most 1, got {precision!r}")
    return float(precision)


def relevant_only(result: SearchResult, probability: float) -> SearchResult:
    """Return the answer without the hits below a probability; ``ranked`` keeps them all.

    What a deadline left unread has no probability, and is left out as well.

    Raises:
        InputError: the hits have no probability.
    """
    if any(hit.probability is None and not hit.unread for hit in result.hits):
        raise InputError(
            f"the scores of {result.reranker} are no probabilities; fit some first: secondpass calibrate"
        )
    hits = tuple(hit for hit in result.hits if hit.probability is not None and hit.probability >= probability)
    return replace(result, hits=hits)
