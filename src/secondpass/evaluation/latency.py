"""How long each setting takes: stage 1 each way, stage 2 at each depth once, warm and uncached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from ..engine import CandidateSource, Engine
from ..errors import QueryError
from ..types import Reranker
from .values import Setting

if TYPE_CHECKING:
    from ..types import SearchResult

__all__ = ["SAMPLES", "latencies", "passage_ms", "timed"]

SAMPLES = 5
_PILOT = 10
"""Passages that are read to see how fast a re-ranker is."""
_PROBE = "a"
"""A passage that is read to see whether a query leaves room for one."""


def passage_ms(
    index: CandidateSource, queries: Sequence[str], rerankers: Sequence[Reranker]
) -> dict[str, float]:
    """Return about how many milliseconds each re-ranker takes for a passage; the quicker of two goes."""
    found = {}
    engine = Engine(index, None, _PILOT)
    for reranker in rerankers:
        spent = []
        for query in _short_enough(index, queries, [reranker], 1) * 2:
            texts = [hit.passage.text for hit in engine.search(query, 1).candidates]
            start = perf_counter()
            reranker.score(query, texts)
            spent.append((perf_counter() - start) * 1000 / max(1, len(texts)))
        found[reranker.name] = min(spent)
    return found


def latencies(
    index: CandidateSource,
    queries: Sequence[str],
    settings: Sequence[Setting],
    rerankers: Sequence[Reranker],
    samples: int = SAMPLES,
) -> dict[Setting, float]:
    """Return milliseconds of one warm, uncached search for each setting, see ``timed``.

    Stage 1 alone is timed for as many candidates as re-rankers are handed, where there are any.

    Args:
        index: what is searched.
        queries: the first ``samples`` are asked.
        settings: what to time.
        rerankers: those of the settings, without a cache in front.
        samples: how many queries.
    """
    handed = {each.candidates for each in settings if each.reranker != "none"}
    depths = sorted(handed or {each.candidates for each in settings})
    stage1s = list(dict.fromkeys(each.stage1 for each in settings))
    found = timed(index, queries, stage1s, rerankers, depths, samples)
    return {
        each: found[Setting(each.stage1, "none", depths[-1]) if each.reranker == "none" else each]
        for each in settings
    }


def timed(
    index: CandidateSource,
    queries: Sequence[str],
    stage1s: Sequence[str],
    rerankers: Sequence[Reranker],
    depths: Sequence[int],
    samples: int = SAMPLES,
) -> dict[Setting, float]:
    """Return milliseconds of one search for every setting, medians over a few of the queries.

    Stage 2 does not know which stage 1 its candidates came from, so its time is taken once for each depth and
    added to each stage 1's. A deeper setting is never given as faster than a shallower one.

    Args:
        index: what is searched.
        queries: the first ``samples`` that are not too long for a model are asked, after one that warms up.
        stage1s: ways to search.
        rerankers: as they are, without a cache in front.
        depths: ascending.
        samples: how many queries.
    """
    asked = _short_enough(index, queries, rerankers, samples)
    deepest = depths[-1]
    found: dict[Setting, float] = {}
    lists: list[SearchResult] = []
    for stage1 in stage1s:
        engine = Engine(index, None, deepest, stage1)
        engine.search(asked[0], 1)
        lists = [engine.search(query, 1) for query in asked]
        found[Setting(stage1, "none", deepest)] = median(each.timings.total for each in lists)
    for reranker in rerankers:
        spent = _second_stage(reranker, lists, depths)
        for stage1 in stage1s:
            alone = found[Setting(stage1, "none", deepest)]
            for depth in depths:
                found[Setting(stage1, reranker.name, depth)] = alone + spent[depth]
    return found


def _short_enough(
    index: CandidateSource, queries: Sequence[str], rerankers: Sequence[Reranker], most: int
) -> list[str]:
    """Return the first queries that every model can read.

    Raises:
        QueryError: there is none.
    """
    found: list[str] = []
    refused: QueryError | None = None
    for query in queries:
        try:
            index.embed_query(query)
            for reranker in rerankers:
                reranker.score(query, [_PROBE])
        except QueryError as exc:
            refused = exc
        else:
            found.append(query)
        if len(found) == most:
            break
    if not found:
        raise refused or QueryError("no query to time")
    return found


def _second_stage(
    reranker: Reranker, lists: Sequence[SearchResult], depths: Sequence[int]
) -> Mapping[int, float]:
    """Return the milliseconds of reading so many candidates."""
    spent: dict[int, float] = {}
    longest = 0.0
    for depth in depths:
        times = []
        for each in lists:
            texts = [hit.passage.text for hit in each.candidates[:depth]]
            start = perf_counter()
            reranker.score(each.query, texts)
            times.append((perf_counter() - start) * 1000)
        longest = max(longest, median(times))
        spent[depth] = longest
    return spent
