"""What stage 2 changes in stage 1's lists, and how far re-rankers agree: figures that need no judgments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, median, pstdev

from ..comparison import Agreement
from ..evaluation.values import Setting, Trial
from ..ranking import rank
from .values import Change

__all__ = ["agreements", "change", "first", "order_changed", "overlap"]


def first(trial: Trial, setting: Setting, k: int) -> tuple[str, ...]:
    """Return the ids of the first ``k`` passages of a trial under a setting, best first.

    Where the re-ranker reads fewer candidates than ``k``, stage 1's next ones follow.
    """
    if setting.reranker == "none":
        return trial.passages[:k]
    read = trial.passages[: setting.candidates]
    scores = trial.reranked[setting.reranker][: setting.candidates]
    ranked = [key for key, _ in rank(zip(read, scores, strict=True))]
    return (*ranked, *trial.passages[len(read) : k])[:k]


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of ids that two lists have in common, in 0..1; two empty lists agree."""
    longer = max(len(one), len(other))
    return len(set(one) & set(other)) / longer if longer else 1.0


def order_changed(trial: Trial, setting: Setting, k: int) -> bool:
    """Return whether anything in the first ``k`` is another passage, or stands elsewhere, than in stage 1."""
    return first(trial, setting, k) != trial.passages[:k]


def change(trials: Sequence[Trial], setting: Setting, k: int) -> Change:
    """Return what a re-ranked setting does to the lists of its own stage 1.

    Args:
        trials: those of the setting's stage 1, at least one.
        setting: with a re-ranker.
        k: how many hits come back.
    """
    new, new_first, came_from, margins = [], [], [], []
    for trial in trials:
        before, after = trial.passages[:k], first(trial, setting, k)
        new.append(len(set(after) - set(before)))
        new_first.append(after[:1] != before[:1])
        places = {key: place for place, key in enumerate(trial.passages, start=1)}
        came_from += [places[key] for key in after]
        margins += _margin(trial.reranked[setting.reranker][: setting.candidates])
    return Change(
        changed=fmean(new),
        changed_share=fmean(each > 0 for each in new),
        new_first_share=fmean(new_first),
        came_from=fmean(came_from) if came_from else 0.0,
        margin=median(margins) if margins else 0.0,
    )


def _margin(scores: Sequence[float]) -> list[float]:
    """Return the lead of the best score in standard deviations; nothing where there is no spread."""
    spread = pstdev(scores) if len(scores) > 1 else 0.0
    if not spread:
        return []
    best, second = sorted(scores, reverse=True)[:2]
    return [(best - second) / spread]


def agreements(
    trials: Sequence[Trial], rerankers: Sequence[str], candidates: int, k: int
) -> tuple[Agreement, ...]:
    """Return how much of the first ``k`` each pair of re-rankers shares, over the same candidates."""
    found = []
    for pair in combinations(rerankers, 2):
        ours, theirs = (Setting(trials[0].stage1, name, candidates) for name in pair)
        shares = [overlap(first(trial, ours, k), first(trial, theirs, k)) for trial in trials]
        found.append(Agreement((ours.reranker, theirs.reranker), fmean(shares)))
    return tuple(found)
