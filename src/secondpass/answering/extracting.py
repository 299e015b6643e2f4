"""An answer without an LLM: the sentences of the hits that answer best, word for word."""

from __future__ import annotations

from collections.abc import Sequence

from ..sentences import Span, sentences
from ..types import Hit, Reranker
from ..wording import without_controls
from .values import Citation, Given
from .words import telling

__all__ = ["best_quotes", "quoted"]

SENTENCES = 3
"""How many are quoted."""
MOST_OF_A_HIT = 24
"""Sentences of one hit that are looked at, from where the re-ranker read on."""
LEAST_CHARACTERS = 12
"""Shorter pieces (``1.``, ``Yes.``) say nothing alone."""

Quote = tuple[Given, Span]


def best_quotes(query: str, passages: Sequence[Given], reranker: Reranker | None) -> list[Quote]:
    """Return the sentences that answer best, best first, none twice.

    The re-ranker scores each sentence alone, as if it were a passage, all in one call. Without one, it is
    the number of words shared with the query that counts, in the order of rank where that is equal.
    """
    found: dict[str, Quote] = {}
    for each in passages:
        for span in _worth_quoting(each.hit):
            found.setdefault(_flat(each.hit.passage.text[slice(*span)]), (each, span))
    texts = list(found)
    if not texts:
        return []
    if reranker is None:
        asked = telling(query)
        scores = [float(len(asked & telling(text))) for text in texts]
    else:
        scores = [float(score) for score in reranker.score(query, texts)]
    order = sorted(range(len(texts)), key=lambda at: (-scores[at], at))
    return [found[texts[at]] for at in order[:SENTENCES]]


def _worth_quoting(hit: Hit) -> list[Span]:
    """Return the sentences of what the re-ranker read; the whole passage where it has none to speak of."""
    text = hit.passage.text
    start = 0 if hit.reading is None else hit.reading.start
    spans = [(start + first, start + last) for first, last in sentences(text[start:])[:MOST_OF_A_HIT]]
    kept = [(first, last) for first, last in spans if last - first >= LEAST_CHARACTERS]
    return kept or spans[:1]


def quoted(quotes: Sequence[Quote]) -> tuple[str, tuple[Citation, ...]]:
    """Return quotes as the text of an answer, one a line, and as citations."""
    lines = [
        f"\u201c{without_controls(_flat(each.hit.passage.text[slice(*span)]))}\u201d [{each.number}]"
        for each, span in quotes
    ]
    by_number: dict[int, list[Span]] = {}
    hits = {each.number: each.hit for each, _ in quotes}
    for each, span in quotes:
        by_number.setdefault(each.number, []).append(span)
    citations = (
        Citation(number, hits[number], tuple(sorted(spans))) for number, spans in sorted(by_number.items())
    )
    return "\n".join(lines), tuple(citations)


def _flat(text: str) -> str:
    return " ".join(text.split())
