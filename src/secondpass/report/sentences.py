"""The sentence of each hit that the re-ranker itself scores highest for the query."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from ..types import Hit, Reranker, SearchResult

__all__ = ["Highlights", "Span", "best_sentences", "sentences"]

Span = tuple[int, int]
"""Start and end (exclusive) in the passage's text, in characters."""
Highlights = Mapping[tuple[str, str, str], Span]
"""(re-ranker, query, passage id) to the span of the best sentence."""

MOST_SENTENCES = 24
"""Of one hit; a longer one is looked at around what the re-ranker read."""
MOST_CHARACTERS = 12_000
"""Of one hit, as far as sentences are looked for."""
LEAST_CHARACTERS = 12
"""Shorter pieces (``1.``, ``Yes.``) are no sentence to point at."""

# A blank line; a line that ends in a colon; before a point of a list, a heading, or ``name: ``.
_BLOCK = re.compile(r"\n[ \t]*\n\s*|(?<=:)\n|\n(?=[ \t]*(?:[-*+•|>#]|\d+[.)]|\w+:)\s)")
# Latin sentences, and CJK ones, whose full stops need no space after them.
_END = re.compile(r"(?:[.!?][\"'”\u2019)\]]*(?=\s+[\"'“\u2018(\[]*[^\Wa-z_])|[。\uff01\uff1f])\s*")
_ABBREVIATED = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|etc|Dr|Mr|Mrs|Ms|No|Fig|St|[A-Z])\.$")


def sentences(text: str) -> list[Span]:
    """Return the spans of a text's sentences, in order, without whitespace at their edges.

    A blank line, a heading or a new point of a list ends a sentence, a mere line break does not, and
    neither does the full stop of a common abbreviation.
    """
    spans: list[Span] = []
    for start, end in _blocks(text):
        cuts = [start, *(cut for cut in _cuts(text, start, end)), end]
        spans.extend(_trimmed(text, first, second) for first, second in pairwise(cuts))
    return [(start, end) for start, end in spans if end > start]


def _blocks(text: str) -> Iterator[Span]:
    start = 0
    for gap in _BLOCK.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _cuts(text: str, start: int, end: int) -> Iterator[int]:
    for stop in _END.finditer(text, start, end):
        if not _ABBREVIATED.search(text, max(start, stop.start() - 6), stop.start() + 1):
            yield stop.end()


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


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
