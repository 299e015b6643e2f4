"""Judged scores from an index: each query's candidates, how they score, and which are relevant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..engine import CandidateSource, Engine
from ..errors import QueryError
from ..evaluation.values import Judged
from ..types import Hit, Reranker

__all__ = ["Pair", "Pairs", "judged_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One candidate of one query."""

    query_id: str
    score: float
    relevant: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a calibration is fitted on.

    Attributes:
        pairs: in the order of the queries.
        unjudged: what became of unjudged candidates: ``not relevant`` or ``left out``.
    """

    pairs: tuple[Pair, ...]
    unjudged: str


def judged_pairs(
    index: CandidateSource,
    judged: Judged,
    reranker: Reranker,
    *,
    candidates: int = 20,
    stage1: str = "dense",
    progress: Callable[[], None] | None = None,
) -> Pairs:
    """Return the scores of each judged query's candidates.

    Where the judgments say of anything that it is not relevant, candidates without a judgment are left out;
    where they only name what is relevant, the rest counts as not relevant. A judged document has the score of
    its best passage. A query that is longer than a model reads gives none.

    Args:
        index: where to search.
        judged: ids are those of the index.
        reranker: what scores.
        candidates: how many stage 1 hands on.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        progress: called after each query.

    Raises:
        QueryError: every query is too long.
    """
    engine = Engine(index, reranker, candidates, stage1)
    leave_out = any(grade <= 0 for grades in judged.qrels.values() for grade in grades.values())
    found: list[Pair] = []
    refused: list[QueryError] = []
    for query_id, query in judged.queries.items():
        grades = judged.qrels.get(query_id, {})
        try:
            ranked = engine.search(query, k=1).ranked
        except QueryError as exc:
            refused.append(exc)
            ranked = ()
        scores = _best_scores(ranked, judged.unit == "document", grades)
        found += (
            Pair(query_id, score, grades.get(key, 0) > 0)
            for key, score in scores.items()
            if key in grades or not leave_out
        )
        if progress is not None:
            progress()
    if refused and len(refused) == len(judged.queries):
        raise QueryError(f"no query can be read: {refused[0]}")
    return Pairs(tuple(found), "left out" if leave_out else "not relevant")


def _best_scores(hits: tuple[Hit, ...], documents: bool, grades: Mapping[str, int]) -> dict[str, float]:
    """Return the score of each judged unit that has one; hits come best first, so the first counts."""
    scores: dict[str, float] = {}
    for hit in hits:
        for key in _keys(hit, documents, grades):
            scores.setdefault(key, hit.score)
    return scores


def _keys(hit: Hit, documents: bool, grades: Mapping[str, int]) -> Iterator[str]:
    """Yield the documents of a hit; or its one passage, under the judged one of its ids if there is any."""
    places = (hit.passage, *hit.also_in)
    if documents:
        yield from dict.fromkeys(place.document_id for place in places)
        return
    yield next((place.id for place in places if place.id in grades), hit.passage.id)
