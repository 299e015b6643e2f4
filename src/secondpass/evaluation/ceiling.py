"""The ceiling: what stage 2 could mend at best, whatever the re-ranker."""

from __future__ import annotations

from ..errors import InputError
from .trials import Trials
from .values import Ceiling, Judged, Setting

__all__ = ["ceiling"]


def ceiling(
    trials: Trials, judged: Judged, stage1: str, *, k: int = 3, candidates: int | None = None
) -> Ceiling:
    """Return where the best-placed relevant passage (or document) of each judged query stands in stage 1.

    Args:
        trials: of all judged queries.
        judged: what is relevant.
        stage1: whose list.
        k: how many hits come back.
        candidates: how many passages stage 1 hands on; all that were collected by default.

    Raises:
        InputError: no query is judged, or one was not tried.
    """
    if not judged.queries:
        raise InputError("no judged query; a ceiling needs at least one")
    depth = trials.depth if candidates is None else candidates
    counts = {"top": 0, "candidates": 0, "absent": 0}
    for query_id in judged.queries:
        counts[_place(trials, judged, query_id, Setting(stage1, "none", depth), k)] += 1
    total = len(judged.queries)
    return Ceiling(
        stage1=stage1,
        k=k,
        candidates=depth,
        in_top=counts["top"] / total,
        in_candidates=counts["candidates"] / total,
        absent=counts["absent"] / total,
    )


def _place(trials: Trials, judged: Judged, query_id: str, setting: Setting, k: int) -> str:
    trial = trials.trial(query_id, setting.stage1)
    relevant = {key for key, grade in judged.qrels[query_id].items() if grade > 0}
    named = trial.holding if judged.unit == "document" else trial.standing_for
    read = min(setting.candidates, len(trial.passages))
    places = [place + 1 for place in range(read) if not relevant.isdisjoint(named(place))]
    if not places:
        return "absent"
    return "top" if places[0] <= k else "candidates"
