"""The gate: a rule on stage 1's scores that says when stage 2 need not be asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .arguments import STAGE1
from .errors import InputError

__all__ = ["FEATURES", "Gate", "feature_value", "parse_gate"]

FEATURES = ("margin", "top", "lead")
"""What a gate can look at, in stage 1's scores: the first score minus the second (``margin``), the first
score itself (``top``), the last score that comes back minus the next one (``lead``)."""

_UNLESS = " unless "


def feature_value(feature: str, scores: Sequence[float], k: int) -> float:
    """Return one of ``FEATURES`` of a descending list of scores, of which ``k`` come back.

    A list too short to have the second of two scores gives infinity: there is nothing that could be
    overtaken.

    Raises:
        InputError: there is no such feature.
    """
    if feature not in FEATURES:
        raise InputError(f"a gate looks at one of {', '.join(FEATURES)}, got {feature!r}")
    first, second = (k - 1, k) if feature == "lead" else (0, 1)
    if len(scores) <= (0 if feature == "top" else second):
        return math.inf
    return scores[0] if feature == "top" else scores[first] - scores[second]


@dataclass(frozen=True, slots=True)
class Gate:
    """Stage 2 is skipped where a feature of stage 1's scores reaches a threshold.

    Attributes:
        reranker: the one that is asked otherwise.
        stage1: whose scores they are; another stage 1 has scores of another scale.
        feature: one of ``FEATURES``.
        threshold: stage 2 is skipped from here on, on the scale of stage 1's scores.

    Raises:
        InputError: one of them cannot be used.
    """

    reranker: str
    stage1: str
    feature: str
    threshold: float

    def __post_init__(self) -> None:
        if not self.reranker.strip() or self.reranker in ("none", "gated"):
            raise InputError(f"a gate stands before a re-ranker, {self.reranker!r} is none")
        if self.stage1 not in STAGE1:
            raise InputError(f"a gate's stage 1 must be one of {', '.join(STAGE1)}, got {self.stage1!r}")
        if self.feature not in FEATURES:
            raise InputError(f"a gate looks at one of {', '.join(FEATURES)}, got {self.feature!r}")
        if math.isnan(self.threshold):
            raise InputError("the threshold of a gate is a number, got NaN")

    def skips(self, scores: Sequence[float], k: int) -> bool:
        """Return whether stage 2 need not be asked; ``scores`` are stage 1's, descending."""
        return feature_value(self.feature, scores, k) >= self.threshold

    def __str__(self) -> str:
        """As settings hold it: ``minilm-l6 unless dense margin >= 0.0731``."""
        return f"{self.reranker}{_UNLESS}{self.stage1} {self.feature} >= {self.threshold:.6g}"


def parse_gate(text: str) -> Gate:
    """Return the gate that ``str`` wrote.

    Raises:
        InputError: the text is no gate.
    """
    reranker, _, rule = text.rpartition(_UNLESS)
    words = rule.split()
    try:
        stage1, feature, sign, threshold = words
        if sign != ">=":
            raise ValueError
        return Gate(reranker.strip(), stage1, feature, float(threshold))
    except InputError:
        raise
    except ValueError as exc:
        raise InputError(
            f"a gate reads like 'minilm-l6 unless dense margin >= 0.07', got {text!r}; "
            "secondpass worth-it --write fits one"
        ) from exc
