"""The sweep: every way to search, with every re-ranker, at every depth, from one search and one reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..evaluation.measures import evaluate_run
from ..evaluation.significance import paired
from ..evaluation.trials import Trials
from ..evaluation.values import Judged, Setting, Trial
from .changes import change
from .held_out import baseline
from .table import QualityTable, pareto
from .values import SweepRow

__all__ = ["of_stage1", "quality_table", "settings_of", "sweep_rows"]


def settings_of(stage1s: Sequence[str], rerankers: Sequence[str], depths: Sequence[int]) -> list[Setting]:
    """Return every setting; for each stage 1 it alone comes first."""
    found = []
    for stage1 in stage1s:
        found.append(Setting(stage1, "none", depths[-1]))
        found += [Setting(stage1, name, depth) for name in rerankers for depth in depths]
    return found


def of_stage1(trials: Trials, stage1: str) -> list[Trial]:
    """Return the trials of one stage 1, in the order of the queries."""
    return [trial for trial in trials.trials if trial.stage1 == stage1]


def quality_table(
    trials: Trials,
    judged: Judged,
    settings: Sequence[Setting],
    latency: Mapping[Setting, float],
    measure: str,
) -> QualityTable:
    """Return the measure of each setting on each judged query, in the order of ``judged.queries``."""
    keys = list(judged.queries)
    quality = np.empty((len(settings), len(keys)))
    for row, setting in enumerate(settings):
        values = evaluate_run(trials.qrels(judged), trials.run(setting, judged.unit), (measure,))[measure]
        quality[row] = [values[key] for key in keys]
    return QualityTable(tuple(settings), quality, np.array([latency[each] for each in settings]))


def sweep_rows(
    trials: Trials,
    settings: Sequence[Setting],
    latency: Mapping[Setting, float],
    table: QualityTable | None,
    k: int,
) -> tuple[SweepRow, ...]:
    """Return one row for each setting.

    Args:
        trials: what was found.
        settings: in the order of the rows.
        latency: milliseconds of each.
        table: None without judgments; its settings are ``settings``.
        k: how many hits come back.
    """
    by_stage1 = {stage1: of_stage1(trials, stage1) for stage1 in {each.stage1 for each in settings}}
    best = None if table is None else baseline(table)
    front = [False] * len(settings) if table is None else pareto(table.quality.mean(axis=1), table.latency)
    rows = []
    for row, setting in enumerate(settings):
        alone = setting.reranker == "none"
        rows.append(
            SweepRow(
                setting=setting,
                latency_ms=latency[setting],
                quality=None if table is None else float(table.quality[row].mean()),
                gain=None
                if table is None or row == best
                else paired(table.quality[row].tolist(), table.quality[best].tolist()),
                change=None if alone else change(by_stage1[setting.stage1], setting, k),
                pareto=front[row],
            )
        )
    return tuple(rows)
