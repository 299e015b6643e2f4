"""From candidates to hits: each text read once, twins given the same score, the unread ones behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from time import perf_counter

from ..ranking import rank, sigmoid
from ..scores import Given
from ..types import Hit, Reading, Reranker, SearchResult, SupportsReadings
from .reading import Limits, Pace, read
from .twins import carried_over, first_of_each

__all__ = ["second_pass"]

Probability = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class _Scored:
    """A candidate with what stage 2 made of it.

    Attributes:
        candidate: the stage-1 hit.
        score: of stage 2; None where the deadline came first.
        reading: where the re-ranker tells what it read and the text is the one that was read.
        copied_from: id of the passage whose score it took over.
    """

    candidate: Hit
    score: float | None
    reading: Reading | None
    copied_from: str | None


def second_pass(
    reranker: Reranker,
    stage1: SearchResult,
    calibration: Probability | None,
    limits: Limits,
    pace: Pace,
) -> SearchResult:
    """Return the answer after stage 2; an empty list of candidates is not shown to the re-ranker.

    Args:
        reranker: reads the candidates.
        stage1: the answer of stage 1 alone.
        calibration: turns a score into a probability; None takes the sigmoid of a logit.
        limits: what may end the search.
        pace: how fast re-rankers were so far.
    """
    start = perf_counter()
    candidates = stage1.candidates
    firsts = first_of_each([hit.passage.text for hit in candidates])
    own = sorted(set(firsts))
    readings = read(reranker, stage1.query, [candidates[place].passage for place in own], limits, pace)
    given = dict(zip(own, readings.given, strict=True))
    scored = [
        _scored(hit, candidates[first], given[first]) for hit, first in zip(candidates, firsts, strict=True)
    ]
    logits = isinstance(reranker, SupportsReadings) and reranker.logits
    ranked = _ranked(scored, calibration or (sigmoid if logits else None))
    spent = (perf_counter() - start) * 1000
    done = [each for each in given.values() if each is not None]
    return replace(
        stage1,
        hits=ranked[: stage1.k],
        ranked=ranked,
        timings=replace(stage1.timings, rerank=spent, total=stage1.timings.total + spent),
        reranker=reranker.name,
        scored=len(done),
        truncated=sum(each.tokens_seen < each.tokens_total for each in done if isinstance(each, Reading)),
        calibrated=calibration is not None,
        copied=sum(each.copied_from is not None for each in scored),
        cached=readings.cached,
    )


def _scored(candidate: Hit, first: Hit, given: Given | None) -> _Scored:
    if given is None:
        return _Scored(candidate, None, None, None)
    score = given.score if isinstance(given, Reading) else given
    reading = given if isinstance(given, Reading) else None
    if first is candidate:
        return _Scored(candidate, score, reading, None)
    if reading is not None:
        reading = carried_over(reading, first.passage.text, candidate.passage.text)
    return _Scored(candidate, score, reading, first.passage.id)


def _ranked(scored: Sequence[_Scored], probability: Probability | None) -> tuple[Hit, ...]:
    """Return the candidates in the re-ranker's order, ties by passage id; behind them the unread ones."""
    by_id = {each.candidate.passage.id: each for each in scored}
    order = rank((key, each.score) for key, each in by_id.items() if each.score is not None)
    hits = []
    for place, (key, score) in enumerate(order, start=1):
        each = by_id[key]
        hits.append(
            Hit(
                passage=each.candidate.passage,
                score=score,
                rank=place,
                candidate=each.candidate,
                probability=None if probability is None else probability(score),
                reading=each.reading,
                also_in=each.candidate.also_in,
                copied_from=each.copied_from,
            )
        )
    unread = [each.candidate for each in scored if each.score is None]
    return (*hits, *(_unread(hit, place) for place, hit in enumerate(unread, start=len(hits) + 1)))


def _unread(candidate: Hit, place: int) -> Hit:
    return Hit(candidate.passage, -inf, place, candidate, also_in=candidate.also_in, unread=True)
