"""Whether it helped: the rule, and the sentences that say so."""

from __future__ import annotations

from .held_out import MEASURES
from .values import HeldOut, Outcome, Tuned

__all__ = ["outcome", "sentences"]


def outcome(found: HeldOut) -> Outcome:
    """Return what the held-out queries say.

    ``helped``: the 95 % interval of new less base lies above zero, and the new one's mean is not below that
    of stage 1 alone. Only then are weights installed.
    """
    name = MEASURES[0]
    difference = found.against_base[name]
    if difference.high < 0:
        return "harmed"
    if difference.low <= 0:
        return "unclear"
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
            "The interval holds zero: more judged queries would narrow it, and may show that there is "
            "nothing to gain."
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
