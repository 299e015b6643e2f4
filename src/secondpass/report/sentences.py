"""The sentence of each hit that the re-ranker itself scores highest for the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from ..sentences import Span, sentences
from ..types import Hit, Reranker, SearchResult

__all__ = ["Highlights", "Span", "best_sentences", "sentences"]

Highlights = Mapping[tuple[str, str, str], Span]
"""(re-ranker, query, passage id) to the span of the best sentence."""

MOST_SENTENCES = 24
"""Of one hit; a longer one is looked at around what the re-ranker read."""
MOST_CHARACTERS = 12_000
"""Of one hit, as far as sentences are looked for."""
LEAST_CHARACTERS = 12
"""Shorter pieces (``1.``, ``Yes.``) are no sentence to point at."""


def best_sentences(reranker: Reranker, result: SearchResult) -> Highlights:
    """Return the best sentence of each hit, all scored in one call.

    A sentence is scored alone, as if it were a passage: a hint where to look, not what made the score
    of the whole passage. A hit of a single sentence has none that stands out and is left out.

    Args:
        reranker: the one that ranked ``result``.
        result: its hits are looked at, not its other candidates.
    """
    spans: list[tuple[Hit, list[Span]]] = []
    for hit in result.hits:
        found = [span for span in _shown(hit) if span[1] - span[0] >= LEAST_CHARACTERS]
        if len(found) > 1:
            spans.append((hit, found))
    texts = [hit.passage.text[start:end] for hit, found in spans for start, end in found]
    if not texts:
        return {}
    scores = [float(score) for score in reranker.score(result.query, texts)]
    starts = [0, *accumulate(len(found) for _, found in spans)]
    return {
        (result.reranker, result.query, hit.passage.id): _best(found, scores[first:last])
        for (hit, found), (first, last) in zip(spans, pairwise(starts), strict=True)
    }


def _shown(hit: Hit) -> list[Span]:
    """Return the sentences of what the re-ranker read, at most ``MOST_SENTENCES``."""
    reading = hit.reading
    start, end = (0, len(hit.passage.text)) if reading is None else (reading.start, reading.end)
    window = hit.passage.text[start : min(end, start + MOST_CHARACTERS)]
    return [(start + first, start + last) for first, last in sentences(window)[:MOST_SENTENCES]]


def _best(spans: Sequence[Span], scores: Sequence[float]) -> Span:
    """Return the first of the best; ``max`` keeps the first of equals."""
    return max(zip(spans, scores, strict=True), key=lambda pair: pair[1])[0]
