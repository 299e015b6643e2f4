"""The values of a training on one's own documents: what it learns from, how, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..arguments import checked_count
from ..evaluation.values import Evaluation, Judged, Paired, Setting

__all__ = [
    "Check",
    "Example",
    "HeldOut",
    "Learnt",
    "Outcome",
    "Progress",
    "Recipe",
    "Tuned",
]

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done, and how many there are."""
Outcome = Literal["helped", "unclear", "harmed", "below stage 1"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How training goes. Rates are about half of those that the shipped model was trained with.

    Attributes:
        groups: queries a step, each with one positive and its negatives.
        hard_negatives, random_negatives: passages a group; hard ones are the query's own neighbours.
        hardest_share: a negative one rank further down is drawn so many times as often.
        epochs: how often each query is met, within ``least_steps`` and ``most_steps``.
        rate_layers, rate_new, rate_residual: of the copied layers, of the parts that began at zero, and of
            the three weights of cosine and max-sim.
        average: most decay of the moving average of the weights, which is what is kept.
        dropout: in the joint branch.
        checks: how often the average is measured on the queries that choose the checkpoint.
        query_tokens, passage_tokens: how many are read while training.
    """

    groups: int = 8
    hard_negatives: int = 7
    random_negatives: int = 1
    hardest_share: float = 0.9
    epochs: int = 5
    least_steps: int = 60
    most_steps: int = 300
    rate_layers: float = 5e-5
    rate_new: float = 3e-4
    rate_residual: float = 1e-3
    average: float = 0.98
    dropout: float = 0.1
    checks: int = 5
    query_tokens: int = 64
    passage_tokens: int = 192

    @classmethod
    def of_steps(cls, steps: int) -> Recipe:
        """Return the recipe with a number of steps that does not depend on the queries.

        Raises:
            InputError: it is no whole number of at least 1.
        """
        checked_count("steps", steps)
        return cls(least_steps=steps, most_steps=steps)

    def steps(self, examples: int) -> int:
        """Return how many steps so many queries are given."""
        wanted = -(-examples * self.epochs // self.groups)
        return max(self.least_steps, min(self.most_steps, wanted))


@dataclass(frozen=True, slots=True)
class Example:
    """A query with passages that answer it and passages that do not.

    Attributes:
        query: the text.
        positives: texts among stage 1's first ones that are relevant.
        negatives: texts that are not, those judged so first, then the hardest first.
        relevant: every text that is relevant as far as stage 1 found it; none of them is drawn as a negative.
    """

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Check:
    """nDCG@10 of the averaged weights on the queries that choose the checkpoint."""

    step: int
    quality: float


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a training did.

    Attributes:
        steps: of it.
        examples: how many queries it learnt from.
        unfound: training queries that were left out: stage 1 does not find what is relevant.
        negatives: mean number of hard negatives a query.
        best: the checkpoint that was taken.
        checks: all of them; step 0 is the base.
        resumed_at: the step it went on from; None where it began anew.
        seconds: wall time of this process's part.
    """

    steps: int
    examples: int
    unfound: int
    negatives: float
    best: Check
    checks: tuple[Check, ...]
    resumed_at: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Stage 1, the base and the new re-ranker on queries that nothing was learnt or chosen from.

    Attributes:
        evaluation: rows for stage 1 alone, the base, the new one.
        stage1, base, new: the settings of these rows.
        against_base, against_stage1: measure to the new one's paired difference.
    """

    evaluation: Evaluation
    stage1: Setting
    base: Setting
    new: Setting
    against_base: Mapping[str, Paired]
    against_stage1: Mapping[str, Paired]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What one ``tune`` did.

    Attributes:
        name, start: of the new re-ranker and of the one it began as.
        outcome: see ``concluding.outcome``.
        installed: its folder among the user's models; None where it was refused.
        folder: its folder below the work folder.
        work: the work folder.
        judged: all usable queries.
        training, validation: how many queries the training had, and how many of them chose the checkpoint.
        unusable: queries left out at the start: nothing relevant to them is in the index.
        learnt, held_out: see there.
        seed: of the split and the training.
        seconds: wall time.
    """

    name: str
    start: str
    outcome: Outcome
    installed: Path | None
    folder: Path
    work: Path
    judged: Judged
    training: int
    validation: int
    unusable: int
    learnt: Learnt
    held_out: HeldOut
    seed: int
    seconds: float
