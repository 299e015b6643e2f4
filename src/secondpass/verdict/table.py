"""The table that a verdict is read from: each setting's quality on each query, and its latency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..evaluation.values import Setting

if TYPE_CHECKING:
    import numpy.typing as npt

    Table64 = npt.NDArray[np.float64]

__all__ = ["QualityTable", "pareto"]


@dataclass(frozen=True)
class QualityTable:
    """Settings by queries.

    Attributes:
        settings: stage 1 alone and re-ranked ones, at least one of each.
        quality: ``(settings, queries)`` float64, a measure in 0..1.
        latency: ``(settings,)`` milliseconds of one search.

    Raises:
        InputError: the shapes do not fit, or one kind of setting is missing.
    """

    settings: tuple[Setting, ...]
    quality: Table64
    latency: Table64

    def __post_init__(self) -> None:
        if self.quality.ndim != 2 or self.quality.shape[0] != len(self.settings):
            raise InputError(
                f"quality must be (settings, queries), got {self.quality.shape} for {len(self.settings)}"
            )
        if self.latency.shape != (len(self.settings),):
            raise InputError("there must be one latency for each setting")
        if not len(self.alone) or not len(self.reranked):
            raise InputError("a verdict needs stage 1 alone and at least one re-ranked setting")

    @cached_property
    def alone(self) -> npt.NDArray[np.intp]:
        """Rows of stage 1 alone."""
        return np.flatnonzero([each.reranker == "none" for each in self.settings])

    @cached_property
    def reranked(self) -> npt.NDArray[np.intp]:
        """Rows with a re-ranker."""
        return np.flatnonzero([each.reranker != "none" for each in self.settings])


def pareto(quality: Table64, latency: Table64) -> list[bool]:
    """Return for each row whether no other one is at least as good and as fast, and better in one of both."""
    better = (quality[None, :] >= quality[:, None]) & (latency[None, :] <= latency[:, None])
    strictly = (quality[None, :] > quality[:, None]) | (latency[None, :] < latency[:, None])
    return [not bool(row.any()) for row in better & strictly]
