"""A second pass over candidates that a framework brings along, and the numbers it is to keep of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arguments import checked_text
from ..errors import InputError
from ..ranking import rank, sigmoid
from ..reranking import load_reranker
from ..scores import ask, check_finite
from ..types import Hit, Reading, Reranker, SearchResult, SupportsReadings

__all__ = ["Rescored", "hit_metadata", "loaded", "rescored"]


@dataclass(frozen=True, slots=True)
class Rescored:
    """One candidate after the second pass.

    Attributes:
        place: where it stood among the candidates, from 0.
        rank: where it stands now, from 1.
        score: higher is better; a cross-encoder's logit.
        probability: its sigmoid where the score is a logit, else None.
        truncated: whether the re-ranker could not read it whole.
    """

    place: int
    rank: int
    score: float
    probability: float | None
    truncated: bool

    def metadata(self, reranker: str, candidate_score: float | None) -> dict[str, Any]:
        """Return the numbers of both stages under the names that all our integrations use."""
        numbers: dict[str, Any] = {
            "relevance_score": self.score,
            "rerank_rank": self.rank,
            "candidate_rank": self.place + 1,
            "reranker": reranker,
        }
        if self.probability is not None:
            numbers["relevance_probability"] = self.probability
        if self.truncated:
            numbers["truncated"] = True
        if candidate_score is not None:
            numbers["candidate_score"] = float(candidate_score)
        return numbers


def loaded(choice: object, **settings: Any) -> Reranker:
    """Return the re-ranker that is meant: an object as it is, a name or a folder loaded.

    Raises:
        InputError: it is neither.
    """
    if isinstance(choice, str | Path):
        reranker: Reranker = load_reranker(choice, **settings)
        return reranker
    if isinstance(choice, Reranker):
        return choice
    raise InputError(
        f"a re-ranker is a name, a folder, or an object with name and score(), got {type(choice).__name__}"
    )


def rescored(reranker: Reranker, query: str, texts: Sequence[str]) -> list[Rescored]:
    """Return every candidate after the second pass, best first; equals stay in the order they came.

    Raises:
        QueryError: the query is empty or not text.
        ModelInvalidError: the re-ranker gave something other than one finite number for each.
    """
    checked_text(query)
    if not texts:
        return []
    given = ask(reranker, query, texts)
    check_finite(reranker, given, [f"number {place}" for place in range(1, len(texts) + 1)])
    readings = [each if isinstance(each, Reading) else None for each in given]
    scores = [each.score if isinstance(each, Reading) else each for each in given]
    logits = isinstance(reranker, SupportsReadings) and reranker.logits
    return [
        Rescored(place, position, score, sigmoid(score) if logits else None, _cut(readings[place]))
        for position, (place, score) in enumerate(rank(enumerate(scores)), start=1)
    ]


def _cut(reading: Reading | None) -> bool:
    return reading is not None and reading.tokens_seen < reading.tokens_total


def hit_metadata(hit: Hit, result: SearchResult) -> dict[str, Any]:
    """Return what a framework's document keeps of a hit: the passage's metadata, its place, both stages."""
    passage, first = hit.passage, hit.candidate or hit
    numbers: dict[str, Any] = {
        **passage.metadata,
        "source": passage.source,
        "document_id": passage.document_id,
        "line_start": passage.line_start,
        "line_end": passage.line_end,
        "candidate_score": first.score,
        "candidate_rank": first.rank,
        "stage1": result.stage1,
    }
    if passage.page is not None:
        numbers["page"] = passage.page
    if hit.unread:
        numbers["unread"] = True
    elif hit.candidate is not None:
        numbers |= {"relevance_score": hit.score, "rerank_rank": hit.rank, "reranker": result.reranker}
        if hit.probability is not None:
            numbers["relevance_probability"] = hit.probability
        if _cut(hit.reading):
            numbers["truncated"] = True
    return numbers
