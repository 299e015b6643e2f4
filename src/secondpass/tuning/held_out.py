"""Stage 1, the base and the new re-ranker on queries that nothing was learnt or chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..evaluation.evaluate import evaluate, settings_of
from ..evaluation.latency import latencies
from ..evaluation.significance import paired
from ..evaluation.trials import collect
from ..evaluation.values import Evaluation, Judged, Paired
from .values import HeldOut, Progress

if TYPE_CHECKING:
    from ..index import Index
    from ..types import Reranker

__all__ = ["MEASURES", "measure"]

MEASURES = ("nDCG@10", "RR@10")
"""The first decides."""
DEPTH = 100
"""How deep stage 1's lists are, as in ``secondpass eval``."""


def measure(
    index: Index,
    judged: Judged,
    stage1: str,
    candidates: int,
    base: Reranker,
    new: Reranker,
    progress: Progress | None = None,
) -> HeldOut:
    """Search the held-out queries, have the candidates read by both, and compare.

    Nothing comes from a cache of scores. Both are measured as they run.

    Args:
        index: what is searched.
        judged: the held-out queries.
        stage1: how.
        candidates: how many both read.
        base: what training began from.
        new: what came out, of another name.
        progress: told of each query.
    """

    def show(done: int, total: int) -> None:
        if progress is not None:
            progress("measuring", done, total)

    depth, both = max(DEPTH, candidates), [base, new]
    trials = collect(
        index,
        judged.queries,
        stage1s=[stage1],
        rerankers=both,
        depth=depth,
        read=candidates,
        progress=show,
    )
    settings = settings_of([stage1], [base.name, new.name], candidates, depth)
    spent = latencies(index, list(judged.queries.values()), settings, both)
    found = evaluate(trials, judged, settings, MEASURES, 3, spent, candidates=candidates)
    first, old, trained = settings
    against = [
        {name: _paired(found, name, place) for name in MEASURES}
        for place in (settings.index(old), settings.index(first))
    ]
    return HeldOut(found, first, old, trained, *against)


def _paired(found: Evaluation, name: str, place: int) -> Paired:
    """Return the last setting's difference from another one."""
    columns: Sequence[tuple[float, ...]] = [each.values[name] for each in found.per_query]
    return paired([each[-1] for each in columns], [each[place] for each in columns])
