"""The values of a verdict: the sweep's rows, what was decided and why, and the gate's receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..comparison import Agreement
from ..evaluation.values import Ceiling, Paired, Setting, Unit
from ..gating import Gate

__all__ = ["Change", "GateReceipt", "HeldOut", "Kind", "SweepRow", "Verdict"]

Kind = Literal["use", "skip", "unclear", "unjudged"]
"""What the verdict comes to: turn stage 2 on, leave it off, too few queries to tell, nothing judged."""


@dataclass(frozen=True, slots=True)
class Change:
    """What stage 2 does to stage 1's list, whether for better or worse; needs no judgments.

    Attributes:
        changed: mean number of the first ``k`` hits that stage 1 had behind its first ``k``.
        changed_share: share of the queries with at least one such hit, in 0..1.
        new_first_share: share of the queries with another first hit, in 0..1.
        came_from: mean stage-1 rank of the first ``k`` hits; ``(k + 1) / 2`` where nothing changed.
        margin: median over the queries of (first score - second score) / standard deviation of the query's
            candidates' scores: how clearly the re-ranker prefers its first hit.
    """

    changed: float
    changed_share: float
    new_first_share: float
    came_from: float
    margin: float


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One setting over all queries.

    Attributes:
        setting: what was run.
        latency_ms: of one warm, uncached search, both stages.
        quality: mean of the measure, 0..1; None without judgments.
        gain: quality against the best stage 1 alone, over all queries: the setting was not held out, so the
            best of many rows looks better here than it is. None without judgments and for that stage 1
            itself.
        change: against the same stage 1 alone; None for stage 1 alone.
        pareto: no other row is both at least as good and as fast; False without judgments.
    """

    setting: Setting
    latency_ms: float
    quality: float | None
    gain: Paired | None
    change: Change | None
    pareto: bool


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What re-ranking gains where it was not chosen: settings picked on one half, measured on the other.

    Attributes:
        difference: mean over splits and queries of the picked setting minus the picked stage 1 alone.
        low, high: 95 % interval, see ``held_out``.
        wins, losses, ties: queries whose mean over the splits is above, below, at 0.
        queries, splits: how many queries, how many seeded splits (each used in both directions).
        picked: name of a setting to the share of the halves that picked it, most often first.
        needed: about how many judged queries would settle it, were the gain to stay what it is; None where
            it is settled.
    """

    difference: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    queries: int
    splits: int
    picked: Mapping[str, float]
    needed: int | None


@dataclass(frozen=True, slots=True)
class GateReceipt:
    """What a gate saves and costs, on queries that it was not fitted on.

    Attributes:
        gate: the rule, fitted on all queries.
        setting: the setting it stands before.
        k: how many hits come back.
        skipped: share of the queries for which stage 2 is skipped, in 0..1.
        saved_ms: mean milliseconds saved, over all queries.
        full_ms: mean milliseconds of a search that is not gated.
        unchanged: of the skipped queries, the share whose first ``k`` stage 2 would have left the same
            passages; in 0..1.
        lost: mean of the measure lost over all queries, below 0 where skipping helped; None without
        judgments. low, high: 95 % interval of ``lost``. lost_at_random: what skipping as many queries at
        random would lose. queries, splits: as in ``HeldOut``.
    """

    gate: Gate
    setting: Setting
    k: int
    skipped: float
    saved_ms: float
    full_ms: float
    unchanged: float
    lost: float | None
    low: float | None
    high: float | None
    lost_at_random: float | None
    queries: int
    splits: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether stage 2 is worth it on these documents, for these queries.

    Attributes:
        kind: the decision.
        sentences: in plain words; the first one is the verdict, the others are why, and what to do.
        chosen: what to search with; the best stage 1 alone where the kind is ``skip`` or ``unclear``; None
        for
            ``unjudged``.
        challenger: the re-ranked setting that the verdict is about; None where no re-ranker was tried.
        baseline: the best stage 1 alone; without judgments the one that the user has set.
        held_out: the figures behind the decision; None without judgments.
        rows: one for each setting; for each stage 1 it alone comes first.
        ceilings: one for each stage 1; empty without judgments.
        agreements: pairs of re-rankers on the baseline's stage 1, at the depth of the challenger.
        gate: None where no rule was worth having; ``gate_note`` says why.
        gate_note: why there is no gate; empty where there is one.
        measure: what quality is, e.g. ``nDCG@10``; None without judgments.
        least_gain: the smallest gain that counts as one.
        k: how many hits come back.
        queries, passages: how many queries were asked, how many passages the index holds.
        unit, origin, synthetic: as in ``Judged``; unit is None without judgments.
        scored: how many (query, passage) pairs stage 2 read.
        seconds: wall time of it all.
        left_out: what was not tried to stay within the budget, in words; empty where nothing.
    """

    kind: Kind
    sentences: tuple[str, ...]
    chosen: Setting | None
    challenger: Setting | None
    baseline: Setting
    held_out: HeldOut | None
    rows: tuple[SweepRow, ...]
    ceilings: tuple[Ceiling, ...]
    agreements: tuple[Agreement, ...]
    gate: GateReceipt | None
    gate_note: str
    measure: str | None
    least_gain: float
    k: int
    queries: int
    passages: int
    unit: Unit | None
    origin: str
    synthetic: bool
    scored: int
    seconds: float
    left_out: str = ""
