"""What fits into a time budget: how deep, how many queries and which re-rankers a sweep may try."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..wording import count

__all__ = ["ENOUGH_DEPTH", "ENOUGH_QUERIES", "Costs", "Plan", "plan", "sample"]

ENOUGH_DEPTH = 20
"""Depths are given up first, but not below the default number of candidates."""
ENOUGH_QUERIES = 50
"""Then queries, but not below these; then the slowest re-rankers; then the rest of the depths."""
_LISTS = 1.8
"""Candidates of dense, lexical and hybrid together, in lists: hybrid's are those of the other two."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be tried.

    Attributes:
        rerankers: names.
        depths: ascending, at least one.
        queries: how many.
        left_out: what will not be tried, in words; empty where nothing.
        seconds: about how long stage 2 will take.
    """

    rerankers: tuple[str, ...]
    depths: tuple[int, ...]
    queries: int
    left_out: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What the estimate rests on.

    Attributes:
        passage_ms: re-ranker to the milliseconds it takes for one passage.
        lists: how many stage 1s.
        passages: how many the index holds.
        samples: how often each depth is timed.
    """

    passage_ms: Mapping[str, float]
    lists: int
    passages: int
    samples: int

    def seconds(self, rerankers: Sequence[str], depths: Sequence[int], queries: int) -> float:
        """Return about how long reading every candidate once, and timing every depth, will take."""
        several = 1.0 if self.lists == 1 else _LISTS
        union = min(several * max(depths), self.passages)
        reads = queries * union + self.samples * sum(min(depth, self.passages) for depth in depths)
        return sum(self.passage_ms[name] for name in rerankers) * reads / 1000


def plan(costs: Costs, depths: Sequence[int], queries: int, budget: float | None) -> Plan:
    """Return what fits into the budget; the shallowest with one re-ranker, where not even that fits.

    Args:
        costs: measured, a few passages a re-ranker.
        depths: those wished for, ascending.
        queries: how many there are.
        budget: seconds; None for no bound.
    """
    names = sorted(costs.passage_ms, key=lambda name: (costs.passage_ms[name], name))
    tried, asked, kept = list(depths), queries, list(names)
    if budget is not None:
        while len(tried) > 1 and tried[-2] >= ENOUGH_DEPTH and costs.seconds(kept, tried, asked) > budget:
            tried.pop()
        while asked > ENOUGH_QUERIES and costs.seconds(kept, tried, asked) > budget:
            asked = max(ENOUGH_QUERIES, int(asked * 0.8))
        while len(kept) > 1 and costs.seconds(kept, tried, asked) > budget:
            kept.pop()
        while len(tried) > 1 and costs.seconds(kept, tried, asked) > budget:
            tried.pop()
    left_out = _left_out(depths, tried, queries, asked, [name for name in names if name not in kept])
    order = tuple(name for name in costs.passage_ms if name in kept)
    return Plan(order, tuple(tried), asked, left_out, costs.seconds(kept, tried, asked))


def _left_out(
    depths: Sequence[int], tried: Sequence[int], queries: int, asked: int, dropped: Sequence[str]
) -> str:
    pieces = []
    if len(tried) < len(depths):
        pieces.append("depths " + ", ".join(map(str, depths[len(tried) :])))
    if asked < queries:
        pieces.append(f"{count(queries - asked, 'query')} (a random sample was asked)")
    pieces += dropped
    return "; ".join(pieces)


def sample(keys: Sequence[str], size: int, seed: int) -> list[str]:
    """Return ``size`` of the keys, chosen at random, in the order they came."""
    if size >= len(keys):
        return list(keys)
    chosen = set(random.Random(seed).sample(range(len(keys)), size))  # noqa: S311  no secret
    return [key for place, key in enumerate(keys) if place in chosen]
