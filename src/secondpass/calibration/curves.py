"""Fitting curves: Platt scaling, and isotonic regression by pooling adjacent violators."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .values import Curve

__all__ = ["Doubles", "fit_constant", "fit_isotonic", "fit_platt", "isotonic", "probabilities"]

Doubles = npt.NDArray[np.float64]

_STEPS = 100
_SMALL = 1e-10


def fit_platt(scores: Doubles, labels: Doubles) -> Curve:
    """Fit ``sigmoid(slope * score + offset)``; a slope that would fall becomes 0.

    Platt, Probabilistic outputs for support vector machines (1999), with his softened targets; found by
    Newton's method with halved steps as Lin, Lin and Weng, A note on Platt's probabilistic outputs (2007).

    Args:
        scores: ``(n,)``, finite.
        labels: ``(n,)``, 1 for relevant, 0 for not.
    """
    relevant = float(labels.sum())
    others = len(labels) - relevant
    targets = np.where(labels > 0, (relevant + 1) / (relevant + 2), 1 / (others + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    if spread < _SMALL:
        return fit_constant(labels)
    design = np.column_stack([(scores - centre) / spread, np.ones(len(scores))])
    weights = np.array([0.0, math.log((relevant + 1) / (others + 1))])
    loss = _loss(design @ weights, targets)
    for _ in range(_STEPS):
        found = _sigmoid(design @ weights)
        gradient = design.T @ (found - targets)
        curvature = (design * (found * (1 - found))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > _SMALL and _loss(design @ (weights - size * step), targets) > loss:
            size /= 2
        weights = weights - size * step
        improved = loss - _loss(design @ weights, targets)
        loss -= improved
        if improved < _SMALL:
            break
    if weights[0] <= 0:
        return fit_constant(labels)
    slope = float(weights[0]) / spread
    return Curve("platt", slope, float(weights[1]) - slope * centre)


def fit_constant(labels: Doubles) -> Curve:
    """Return the curve of the base rate: every score has the same probability."""
    relevant = float(labels.sum())
    return Curve("platt", 0.0, math.log((relevant + 1) / (len(labels) - relevant + 1)))


def fit_isotonic(scores: Doubles, labels: Doubles) -> Curve:
    """Fit the never-falling curve with the least squared error; no probability is quite 0 or 1.

    Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates (2002).
    """
    knots, values = isotonic(scores, labels)
    least = 1 / (len(labels) + 2)
    values = np.clip(values, least, 1 - least)
    return Curve("isotonic", scores=tuple(knots.tolist()), probabilities=tuple(values.tolist()))


def isotonic(scores: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Return the knots of the isotonic regression: scores ``(m,)`` ascending, values ``(m,)`` never falling.

    Pool adjacent violators (Ayer et al., 1955): equal scores are one point; a level stretch is given by its
    two ends.
    """
    points, where = np.unique(scores, return_inverse=True)
    counts = np.bincount(where).astype(np.float64)
    means = np.bincount(where, weights=targets) / counts
    levels: list[tuple[float, float, int]] = []  # value, weight, number of points
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        value, weight, length = mean, count, 1
        while levels and levels[-1][0] >= value:
            before, mass, points_before = levels.pop()
            value = (before * mass + value * weight) / (mass + weight)
            weight, length = mass + weight, points_before + length
        levels.append((value, weight, length))
    knots: list[int] = []
    values: list[float] = []
    first = 0
    for value, _, length in levels:
        ends = [first] if length == 1 else [first, first + length - 1]
        knots += ends
        values += [value] * len(ends)
        first += length
    return points[knots], np.array(values)


def probabilities(curve: Curve, scores: Doubles) -> Doubles:
    """Return the curve's probability of each score ``(n,)``."""
    return np.array([curve(score) for score in scores.tolist()], dtype=np.float64)


def _sigmoid(values: Doubles) -> Doubles:
    return np.exp(-np.logaddexp(0.0, -values))


def _loss(values: Doubles, targets: Doubles) -> float:
    return float(np.sum(np.logaddexp(0.0, values) - targets * values))
