"""Exact search: the best rows of a matrix for a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ranking import rank

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["best", "places_of"]


def best(ids: Ids, scores: Floats, k: int) -> list[tuple[int, float]]:
    """Return the ``k`` best (id, score), ties by id; scores of ``-inf`` never count.

    Only what can be among the best is sorted. ``ids`` must ascend, so that of several equal scores at the
    cut the first places are those with the smallest ids.
    """
    if k < len(scores):
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > cut)
        equal = np.flatnonzero(scores == cut)[: k - len(above)]
        places = np.concatenate([above, equal])
    else:
        places = np.arange(len(scores))
    places = places[scores[places] > -np.inf]
    return rank(zip(ids[places].tolist(), scores[places].tolist(), strict=True))


def places_of(ids: Ids, wanted: Ids) -> Ids:
    """Return the ascending places in ``ids`` (ascending) of those of ``wanted`` that are there."""
    wanted = np.unique(wanted)
    places = np.searchsorted(ids, wanted)
    inside = places < len(ids)
    places, wanted = places[inside], wanted[inside]
    found: Ids = places[ids[places] == wanted].astype(np.int64)
    return found
