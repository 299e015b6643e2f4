"""How far two ways to score the same pairs drift apart, and text to measure that on."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import InputError, ModelError
from .ranking import rank

if TYPE_CHECKING:
    from .index import Index
    from .types import Floats

__all__ = [
    "CANDIDATES",
    "QUERIES",
    "Asked",
    "Drift",
    "Scorer",
    "asked_of",
    "built_in_text",
    "drift",
    "spearman",
]

QUERIES = 50
CANDIDATES = 20
_TOP = 3
_QUERY_WORDS = 16

Numbers = npt.NDArray[np.float64]
Asked = tuple[str, Sequence[str]]
"""A query, and the texts of its candidates."""
Scorer = Callable[[str, Sequence[str]], "Floats"]
"""Gives each of some texts its score for a query, higher is better."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How the scores of one model in two precisions differ.

    Attributes:
        queries, pairs: how many were compared.
        largest, mean: of the differences between two scores of one pair, without sign.
        spearman: rank correlation over a query's candidates, mean over the queries.
        top3_changed: share of queries whose top 3 is another set of passages, 0 to 1.
        first_changed: share of queries with another passage in first place.
    """

    queries: int
    pairs: int
    largest: float
    mean: float
    spearman: float
    top3_changed: float
    first_changed: float


def drift(asked: Sequence[Asked], full: Scorer, small: Scorer) -> Drift:
    """Compare two ways to score the same pairs.

    Raises:
        InputError: no query has two candidates or more.
    """
    asked = [(query, texts) for query, texts in asked if len(texts) > 1]
    if not asked:
        raise InputError("drift needs a query with at least two candidates; index some text first")
    differences, correlations, sets, firsts = [], [], [], []
    for query, texts in asked:
        one, other = (np.asarray(score(query, texts), dtype=np.float64) for score in (full, small))
        differences.append(np.abs(one - other))
        correlations.append(spearman(one, other))
        best, second = _order(one), _order(other)
        sets.append(set(best[:_TOP]) != set(second[:_TOP]))
        firsts.append(best[0] != second[0])
    joined = np.concatenate(differences)
    return Drift(
        queries=len(asked),
        pairs=len(joined),
        largest=float(joined.max()),
        mean=float(joined.mean()),
        spearman=float(np.mean(correlations)),
        top3_changed=float(np.mean(sets)),
        first_changed=float(np.mean(firsts)),
    )


def spearman(one: Numbers, other: Numbers) -> float:
    """Return the rank correlation, ties at their mean rank; without any order on one side 0, on both 1."""
    ranks = [_ranks(values) for values in (one, other)]
    spreads = [float(values.std()) for values in ranks]
    if not all(spreads):
        return 1.0 if not any(spreads) else 0.0
    centred = [values - values.mean() for values in ranks]
    return float(np.mean(centred[0] * centred[1]) / (spreads[0] * spreads[1]))


def asked_of(index: Index, queries: int = QUERIES, candidates: int = CANDIDATES) -> list[Asked]:
    """Return queries in the words of an index, from documents spread over it, and their stage-1 candidates.

    A query is a sentence from the middle of a document, at most 16 words: what is measured is drift, and for
    that it need not be a good question.
    """
    summaries = [each for each in index.documents() if each.passages]
    step = max(1, len(summaries) // max(1, queries))
    asked: list[Asked] = []
    for summary in summaries[::step][:queries]:
        text = index.document(summary.id).text
        query = _sentence(text[len(text) // 2 :], skip=1) or _sentence(text)
        if query:
            hits = index.search(query, candidates)
            asked.append((query, [hit.passage.text for hit in hits]))
    return asked


def built_in_text(queries: int = QUERIES, candidates: int = CANDIDATES) -> list[Asked]:
    """Return queries and candidates from the documentation inside Python's standard library.

    Candidates are the paragraph that a query opens and neighbours of it, so that many are about one thing.
    """
    paragraphs = list(dict.fromkeys(_paragraphs()))
    if len(paragraphs) < 2:
        raise ModelError(
            "this Python came without its documentation (-OO, or a minimal build), and there is no index to "
            "measure on; index some text and name it with --index"
        )
    step = max(1, len(paragraphs) // queries)
    asked: list[Asked] = []
    for place in range(0, len(paragraphs), step):
        query = _sentence(paragraphs[place])
        start = max(0, min(place - candidates // 2, len(paragraphs) - candidates))
        if query:
            asked.append((query, paragraphs[start : start + candidates]))
    return asked[:queries]


def _order(scores: Numbers) -> list[str]:
    return [name for name, _ in rank((f"{place:06}", float(score)) for place, score in enumerate(scores))]


def _ranks(values: Numbers) -> Numbers:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _sentence(text: str, skip: int = 0) -> str:
    """Return the first sentence of some words behind those skipped, at most 16 words of it."""
    for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", text)[skip:]:
        words = part.split()
        if len(words) > 3 and any(character.isalpha() for character in part):
            return " ".join(words[:_QUERY_WORDS])
    return ""


def _paragraphs() -> Iterator[str]:
    """Yield paragraphs of help pages on the language, and of docstrings where those are missing."""
    topics: dict[str, str]
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        topics = {
            str(module): inspect.getdoc(module) or "" for module in (inspect, re, importlib.metadata, np)
        }
    for name in sorted(topics):
        for part in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(part.split())
            if 80 <= len(text) <= 1500:
                yield text
