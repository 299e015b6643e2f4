"""Calibrated probabilities for a search: which there are, and what falls below a wanted precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..wording import percent

if TYPE_CHECKING:
    from ..calibration import Calibration, Lookup
    from ..scores import ScoreCache
    from ..types import Reranker, SearchResult

__all__ = ["Bar", "facts", "least_probability", "looked_up", "shape", "usable", "weeded"]

FOLDER = "calibration"
"""That of ``calibration.FOLDER``; where an index has none, a search need not load that package."""


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

    @property
    def nothing(self) -> str:
        """Say that no hit is left."""
        best = "" if self.best is None else f"best probability {percent(self.best)}, "
        return (
            f"nothing here is relevant ({best}the threshold for precision {self.precision:g} is "
            f"{percent(self.threshold)})"
        )


def looked_up(
    folder: Path, rerankers: Sequence[Reranker], cache: ScoreCache | None = None
) -> dict[str, Lookup]:
    """Return what calibration there is beside an index for each re-ranker, by its name.

    With a cache, how a model scores the probes it is known by is read from there.
    """
    if not rerankers or not (folder / FOLDER).is_dir():
        return {}
    from ..calibration import lookup
    from ..scores import CachedReranker

    readers = [each if cache is None else CachedReranker(each, cache) for each in rerankers]
    return {each.name: lookup(folder, each) for each in readers}


def usable(found: dict[str, Lookup]) -> dict[str, Any]:
    """Return what an engine wants as ``calibrations``."""
    return {name: each.calibration.probability for name, each in found.items() if each.calibration}


def weeded(result: SearchResult, found: dict[str, Lookup], precision: float) -> tuple[SearchResult, Bar]:
    """Return the answer with the hits that reach a precision, and what it took.

    Raises:
        InputError: stage 2 is off, its re-ranker is not calibrated, or the precision was never reached.
    """
    from ..calibration import relevant_only

    threshold = least_probability(result.reranker, found, precision)
    kept = relevant_only(result, threshold)
    best = max((hit.probability for hit in result.ranked if hit.probability is not None), default=None)
    return kept, Bar(precision, threshold, len(result.hits) - len(kept.hits), best)


def least_probability(reranker: str, found: dict[str, Lookup], precision: float) -> float:
    """Return the threshold that a precision comes to; errors as for ``weeded``."""
    return _calibration(reranker, found).threshold(precision)


def _calibration(reranker: str, found: dict[str, Lookup]) -> Calibration:
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


def facts(result: SearchResult, found: dict[str, Lookup], bar: Bar | None) -> list[str]:
    """Return what the footer of a search says of it, a few words each."""
    each = found.get(result.reranker)
    said = []
    if each is not None and each.calibration is not None:
        judged = "synthetic" if each.calibration.synthetic else "judged"
        said.append(f"probability calibrated on {each.calibration.queries:,} {judged} queries")
    elif each is not None and "other weights" in each.why_not:
        said.append("calibration not used: it is of other weights")
    if bar is not None and bar.left_out and result.hits:
        said.append(f"{bar.left_out:,} left out below {percent(bar.threshold)}")
    return said


def shape(result: SearchResult, bar: Bar | None) -> dict[str, object]:
    """Return what ``search --json`` says of a wanted precision."""
    if bar is None:
        return {"min_precision": None, "nothing_relevant": False}
    return {
        "min_precision": {
            "precision": bar.precision,
            "threshold": bar.threshold,
            "left_out": bar.left_out,
            "best_probability": bar.best,
        },
        "nothing_relevant": not result.hits,
    }
