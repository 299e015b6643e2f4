"""Whether it helped: the rule, and the sentences that say so."""

from __future__ import annotations

from ..evaluation.values import Paired
from .held_out import MEASURES
from .values import HeldOut, Outcome, Tuned

__all__ = ["beyond_chance", "outcome", "sentences"]

CHANCE = 0.05
"""Of a two-sided test: weights that are no better are installed half as often."""


def beyond_chance(found: Paired) -> bool:
    """Return whether a difference is more than chance: by the 95 % interval, and by the randomisation test.

    With 20 queries of which few differ the interval alone says so too easily; the test is exact however few
    they are (``benchmarks/false_installs.py``).
    """
    return (found.low > 0 or found.high < 0) and found.p < CHANCE


def outcome(found: HeldOut) -> Outcome:
    """Return what the held-out queries say.

    ``helped``: new less base lies above zero beyond chance, and the new one's mean is not below that of
    stage 1 alone. Only then are weights installed.
    """
    name = MEASURES[0]
    difference = found.against_base[name]
    if not beyond_chance(difference):
        return "unclear"
    if difference.difference < 0:
        return "harmed"
    return "helped" if found.against_stage1[name].difference >= 0 else "below stage 1"


def sentences(tuned: Tuned) -> list[str]:
    """Return the outcome in words, the decision first."""
    found, name = tuned.held_out, MEASURES[0]
    gain = found.against_base[name]
    queries = found.evaluation.queries
    figure = f"{gain.difference:+.3f} {name} [{gain.low:+.3f}, {gain.high:+.3f}]"
    against = f"{figure} against {tuned.start} on {queries} held-out queries"
    first = {
        "helped": f"helped: {against}; installed as {tuned.name}",
        "unclear": f"cannot be told from chance: {against}; not installed",
        "harmed": f"harmed: {against}; not installed",
        "below stage 1": (
            f"better than its base ({against}), but stage 1 alone is better still; not installed"
        ),
    }[tuned.outcome]
    return [first, *_further(tuned)]


def _further(tuned: Tuned) -> list[str]:
    said = []
    if tuned.outcome == "unclear":
        said.append(
            "Two re-rankers of equal worth may differ as much: more judged queries would tell, and may show "
            "that there is nothing to gain."
        )
    if tuned.judged.synthetic:
        said.append(
            "The queries are synthetic, made from headings and titles: nobody asked them, and what helps "
            "with them may not help with real ones."
        )
    if tuned.learnt.unfound:
        said.append(
            f"{tuned.learnt.unfound} training queries gave nothing to learn: stage 1 does not find what is "
            "relevant to them."
        )
    if tuned.learnt.best.quality < tuned.learnt.checks[0].quality:
        said.append("On the queries that chose the checkpoint, none was as good as the base.")
    return said
