"""The values of a calibration: its curve, how reliable it is, and what precision each threshold gave."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..ranking import sigmoid

__all__ = ["Bin", "Calibration", "Curve", "HeldOut", "Method", "Reliability", "Step"]

Method = Literal["sigmoid", "platt", "isotonic"]


@dataclass(frozen=True, slots=True)
class Curve:
    """From a score to a probability; never falling.

    Attributes:
        method: ``sigmoid`` (the score is a logit already), ``platt`` or ``isotonic``.
        slope, offset: of ``sigmoid(slope * score + offset)``; unused by ``isotonic``.
        scores, probabilities: knots of ``isotonic``, ascending; straight lines between them, flat outside.
    """

    method: Method
    slope: float = 1.0
    offset: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, score: float) -> float:
        """Return the probability, in 0..1."""
        if self.method != "isotonic":
            return sigmoid(self.slope * score + self.offset)
        place = bisect_right(self.scores, score)
        if place == 0:
            return self.probabilities[0]
        if place == len(self.scores):
            return self.probabilities[-1]
        low, high = self.scores[place - 1], self.scores[place]
        first, last = self.probabilities[place - 1], self.probabilities[place]
        return min(first + (last - first) * ((score - low) / (high - low)), last)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of query and candidate whose probability lies in ``low <= p < high`` (the last bin: ``<=``).

    Attributes:
        pairs: how many.
        predicted: their mean probability; 0 for an empty bin.
        relevant: which share of them is relevant; 0 for an empty bin.
    """

    low: float
    high: float
    pairs: int
    predicted: float
    relevant: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are to be trusted; all three figures are lower for better ones.

    Attributes:
        log_loss: mean negative log-likelihood, in nats.
        brier: mean squared difference to 0 or 1.
        ece: expected calibration error over ``bins``, 0..1.
        bins: ten of equal width.
    """

    log_loss: float
    brier: float
    ece: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A threshold: of the held-out pairs with at least this probability, this share is relevant.

    Attributes:
        probability: the threshold.
        precision: the share, or the mean probability where that is lower.
        pairs: how many have at least this probability.
    """

    probability: float
    precision: float
    pairs: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a wanted precision gave on queries that had no part in setting the threshold.

    Attributes:
        wanted: the precision asked for.
        precision: the share of relevant ones among the pairs above the threshold; None where none was.
        pairs: how many were above it.
        kept: the share of all relevant pairs that are above it.
        silent: the share of queries with nothing above it.
    """

    wanted: float
    precision: float | None
    pairs: int
    kept: float
    silent: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """One re-ranker's scores as probabilities.

    Attributes:
        reranker: its name.
        probes: its scores of ``probing.PROBES``, by which it is known again.
        curve: fitted on all pairs.
        queries, pairs, relevant: how many there were of each.
        stage1, candidates: how the passages were found that were scored.
        unit: ``document`` or ``passage``: what was judged.
        unjudged: what became of unjudged candidates: ``not relevant`` or ``left out``.
        origin: where the judgments came from.
        synthetic: the queries were made from the documents themselves.
        losses: held-out log-loss of each method tried; the lowest won.
        before: the plain sigmoid on the same pairs; None where the score is no logit.
        after: the chosen method on held-out queries.
        steps: what threshold gives what precision, both ascending.
        held_out: measured precision for some wanted ones.
    """

    reranker: str
    probes: tuple[float, ...]
    curve: Curve
    queries: int
    pairs: int
    relevant: int
    stage1: str
    candidates: int
    unit: str
    unjudged: str
    origin: str
    synthetic: bool
    losses: Mapping[str, float]
    before: Reliability | None
    after: Reliability
    steps: tuple[Step, ...]
    held_out: tuple[HeldOut, ...]

    def probability(self, score: float) -> float:
        """Return the probability that a candidate with this score is relevant, in 0..1."""
        return self.curve(score)

    def threshold(self, precision: float) -> float:
        """Return the least probability from which on hits are relevant with this precision.

        Args:
            precision: share of relevant ones among what is shown, 0..1; a higher one never gives a lower
                threshold.

        Raises:
            InputError: out of range, or no threshold reached it on the judged queries.
        """
        from .thresholds import threshold  # thresholds works on these values

        return threshold(self, precision)
