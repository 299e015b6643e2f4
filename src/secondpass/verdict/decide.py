"""The rule of the verdict, and nothing else: from figures to a decision."""

from __future__ import annotations

import math

from .values import HeldOut, Kind

__all__ = ["LEAST_GAIN", "RARELY", "judged_kind", "settled", "unjudged_kind", "upper_share"]

LEAST_GAIN = 0.01
"""The smallest gain that counts as one, in the measure's own units: one point of nDCG@10."""
RARELY = 0.1
"""Stage 2 that changes the first hits of fewer queries than this cannot mend much, for better or worse."""


def judged_kind(held_out: HeldOut, least_gain: float) -> Kind:
    """Return the decision from held-out figures.

    - ``use``: the gain is worth having, and its 95 % interval lies above 0.
    - ``skip``: the gain is less than that. Stage 2 costs time on each search, so it has to show a gain; no
      gain shown is reason enough to leave it off, even where a wide interval does not rule one out.
    - ``unclear``: the gain would be worth having, but its interval reaches 0: it may be luck.
    """
    if held_out.difference < least_gain:
        return "skip"
    return "use" if held_out.low > 0 else "unclear"


def settled(held_out: HeldOut, least_gain: float) -> bool:
    """Return whether more queries would hardly change the decision: the interval rules the other one out."""
    return held_out.high < least_gain or (held_out.low > 0 and held_out.difference >= least_gain)


def unjudged_kind(changed: int, queries: int) -> Kind:
    """Return the decision where nothing is judged.

    ``skip`` only where stage 2 all but never changes the first hits, at the upper end of the 95 % interval of
    that share: then it does not matter what judgments would say. ``unjudged`` else.
    """
    return "skip" if upper_share(changed, queries) < RARELY else "unjudged"


def upper_share(events: int, queries: int) -> float:
    """Return the upper end of the 95 % interval of a share (Wilson, JASA 22, 1927)."""
    z = 1.959963984540054
    share, weight = events / queries, z * z / queries
    middle = share + weight / 2
    half = z * math.sqrt((share * (1 - share) + weight / 4) / queries)
    return (middle + half) / (1 + weight)
