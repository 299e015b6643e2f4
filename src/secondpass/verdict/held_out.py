"""Choosing a setting on one half of the queries and measuring it on the other.

The best of thirty settings looks better than it is on the queries it was chosen on. So the queries are
split in two at random; baseline and challenger are chosen on one half and compared on the other, and the
other way round: each query has one difference that it had no part in choosing. That is done for many seeded
splits and averaged.

The interval is the mean squared standard error of a split, times Student's t. The spread between splits is
no part of it, since averaging takes it away; the spread between each query's means over the splits would be
too small, since what one query says of the settings is in all the others' differences. On simulated tables
in which re-ranking gains nothing (30 settings, 10 to 100 queries) this interval is above 0 in at most 4 %
of the cases, where the plain interval of the best setting is in up to 16 %: tests/test_verdict_held_out.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .table import QualityTable
from .values import HeldOut

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.intp]

__all__ = [
    "LEAST_QUERIES",
    "SPLITS",
    "baseline",
    "challenger",
    "halves",
    "held_out",
    "interval",
    "t_quantile",
]

SPLITS = 50
LEAST_QUERIES = 4
"""Two in each half, or there is no spread to be seen."""
_SAME = 1e-9
"""Two settings whose means differ by no more are as good as each other."""


def baseline(table: QualityTable, queries: Rows | None = None) -> int:
    """Return the row of the best stage 1 alone, the faster one of equals."""
    return _cheapest(table, table.alone, queries, _SAME)


def challenger(table: QualityTable, least_gain: float, queries: Rows | None = None) -> int:
    """Return the row of the fastest re-ranked setting that is within ``least_gain`` of the best one."""
    return _cheapest(table, table.reranked, queries, max(least_gain, _SAME))


def _cheapest(table: QualityTable, rows: Rows, queries: Rows | None, within: float) -> int:
    quality = table.quality[rows] if queries is None else table.quality[np.ix_(rows, queries)]
    means = quality.mean(axis=1)
    good = rows[means >= means.max() - within]
    return int(good[np.argmin(table.latency[good])])


def halves(queries: int, splits: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Give two halves of ``range(queries)``, ``splits`` times; of an odd number the second has one more."""
    generator = np.random.default_rng(seed)
    for _ in range(splits):
        order = generator.permutation(queries)
        yield np.sort(order[: queries // 2]), np.sort(order[queries // 2 :])


def held_out(table: QualityTable, least_gain: float, *, splits: int = SPLITS, seed: int = 0) -> HeldOut:
    """Return what the challenger gains over the baseline where neither was chosen.

    Args:
        table: at least ``LEAST_QUERIES`` queries.
        least_gain: the smallest gain that counts as one, see ``challenger``.
        splits: how many; each serves in both directions.
        seed: of the splits.

    Raises:
        InputError: too few queries.
    """
    queries = table.quality.shape[1]
    if queries < LEAST_QUERIES:
        raise InputError(f"split halves need at least {LEAST_QUERIES} judged queries, got {queries}")
    gains = np.empty((splits, queries))
    picked: Counter[str] = Counter()
    for split, pair in enumerate(halves(queries, splits, seed)):
        for chosen_on, measured_on in (pair, pair[::-1]):
            ours = challenger(table, least_gain, chosen_on)
            theirs = baseline(table, chosen_on)
            gains[split, measured_on] = table.quality[ours, measured_on] - table.quality[theirs, measured_on]
            picked[table.settings[ours].name] += 1
    mean, low, high = interval(gains)
    each = gains.mean(axis=0)
    wins, losses = int((each > _SAME).sum()), int((each < -_SAME).sum())
    return HeldOut(
        difference=mean,
        low=low,
        high=high,
        wins=wins,
        losses=losses,
        ties=queries - wins - losses,
        queries=queries,
        splits=splits,
        picked={name: count / (2 * splits) for name, count in picked.most_common()},
        needed=_needed(mean, low, high, queries, least_gain),
    )


def interval(values: Array) -> tuple[float, float, float]:
    """Return mean and 95 % interval of ``(splits, queries)`` differences over the same queries."""
    queries = values.shape[1]
    mean = float(values.mean())
    variance = float(values.var(axis=1, ddof=1).mean()) / queries
    half = t_quantile(queries - 1) * math.sqrt(variance)
    return mean, mean - half, mean + half


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t.

    Abramowitz and Stegun 26.7.5: within 0.01 from three degrees of freedom on.
    """
    z = 1.959963984540054
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _needed(mean: float, low: float, high: float, queries: int, least_gain: float) -> int | None:
    """Return about how many queries would settle it if the gain stays and the interval shrinks as 1/sqrt(n).

    Settled is: a gain worth having whose interval is above 0, or an interval that is below such a gain.
    """
    if (low > 0 and mean >= least_gain) or high < least_gain:
        return None
    distance = mean if mean >= least_gain else least_gain - mean
    half = (high - low) / 2
    return max(queries + 1, math.ceil(queries * (half / max(distance, least_gain / 2)) ** 2))
