"""Evaluate: from trials (or finished runs) and judgments to rows, paired differences, ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .ceiling import ceiling
from .measures import evaluate_run, parse_measures
from .significance import paired
from .trials import Trials
from .values import Ceiling, Evaluation, Judged, PerQuery, Qrels, Row, Run, Setting

__all__ = ["MEASURES", "evaluate", "evaluate_runs", "settings_of"]

MEASURES = ("nDCG@10", "RR@10", "R@20")
"""The first decides."""

Values = Mapping[str, Mapping[str, float]]
"""Measure to (query id to value)."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """A setting's values, and the place of the one it is compared with; its own where with none."""

    setting: Setting
    values: Values
    base: int


def settings_of(
    stage1s: Sequence[str], rerankers: Sequence[str], candidates: int, depth: int
) -> tuple[Setting, ...]:
    """Return the settings of an evaluation: each stage 1 alone, to its whole depth, then its re-rankers."""
    return tuple(
        Setting(stage1, name, depth if name == "none" else candidates)
        for stage1 in stage1s
        for name in ("none", *rerankers)
    )


def evaluate(
    trials: Trials,
    judged: Judged,
    settings: Sequence[Setting],
    measures: Sequence[str] = MEASURES,
    k: int = 3,
    latencies: Mapping[Setting, float] | None = None,
    *,
    candidates: int | None = None,
) -> Evaluation:
    """Measure settings on judged queries.

    Args:
        trials: of all judged queries.
        judged: what is relevant. What is not in the index (``judged.missing``) counts as not found. Queries
            that the trials refused are left out.
        settings: any; a stage 1 alone that is missing is added before its re-ranked ones.
        measures: names in ir-measures' notation, the first decides.
        k: how many hits come back, for the ceiling.
        latencies: milliseconds of one search; settings without one have None.
        candidates: of the ceiling, at a stage 1 that no re-ranker follows; the trials' depth by default.

    Returns:
        For each stage 1 a row of it alone, then its re-ranked settings in the order given, each with the
        paired difference from that stage 1 alone. The ceiling is taken at the most candidates that a
        re-ranker of that stage 1 reads.

    Raises:
        InputError: no setting, no judged query, one that was not tried, or a measure that does not exist.
    """
    if not settings:
        raise InputError("no setting to evaluate; name at least one way to search")
    names = parse_measures(measures)
    judged = trials.tried(judged)
    qrels = trials.qrels(judged)
    measured: list[_Measured] = []
    ceilings: list[Ceiling] = []
    for stage1 in dict.fromkeys(setting.stage1 for setting in settings):
        given = [each for each in settings if each.stage1 == stage1]
        alone = next((each for each in given if each.reranker == "none"), None)
        reranked = [each for each in given if each.reranker != "none"]
        base = len(measured)
        for setting in (alone or Setting(stage1, "none", trials.depth), *reranked):
            run = trials.run(setting, judged.unit)
            measured.append(_Measured(setting, evaluate_run(qrels, run, names), base))
        handed = max((each.candidates for each in reranked), default=candidates or trials.depth)
        ceilings.append(ceiling(trials, judged, stage1, k=k, candidates=handed))
    return _evaluation(judged, names, measured, ceilings, latencies or {})


def evaluate_runs(
    runs: Mapping[str, Run], judged: Judged, measures: Sequence[str] = MEASURES, k: int = 3
) -> Evaluation:
    """Measure finished runs, e.g. TREC runs of another system; the others are compared with the first one.

    Args:
        runs: name to run; a name stands where else a way to search stands.
        judged: what is relevant, in the ids of the runs.
        measures: as for ``evaluate``.
        k: for the ceiling, whose candidates are all that a run holds.

    Raises:
        InputError: no run, a run without any judged query, or as for ``evaluate``.
    """
    if not runs:
        raise InputError("no run to evaluate; name at least one file")
    names = parse_measures(measures)
    measured: list[_Measured] = []
    ceilings: list[Ceiling] = []
    for name, run in runs.items():
        if not any(query_id in run for query_id in judged.queries):
            raise InputError(
                f"none of the judged queries ({_some(judged.queries)}) stands in the run {name} "
                f"({_some(run)}); their ids must be the same"
            )
        depth = max(len(run.get(query_id, ())) for query_id in judged.queries)
        measured.append(_Measured(Setting(name, "none", depth), evaluate_run(judged.qrels, run, names), 0))
        ceilings.append(_ceiling_of_run(name, run, judged.qrels, k, depth))
    return _evaluation(judged, names, measured, ceilings, {})


def _evaluation(
    judged: Judged,
    measures: tuple[str, ...],
    measured: Sequence[_Measured],
    ceilings: Sequence[Ceiling],
    latencies: Mapping[Setting, float],
) -> Evaluation:
    rows = []
    for place, each in enumerate(measured):
        columns = {name: [each.values[name][key] for key in judged.queries] for name in measures}
        base = measured[each.base].values
        rows.append(
            Row(
                setting=each.setting,
                means={name: sum(column) / len(column) for name, column in columns.items()},
                against={}
                if each.base == place
                else {
                    name: paired(column, [base[name][key] for key in judged.queries])
                    for name, column in columns.items()
                },
                latency_ms=latencies.get(each.setting),
            )
        )
    per_query = tuple(
        PerQuery(key, text, {name: tuple(each.values[name][key] for each in measured) for name in measures})
        for key, text in judged.queries.items()
    )
    return Evaluation(
        measures=measures,
        rows=tuple(rows),
        per_query=per_query,
        ceilings=tuple(ceilings),
        unit=judged.unit,
        synthetic=judged.synthetic,
        origin=judged.origin,
        queries=len(judged.queries),
    )


def _ceiling_of_run(name: str, run: Run, qrels: Qrels, k: int, depth: int) -> Ceiling:
    top = found = 0
    for query_id, grades in qrels.items():
        order = run.get(query_id, {})  # as ``read_run`` gives it: best first
        place = next((place for place, key in enumerate(order) if grades.get(key, 0) > 0), None)
        top += place is not None and place < k
        found += place is not None
    total = len(qrels)
    return Ceiling(name, k, depth, top / total, (found - top) / total, (total - found) / total)


def _some(names: Mapping[str, object]) -> str:
    shown = list(names)[:2]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
