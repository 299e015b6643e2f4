"""Calibrated probabilities for a search: which there are, and what falls below a wanted precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..wording import percent

if TYPE_CHECKING:
    from ..calibration import Bar, Lookup
    from ..scores import ScoreCache
    from ..types import Reranker, SearchResult

__all__ = ["facts", "least_probability", "looked_up", "nothing", "shape", "usable", "weeded"]

FOLDER = "calibration"
"""That of ``calibration.FOLDER``; where an index has none, a search need not load that package."""


def nothing(bar: Bar) -> str:
    """Say that no hit is left."""
    best = "" if bar.best is None else f"best probability {percent(bar.best)}, "
    return (
        f"nothing here is relevant ({best}the threshold for precision {bar.precision:g} is "
        f"{percent(bar.threshold)})"
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
    """Return the answer with the hits that reach a precision, and what it took; see ``calibration.weeded``.

    Raises:
        InputError: stage 2 is off, its re-ranker is not calibrated, or the precision was never reached.
    """
    from ..calibration import weeded

    return weeded(result, found, precision)


def least_probability(reranker: str, found: dict[str, Lookup], precision: float) -> float:
    """Return the threshold that a precision comes to; errors as for ``weeded``."""
    from ..calibration import least_probability

    return least_probability(reranker, found, precision)


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
    return {"min_precision": bar.shape(), "nothing_relevant": not result.hits}
