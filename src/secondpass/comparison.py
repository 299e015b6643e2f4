"""What the second pass changed: moves of one query's hits, and the figures over several queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from .errors import InputError
from .types import Hit, SearchResult

__all__ = ["Agreement", "Comparison", "PassSummary", "SecondPass", "Summary", "move", "summarize"]


@dataclass(frozen=True, slots=True)
class SecondPass:
    """One re-ranker's answer beside stage 1's.

    Attributes:
        result: its hits and timings.
        moves: for each of ``result.hits``: ``new``, ``up 5``, ``down 2`` or ``same``, see ``move``.
    """

    result: SearchResult
    moves: tuple[str, ...]

    @property
    def changed(self) -> int:
        """How many of the hits were not among stage 1's first ``k``."""
        return self.moves.count("new")

    @property
    def new_first(self) -> bool:
        """Whether another passage stands first than in stage 1."""
        hits = self.result.hits
        return bool(hits) and _candidate_rank(hits[0]) != 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One query, searched once, read by any number of re-rankers.

    Attributes:
        query: what was asked.
        k: how many hits each list holds (fewer where the index holds fewer).
        stage1: what stage 1 alone answers: a SearchResult with ``reranker`` ``"none"``.
        passes: one for each re-ranker, in the order they were given; all over the same candidates.
    """

    query: str
    k: int
    stage1: SearchResult
    passes: tuple[SecondPass, ...]


@dataclass(frozen=True, slots=True)
class PassSummary:
    """One re-ranker over several queries.

    Attributes:
        reranker: its name.
        mean_changed: mean number of hits that were not among stage 1's first ``k``.
        changed_share: share of the queries with at least one such hit, in 0..1.
        new_first_share: share of the queries with another first hit than stage 1's, in 0..1.
        rerank_ms: mean milliseconds of stage 2.
    """

    reranker: str
    mean_changed: float
    changed_share: float
    new_first_share: float
    rerank_ms: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two re-rankers agree.

    Attributes:
        rerankers: the two names.
        overlap: mean share of the first ``k`` hits that both have, in 0..1.
    """

    rerankers: tuple[str, str]
    overlap: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Several comparisons in one.

    Attributes:
        queries: how many.
        k: the most hits of one list.
        embed_ms, search_ms: mean milliseconds of stage 1.
        passes: one for each re-ranker.
        agreements: one for each pair of re-rankers.
    """

    queries: int
    k: int
    embed_ms: float
    search_ms: float
    passes: tuple[PassSummary, ...]
    agreements: tuple[Agreement, ...]


def move(hit: Hit, k: int) -> str:
    """Return how a re-ranked hit got to its rank.

    Returns:
        ``new`` where stage 1 had it behind its first ``k``, else ``up 5``, ``down 2`` or ``same``.
    """
    before = _candidate_rank(hit)
    if before > k:
        return "new"
    rise = before - hit.rank
    if rise == 0:
        return "same"
    return f"up {rise}" if rise > 0 else f"down {-rise}"


def _candidate_rank(hit: Hit) -> int:
    return hit.rank if hit.candidate is None else hit.candidate.rank


def summarize(comparisons: Sequence[Comparison]) -> Summary:
    """Return the means over several queries.

    Raises:
        InputError: no comparison at all, or they differ in ``k`` or in re-rankers.
    """
    if not comparisons:
        raise InputError("nothing to summarize; compare at least one query")
    first = comparisons[0]
    shapes = {(each.k, tuple(one.result.reranker for one in each.passes)) for each in comparisons}
    if len(shapes) > 1:
        raise InputError("comparisons of different k or different re-rankers cannot be summarized together")
    columns = list(zip(*(each.passes for each in comparisons), strict=True))
    return Summary(
        queries=len(comparisons),
        k=first.k,
        embed_ms=fmean(each.stage1.timings.embed for each in comparisons),
        search_ms=fmean(each.stage1.timings.search for each in comparisons),
        passes=tuple(_pass_summary(column) for column in columns),
        agreements=tuple(_agreement(one, other) for one, other in combinations(columns, 2)),
    )


def _pass_summary(column: Sequence[SecondPass]) -> PassSummary:
    return PassSummary(
        reranker=column[0].result.reranker,
        mean_changed=fmean(each.changed for each in column),
        changed_share=fmean(each.changed > 0 for each in column),
        new_first_share=fmean(each.new_first for each in column),
        rerank_ms=fmean(each.result.timings.rerank for each in column),
    )


def _agreement(one: Sequence[SecondPass], other: Sequence[SecondPass]) -> Agreement:
    overlaps = [_overlap(first.result, second.result) for first, second in zip(one, other, strict=True)]
    return Agreement((one[0].result.reranker, other[0].result.reranker), fmean(overlaps))


def _overlap(first: SearchResult, second: SearchResult) -> float:
    """Return the share of common hits; two empty lists agree."""
    ours, theirs = ({hit.passage.id for hit in result.hits} for result in (first, second))
    return len(ours & theirs) / max(len(ours), len(theirs)) if ours or theirs else 1.0
