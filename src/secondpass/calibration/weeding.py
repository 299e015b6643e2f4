"""From a wanted precision to the hits that reach it, and what there is to say of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..types import SearchResult
from .storing import Lookup
from .thresholds import relevant_only
from .values import Calibration

__all__ = ["Bar", "least_probability", "weeded"]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a hit had to reach, and what did not.

    Attributes:
        precision: what was asked for.
        threshold: the least probability, 0..1, that it came to for this re-ranker.
        left_out: how many hits lay below.
        best: the best probability of all candidates; None without candidates.
    """

    precision: float
    threshold: float
    left_out: int
    best: float | None

    def shape(self) -> dict[str, float | int | None]:
        """Return ``min_precision`` of ``search --json``."""
        return {
            "precision": self.precision,
            "threshold": self.threshold,
            "left_out": self.left_out,
            "best_probability": self.best,
        }


def weeded(result: SearchResult, found: Mapping[str, Lookup], precision: float) -> tuple[SearchResult, Bar]:
    """Return the answer with the hits that reach a precision, and what it took.

    Args:
        result: of a search.
        found: what calibration there is, by the name of the re-ranker.
        precision: share of the hits that must be relevant, above 0 and at most 1.

    Raises:
        InputError: stage 2 is off, its re-ranker is not calibrated, or the precision was never reached.
    """
    threshold = least_probability(result.reranker, found, precision)
    kept = relevant_only(result, threshold)
    best = max((hit.probability for hit in result.ranked if hit.probability is not None), default=None)
    return kept, Bar(precision, threshold, len(result.hits) - len(kept.hits), best)


def least_probability(reranker: str, found: Mapping[str, Lookup], precision: float) -> float:
    """Return the threshold that a precision comes to; errors as for ``weeded``."""
    return _calibration(reranker, found).threshold(precision)


def _calibration(reranker: str, found: Mapping[str, Lookup]) -> Calibration:
    if reranker == "none":
        raise InputError("min-precision needs probabilities, and stage 2 is off; name a re-ranker")
    each = found.get(reranker)
    calibration = None if each is None else each.calibration
    if calibration is None:
        why_not = f"{reranker} is not calibrated for this index" if each is None else each.why_not
        raise InputError(
            f"min-precision needs a calibration, and {why_not}; fit one on judged queries: "
            f"secondpass calibrate JUDGMENTS --reranker {reranker}"
        )
    return calibration
