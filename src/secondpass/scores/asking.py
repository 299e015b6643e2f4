"""Asking a re-ranker, and checking what it gives at the door: one finite number for each passage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ModelInvalidError
from ..types import Reading, Reranker, SupportsReadings
from .packing import Given

__all__ = ["ask", "check_finite"]


def ask(reranker: Reranker, query: str, texts: Sequence[str]) -> list[Given]:
    """Return what a re-ranker makes of each text: a ``Reading`` where it gives one, else the score.

    Raises:
        ModelInvalidError: it gave something other than one number for each.
    """
    given: list[Given]
    if isinstance(reranker, SupportsReadings):
        given = list(reranker.read(query, texts))
    else:
        given = list(_numbers(reranker.score(query, texts), reranker.name))
    if len(given) != len(texts):
        raise ModelInvalidError(
            f"the re-ranker {reranker.name!r} gave {len(given)} scores for {len(texts)} passages; "
            "it must give one for each, in the same order"
        )
    return given


def check_finite(reranker: Reranker, given: Sequence[Given], ids: Sequence[str]) -> None:
    """Refuse scores that no ranking can be made of; ``ids`` are those of the passages.

    Raises:
        ModelInvalidError: one is NaN or infinite.
    """
    for key, each in zip(ids, given, strict=True):
        score = each.score if isinstance(each, Reading) else each
        if not math.isfinite(score):
            raise ModelInvalidError(
                f"the re-ranker {reranker.name!r} gave the score {score} to passage {key}; "
                "its weights or its code are damaged, take another one"
            )


def _numbers(scores: object, name: str) -> list[float]:
    """Return a flat array or sequence of numbers as floats."""
    shape = getattr(scores, "shape", None)
    try:
        if shape is not None and len(shape) != 1:
            raise TypeError
        return [float(score) for score in scores]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as exc:
        what = f"an array of shape {shape}" if shape is not None else type(scores).__name__
        raise ModelInvalidError(
            f"the re-ranker {name!r} gave {what}; its score() must give one number for each passage"
        ) from exc
