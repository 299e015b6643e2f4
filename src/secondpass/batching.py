"""Rows of token ids, and batches of them: padded to one length, or packed one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cores import usable_cores

__all__ = [
    "TOKEN_BUDGET",
    "Batch",
    "Integers",
    "Row",
    "Starts",
    "packed_batches",
    "padded",
    "starts_of",
    "token_batches",
]

Integers = npt.NDArray[np.int64]
Starts = npt.NDArray[np.int32]

TOKEN_BUDGET = 256
"""Tokens (padding included) in a batch: small ones stay in the processor's caches."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence of a batch: token ids, and the type id of each token."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length.

    Attributes:
        places: ``(b,)`` where each row stands among the rows given.
        ids, mask, types: ``(b, s)`` int64; the mask is 1 for tokens and 0 for padding.
    """

    places: Integers
    ids: Integers
    mask: Integers
    types: Integers


def token_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> list[Integers]:
    """Group rows of similar length, longest first, so that a padded batch holds at most ``budget`` tokens.

    Args:
        lengths: tokens in each row.
        budget: most tokens in a batch, padding included; a longer row stands alone.

    Returns:
        For each batch the positions of its rows; together every position once.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def packed_batches(lengths: Sequence[int], budget: int) -> list[Integers]:
    """Group rows, longest first, into batches of about equal work, of ``budget`` tokens or fewer.

    Args:
        lengths: tokens in each row.
        budget: most tokens in a batch; a longer row stands alone.

    Returns:
        For each batch the positions of its rows; a multiple of the usable cores of them, where rows suffice.
    """
    cores = usable_cores()
    count = max(1, math.ceil(sum(lengths) / budget / cores)) * cores
    share = min(budget, math.ceil(sum(lengths) / count))
    batches: list[list[int]] = []
    filled = share
    for place in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        if filled + lengths[place] // 2 >= share:  # half of a row may stand over
            batches.append([])
            filled = 0
        batches[-1].append(place)
        filled += lengths[place]
    return [np.array(batch, dtype=np.int64) for batch in batches]


def starts_of(rows: Sequence[Row]) -> Starts:
    """Return where each row starts when they lie one after another, and the end: ``(n + 1,)``."""
    starts = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row.ids) for row in rows], out=starts[1:])
    return starts


def padded(rows: Sequence[Row], places: Integers, pad_id: int) -> Batch:
    """Return the rows of some places, padded with ``pad_id`` to the longest of them."""
    shape = (len(places), max(len(rows[place].ids) for place in places))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for line, place in enumerate(places):
        row = rows[place]
        ids[line, : len(row.ids)] = row.ids
        types[line, : len(row.ids)] = row.types
        mask[line, : len(row.ids)] = 1
    return Batch(places, ids, mask, types)
