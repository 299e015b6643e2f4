"""Paired comparison of two settings over the same queries: randomisation test and bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .values import Paired

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

__all__ = ["EXACT_QUERIES", "RESAMPLES", "paired"]

RESAMPLES = 10_000
"""Random draws of the test and of the bootstrap. A p of 0.05 is then known to within 0.005."""
EXACT_QUERIES = 13
"""With at most so many queries that differ, all 2^n sign patterns are counted: fewer than random draws."""
TIE = 1e-9
"""Two values of a measure that differ by less are the same number, computed along two ways."""

_BLOCK = 2_000_000
"""Numbers held at once: 16 MB."""


def paired(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> Paired:
    """Compare two settings, query by query.

    The p-value is that of the two-sided paired randomisation test (Fisher's; for retrieval see Smucker, Allan
    and Carterette, CIKM 2007): how often is the mean difference as far from 0 as it is, if each query's sign
    is a coin's. Exact for few queries, else over ``RESAMPLES`` draws, the observed one counted among them, so
    that it is never 0. The interval is the bootstrap's, percentile method (Efron and Tibshirani 1993,
    chapter 13); with fewer than about 20 queries it is narrower than it ought to be.

    Args:
        ours: one value a query.
        theirs: the other setting's, for the same queries in the same order.
        seed: equal seeds give equal numbers.

    Raises:
        InputError: no query, different numbers of them, or a value that is not finite.
    """
    difference = _differences(ours, theirs)
    generator = np.random.default_rng(seed)
    low, high = _interval(difference, generator)
    return Paired(
        difference=float(difference.mean()),
        low=low,
        high=high,
        p=_p_value(difference[difference != 0], generator),
        wins=int((difference > 0).sum()),
        losses=int((difference < 0).sum()),
        ties=int((difference == 0).sum()),
    )


def _differences(ours: Sequence[float], theirs: Sequence[float]) -> Values:
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise InputError(
            f"a paired test needs one value a query of both settings, got {one.shape} and {other.shape}"
        )
    if not len(one):
        raise InputError("a paired test needs at least one query")
    difference: Values = one - other
    if not np.isfinite(difference).all():
        raise InputError("a paired test needs finite values; one of them is NaN or infinite")
    difference[np.abs(difference) < TIE] = 0.0
    return difference


def _p_value(difference: Values, generator: np.random.Generator) -> float:
    """Return the share of sign patterns whose sum is as far from 0; none of the differences is 0."""
    count = len(difference)
    if not count:
        return 1.0
    bound = abs(difference.sum()) * (1 - 1e-12) - 1e-12  # sums in another order differ in the last bits
    if count <= EXACT_QUERIES:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((2.0 * bits - 1) @ difference) >= bound).mean())
    reached = 0
    for rows in _blocks(count):
        signs = 2.0 * generator.integers(0, 2, size=(rows, count), dtype=np.int8) - 1
        reached += int((np.abs(signs @ difference) >= bound).sum())
    return (reached + 1) / (RESAMPLES + 1)


def _interval(difference: Values, generator: np.random.Generator) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the mean over queries drawn with replacement."""
    count = len(difference)
    if (difference == difference[0]).all():
        return float(difference[0]), float(difference[0])
    means = [
        difference[generator.integers(0, count, size=(rows, count))].mean(axis=1) for rows in _blocks(count)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _blocks(width: int) -> Iterator[int]:
    """Yield numbers of rows that add up to ``RESAMPLES``, each block of them small enough."""
    left, most = RESAMPLES, max(1, _BLOCK // width)
    while left:
        rows = min(left, most)
        yield rows
        left -= rows
