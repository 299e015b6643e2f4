"""The only sort of the project: best score first, ties by id; and reciprocal rank fusion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from .errors import InputError

__all__ = ["RRF_K", "fuse", "rank", "sigmoid"]


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


Key = TypeVar("Key", bound=_Ordered)

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""


def rank(scored: Iterable[tuple[Key, float]]) -> list[tuple[Key, float]]:
    """Return the pairs best score first, ties by ascending id.

    Raises:
        InputError: a score is NaN.
    """
    pairs = list(scored)
    for key, score in pairs:
        if math.isnan(score):
            raise InputError(f"the score of {key!r} is NaN; a ranking needs numbers")
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def fuse(rankings: Sequence[Sequence[Key]], k: int = RRF_K) -> list[tuple[Key, float]]:
    """Merge ranked lists of ids: each id scores the sum of ``1 / (k + rank)``, rank from 1."""
    if k < 0:
        raise InputError(f"the constant of reciprocal rank fusion must be >= 0, got {k}")
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for position, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (k + position)
    return rank(scores.items())


def sigmoid(logit: float) -> float:
    """Return the logistic function of a logit, in float64, without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1.0 + power)
