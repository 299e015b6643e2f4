"""nDCG@10 of a model in training on the queries that choose its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..evaluation.measures import evaluate_run
from ..evaluation.trials import Trials, collect
from ..evaluation.values import Judged, Setting

if TYPE_CHECKING:
    from ..index import Index

__all__ = ["MEASURE", "Choosing", "choosing"]

MEASURE = "nDCG@10"
_NAME = "in training"

Scorer = Callable[[str, Sequence[str]], list[float]]
"""Gives passages their scores for a query."""


@dataclass(frozen=True)
class Choosing:
    """Queries with their candidates, to be scored again and again.

    Attributes:
        judged: the queries.
        trials: stage 1's candidates of each.
        texts: of the candidates, by passage id.
        stage1: how they were found.
    """

    judged: Judged
    trials: Trials
    texts: dict[str, str]
    stage1: str

    def quality(self, score: Scorer) -> float:
        """Return the mean over the queries, 0..1."""
        scored = [
            replace(
                trial,
                reranked={_NAME: tuple(score(trial.query, [self.texts[key] for key in trial.passages]))},
            )
            for trial in self.trials.trials
        ]
        trials = Trials(tuple(scored), self.trials.depth)
        run = trials.run(Setting(self.stage1, _NAME, self.trials.depth), self.judged.unit)
        values = evaluate_run(trials.qrels(self.judged), run, [MEASURE])[MEASURE]
        return sum(values.values()) / len(values)


def choosing(index: Index, judged: Judged, stage1: str, candidates: int) -> Choosing:
    """Search the queries once."""
    trials = collect(index, judged.queries, stage1s=[stage1], depth=candidates)
    keys = dict.fromkeys(key for trial in trials.trials for key in trial.passages)
    return Choosing(judged, trials, {key: index.passage(key).text for key in keys}, stage1)
