"""Re-ranking candidates that the caller already has, from whatever searched for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from ..arguments import checked_count, checked_text
from ..errors import InputError
from ..scores import CachedReranker, ScoreCache
from ..types import Hit, MetadataValue, Passage, Reranker, SearchResult, Timings
from .reading import Cancel, Limits, Pace
from .second_pass import second_pass

__all__ = ["GIVEN", "Candidate", "rerank"]

GIVEN = "given"
"""What ``SearchResult.stage1`` says of candidates that no index of ours found."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that another search found.

    Attributes:
        text: what stage 2 reads; may be empty.
        id: the caller's own; need not be unique. It becomes ``passage.document_id``.
        score: what that search gave, higher is better; None where it gave none.
        metadata: flat values to carry along.
    """

    text: str
    id: str = ""
    score: float | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


def rerank(
    query: str,
    candidates: Sequence[str | Candidate],
    reranker: Reranker | str | Path = "auto",
    k: int | None = None,
    *,
    deadline_ms: float | None = None,
    cancel: Cancel | None = None,
    cache: ScoreCache | None = None,
    calibration: Callable[[float], float] | None = None,
) -> SearchResult:
    """Read candidates together with a query, and return them in the order of how well they answer it.

    Args:
        query: a question or a few words.
        candidates: best first, as the other search ranked them.
        reranker: an object, or the name or folder of one; load it once where you ask often.
        k: how many hits come back, at least 1; None for all.
        deadline_ms: as for ``Engine.search``.
        cancel: as for ``Engine.search``.
        cache: keeps scores, as for ``Engine``.
        calibration: turns a score into a probability; by default the sigmoid of a logit.

    Returns:
        As from ``Engine.search``, with ``stage1`` ``given``. ``hit.candidate`` has the rank a text came
        with, and its score where it had one, else minus that rank; ``hit.passage.id`` is its place as a
        number of eight digits, so equal scores stay in the order they came.

    Raises:
        QueryError: the query is empty, too long or not text.
        InputError: a candidate is neither text nor a ``Candidate``, or a number is out of range.
        ModelError: the re-ranker is unknown, absent or damaged, or gave something other than scores.
        SearchCancelledError: ``cancel`` said so.
    """
    start = perf_counter()
    limits = Limits.of(start, deadline_ms, cancel)
    checked_text(query)
    if k is not None:
        checked_count("k", k)
    hits = tuple(_hit(place, each) for place, each in enumerate(candidates, start=1))
    reader = _loaded(reranker)
    if cache is not None:
        reader = CachedReranker(reader, cache)
    wanted = len(hits) if k is None else min(k, len(hits))
    stage1 = SearchResult(
        query=query,
        hits=hits[:wanted],
        candidates=hits,
        ranked=hits,
        timings=Timings(embed=0.0, search=0.0, rerank=0.0, total=0.0),
        stage1=GIVEN,
        reranker="none",
        k=wanted,
        scored=0,
    )
    result = second_pass(reader, stage1, calibration, limits, Pace())
    return replace(result, timings=replace(result.timings, total=(perf_counter() - start) * 1000))


def _hit(place: int, candidate: object) -> Hit:
    if isinstance(candidate, str):
        candidate = Candidate(candidate)
    if not isinstance(candidate, Candidate) or not isinstance(candidate.text, str):
        kind = type(candidate.text if isinstance(candidate, Candidate) else candidate).__name__
        raise InputError(f"candidate {place} must be text or a Candidate with text, got {kind}")
    score = float(-place) if candidate.score is None else float(candidate.score)
    passage = Passage(
        id=f"{place:08d}",
        document_id=candidate.id,
        text=candidate.text,
        start=0,
        end=len(candidate.text),
        source=candidate.id,
        line_end=candidate.text.count("\n") + 1,
        metadata=candidate.metadata,
    )
    return Hit(passage, score, place)


def _loaded(reranker: object) -> Reranker:
    if isinstance(reranker, str | Path):
        from ..reranking import load_reranker

        return load_reranker(reranker)
    if isinstance(reranker, Reranker):
        return reranker
    raise InputError(
        f"a re-ranker has a name and score(query, passages), got {type(reranker).__name__}; "
        "see load_reranker(name)"
    )
