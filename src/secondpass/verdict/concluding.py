"""From trials and latencies to a verdict: with judgments, and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..comparison import Agreement
from ..evaluation.ceiling import ceiling
from ..evaluation.trials import Trials
from ..evaluation.values import Judged, Setting
from .changes import agreements, change, order_changed
from .decide import judged_kind, unjudged_kind
from .gate_fit import gate_data, gate_receipt
from .held_out import baseline, challenger, held_out
from .sweep import of_stage1, quality_table, settings_of, sweep_rows
from .table import QualityTable
from .values import GateReceipt, Kind, Verdict
from .words import Facts, ceiling_sentence, gate_sentence, judged_sentences, unjudged_sentences

__all__ = ["Swept", "with_judgments", "without_judgments"]


@dataclass(frozen=True, slots=True)
class Swept:
    """What was tried, and what both kinds of verdict need of it.

    Attributes:
        trials: every candidate read.
        stage1s, rerankers, depths: what was combined; depths ascending.
        latency: setting to milliseconds of one search.
        k: how many hits come back.
        passages: how many the index holds.
        least_gain: the smallest gain that counts as one.
        seed: of the splits.
    """

    trials: Trials
    stage1s: tuple[str, ...]
    rerankers: tuple[str, ...]
    depths: tuple[int, ...]
    latency: Mapping[Setting, float]
    k: int
    passages: int
    least_gain: float
    seed: int

    @property
    def settings(self) -> list[Setting]:
        """Every setting, in the order of the rows."""
        return settings_of(self.stage1s, self.rerankers, self.depths)

    @property
    def scored(self) -> int:
        """How many pairs of query and passage the re-rankers read."""
        seen: dict[str, set[str]] = {}
        for trial in self.trials.trials:
            seen.setdefault(trial.query_id, set()).update(trial.passages)
        return len(self.rerankers) * sum(map(len, seen.values()))

    def facts(self, kind: Kind, ours: Setting, theirs: Setting, queries: int, synthetic: bool) -> Facts:
        """Return what the sentences are about."""
        extra = self.latency[ours] - self.latency[theirs]
        return Facts(kind, ours, theirs, extra, self.latency[theirs], queries, self.k, synthetic)


def with_judgments(swept: Swept, judged: Judged, measure: str) -> Verdict:
    """Return the verdict of held-out gains; at least ``LEAST_QUERIES`` queries are judged."""
    settings = swept.settings
    table = quality_table(swept.trials, judged, settings, swept.latency, measure)
    figures = held_out(table, swept.least_gain, seed=swept.seed)
    kind = judged_kind(figures, swept.least_gain)
    ours, theirs = challenger(table, swept.least_gain), baseline(table)
    facts = swept.facts(kind, settings[ours], settings[theirs], figures.queries, judged.synthetic)
    means = table.quality.mean(axis=1)
    sentences = judged_sentences(
        facts, figures, measure, (float(means[ours]), float(means[theirs])), swept.least_gain
    )
    ceilings = tuple(
        ceiling(swept.trials, judged, stage1, k=swept.k, candidates=swept.depths[-1])
        for stage1 in swept.stage1s
    )
    sentences += [ceiling_sentence(each) for each in ceilings if each.stage1 == settings[ours].stage1]
    gate, note = None, "no gate: stage 2 is not worth it in the first place"
    if kind != "skip":
        gate, note = _gate(swept, table, ours)
        sentences += [gate_sentence(gate, measure)] if gate is not None else []
    return Verdict(
        kind=kind,
        sentences=tuple(sentences),
        chosen=settings[ours] if kind == "use" else settings[theirs],
        challenger=settings[ours],
        baseline=settings[theirs],
        held_out=figures,
        rows=sweep_rows(swept.trials, settings, swept.latency, table, swept.k),
        ceilings=ceilings,
        agreements=_agreements(swept, settings[ours]),
        gate=gate,
        gate_note=note,
        measure=measure,
        least_gain=swept.least_gain,
        k=swept.k,
        queries=figures.queries,
        passages=swept.passages,
        unit=judged.unit,
        origin=judged.origin,
        synthetic=judged.synthetic,
        scored=swept.scored,
        seconds=0.0,
    )


def without_judgments(swept: Swept, ours: Setting, *, origin: str, synthetic: bool) -> Verdict:
    """Return what can be said of the setting ``ours`` from what it changes, and what cannot."""
    settings, theirs = swept.settings, Setting(ours.stage1, "none", swept.depths[-1])
    trials = of_stage1(swept.trials, ours.stage1)
    touched = sum(order_changed(trial, ours, swept.k) for trial in trials)
    kind = unjudged_kind(touched, len(trials))
    facts = swept.facts(kind, ours, theirs, len(trials), synthetic)
    pairs = _agreements(swept, ours)
    sentences = unjudged_sentences(facts, change(trials, ours, swept.k), touched, pairs)
    gate, note = None, "no gate: stage 2 changes too little to be worth it in the first place"
    if kind != "skip":
        gate, note = _gate(swept, None, settings.index(ours))
        sentences += [gate_sentence(gate, None)] if gate is not None else []
    return Verdict(
        kind=kind,
        sentences=tuple(sentences),
        chosen=theirs if kind == "skip" else None,
        challenger=ours,
        baseline=theirs,
        held_out=None,
        rows=sweep_rows(swept.trials, settings, swept.latency, None, swept.k),
        ceilings=(),
        agreements=pairs,
        gate=gate,
        gate_note=note,
        measure=None,
        least_gain=swept.least_gain,
        k=swept.k,
        queries=len(trials),
        passages=swept.passages,
        unit=None,
        origin=origin,
        synthetic=synthetic,
        scored=swept.scored,
        seconds=0.0,
    )


def _agreements(swept: Swept, ours: Setting) -> tuple[Agreement, ...]:
    trials = of_stage1(swept.trials, ours.stage1)
    return agreements(trials, swept.rerankers, ours.candidates, swept.k)


def _gate(swept: Swept, table: QualityTable | None, row: int) -> tuple[GateReceipt | None, str]:
    """Fit the gate before one setting; ``table`` holds the quality of all of them, where there is any."""
    setting = swept.settings[row]
    alone = Setting(setting.stage1, "none", swept.depths[-1])
    gains = None
    if table is not None:
        gains = table.quality[row] - table.quality[table.settings.index(alone)]
    trials = of_stage1(swept.trials, setting.stage1)
    data = gate_data(trials, setting, swept.k, gains, swept.least_gain)
    full = swept.latency[setting]
    return gate_receipt(data, swept.k, full, full - swept.latency[alone], seed=swept.seed)
