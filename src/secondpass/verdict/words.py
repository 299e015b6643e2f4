"""A verdict in plain words: the first sentence can be acted on, the others say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..comparison import Agreement
from ..evaluation.values import Ceiling, Setting
from ..wording import count, milliseconds
from .decide import settled
from .values import Change, GateReceipt, HeldOut, Kind

__all__ = [
    "Facts",
    "budget_sentence",
    "ceiling_sentence",
    "gate_sentence",
    "judged_sentences",
    "refused_sentence",
    "signed",
    "unjudged_sentences",
]

SYNTHETIC = (
    "The queries are synthetic: made from the documents themselves, so they share their words. "
    "What people ask is harder; judge a few real queries before relying on this: secondpass judge."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentences are about.

    Attributes:
        kind: the decision.
        challenger, baseline: the settings compared.
        extra_ms: what the challenger takes more than the baseline.
        baseline_ms: what the baseline takes.
        queries, k: how many were asked, how many hits come back.
        synthetic: whether the queries were made from the documents.
    """

    kind: Kind
    challenger: Setting
    baseline: Setting
    extra_ms: float
    baseline_ms: float
    queries: int
    k: int
    synthetic: bool

    @property
    def on(self) -> str:
        """What the verdict is about: ``minilm-l6 on 20 candidates (dense)``."""
        ours = self.challenger
        return f"{ours.reranker} on {ours.candidates} candidates ({ours.stage1})"

    @property
    def cost(self) -> str:
        """What stage 2 costs in time."""
        if self.extra_ms < 0:
            return f"and {milliseconds(-self.extra_ms)} less a search"
        return f"for {milliseconds(self.extra_ms)} more a search"

    @property
    def asked(self) -> str:
        """How many queries, and of which sort."""
        return count(self.queries, "synthetic query" if self.synthetic else "query")


def signed(value: float) -> str:
    """Return a difference with its sign, three decimals, and no negative zero."""
    return f"{0.0 if abs(value) < 0.0005 else value:+.3f}"


def _gain(held_out: HeldOut, measure: str) -> str:
    interval = f"[{signed(held_out.low)}, {signed(held_out.high)}]"
    return f"{signed(held_out.difference)} {measure} {interval}"


def judged_sentences(
    facts: Facts, held_out: HeldOut, measure: str, qualities: tuple[float, float], least_gain: float
) -> list[str]:
    """Return the verdict and its reasons where there are judgments.

    Args:
        facts: what it is about.
        held_out: the figures behind it.
        measure: its name.
        qualities: mean of the measure of challenger and baseline over all queries.
        least_gain: the smallest gain that counts as one.
    """
    gain = _gain(held_out, measure)
    alone = f"{facts.baseline.stage1} alone"
    if facts.kind == "use":
        head = f"use {facts.on}: {gain} {facts.cost}"
    elif facts.kind == "skip":
        head = f"skip stage 2: {gain} {facts.cost}"
    else:
        head = f"cannot tell from {facts.asked}: {gain} {facts.cost}"
    said = [head, *_what_else(facts, held_out, alone, least_gain)]
    said.append(
        f"Over all {facts.asked}: {alone} {qualities[1]:.3f} {measure} in {milliseconds(facts.baseline_ms)}, "
        f"{facts.on} {qualities[0]:.3f} in {milliseconds(facts.baseline_ms + facts.extra_ms)}."
    )
    said.append(
        "The gain is held out: settings were chosen on one half of the queries and measured on the other, "
        f"{2 * held_out.splits} times over. Better on {held_out.wins} of {held_out.queries} queries, "
        f"worse on {held_out.losses}."
    )
    return [said[0], SYNTHETIC, *said[1:]] if facts.synthetic else said


def _what_else(facts: Facts, held_out: HeldOut, alone: str, least_gain: float) -> list[str]:
    """Return what to do meanwhile, and how many queries would settle it."""
    if facts.kind == "use":
        return []
    about = (
        [] if facts.kind == "skip" else [f"Until more is judged, search with {alone}: it takes less time."]
    )
    if facts.kind == "skip":
        about.append(f"Search with {alone}. The best that was found with stage 2 is {facts.on}.")
    if not settled(held_out, least_gain) and held_out.needed is not None:
        ruled_out = (
            f"A gain of up to {held_out.high:.3f} is not ruled out"
            if facts.kind == "skip"
            else "It may be luck"
        )
        about.append(
            f"{ruled_out}; about {held_out.needed:,} judged queries would settle it, "
            "if the figures stay alike."
        )
    return about


def unjudged_sentences(
    facts: Facts, change: Change, touched: int, agreements: Sequence[Agreement]
) -> list[str]:
    """Return what can be said where nothing is judged.

    Args:
        facts: what it is about.
        change: what the challenger changes.
        touched: queries whose first ``k`` hold another passage or stand in another order.
        agreements: between the re-rankers.
    """
    k, asked = facts.k, facts.asked
    if facts.kind == "skip":
        said = [
            f"skip stage 2: {facts.on} leaves the first {k} as they are for {facts.queries - touched} of "
            f"{asked}, {facts.cost}",
            "Nothing is judged, but what changes so seldom cannot matter much.",
        ]
    else:
        said = [
            f"only judgments can tell: {facts.on} brings other passages into the first {k} for "
            f"{round(change.changed_share * facts.queries)} of {asked}, {facts.cost}",
            f"Whether they are better ones is not known. {change.changed:.1f} of {k} are new on average, the "
            f"first hit is another one for {change.new_first_share:.0%} of the queries.",
        ]
        said += [_agreement_sentence(each, k) for each in agreements]
        said.append(
            "Mark some first passages as relevant or not: secondpass judge. Without queries of your own, "
            "secondpass queries makes some from the documents."
        )
    return [said[0], SYNTHETIC, *said[1:]] if facts.synthetic else said


def _agreement_sentence(each: Agreement, k: int) -> str:
    one, other = each.rerankers
    return f"{one} and {other} share {each.overlap:.0%} of their first {k}."


def ceiling_sentence(ceiling: Ceiling) -> str:
    """Return how much stage 2 could mend at best."""
    return (
        f"{ceiling.stage1.capitalize()} alone has a relevant passage in its first {ceiling.k} for "
        f"{ceiling.in_top:.0%} of the queries; for {ceiling.in_candidates:.0%} the first one is further back "
        f"in its {ceiling.candidates}, where stage 2 can bring it up; for {ceiling.absent:.0%} there is none."
    )


def gate_sentence(receipt: GateReceipt, measure: str | None) -> str:
    """Return what the gate saves and costs."""
    gate = receipt.gate
    saved = (
        f"skips stage 2 for {receipt.skipped:.0%} of the queries and saves "
        f"{milliseconds(receipt.saved_ms)} of {milliseconds(receipt.full_ms)} a search"
    )
    if receipt.lost is None or receipt.low is None or receipt.high is None:
        cost = f"the first {receipt.k} would have stayed the same for {receipt.unchanged:.0%} of those"
    else:
        cost = (
            f"it costs {receipt.lost:.3f} {measure} [{receipt.low:.3f}, {receipt.high:.3f}], "
            f"{receipt.lost_at_random or 0.0:.3f} were as many skipped at random"
        )
    return f"A gate ({gate.stage1} {gate.feature} >= {gate.threshold:.4g}) {saved}; {cost}."


def refused_sentence(refused: Mapping[str, str]) -> str:
    """Return which queries were left out, and why."""
    key, why = next(iter(refused.items()))
    return f"{count(len(refused), 'query')} left out as too long for a model, e.g. {key}: {why}."


def budget_sentence(left_out: str) -> str:
    """Return what was not tried."""
    return f"Not tried, to stay within the budget: {left_out}. Give more time with --budget."
