"""The answers of the tools in words, for a language model and for people who read along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...comparison import Comparison, SecondPass
from ...index import DocumentSummary
from ...types import Hit, Passage, SearchResult
from ...wording import STAGE1_SCORES, UNREAD, count, milliseconds, percent, without_controls
from ...wording import place as place_from
from .resources import uri_of

__all__ = ["comparison", "documents", "passage", "search"]


def search(result: SearchResult) -> str:
    """Return the hits of a search with their texts."""
    if not result.hits:
        return "No passage found."
    second = "without re-ranking" if result.reranker == "none" else f"re-ranked by {result.reranker}"
    if result.gated:
        second = "not re-ranked: the gate found stage 1 sure enough"
    head = (
        f"{count(len(result.hits), 'passage')} from {count(len(result.candidates), 'candidate')} "
        f"({result.stage1} search, {second}; {milliseconds(result.timings.total)})"
    )
    return "\n\n".join([head, *(_hit(each, result.stage1) for each in result.hits)])


def place(passage: Passage) -> str:
    """Return where a passage stands, its path whole: a host does not know our working directory."""
    return place_from(passage, Path("/"))


def _hit(hit: Hit, stage1: str) -> str:
    lines = [
        f"[{hit.rank}] {place(hit.passage)} ({_score(hit, stage1)})",
        f"passage_id: {hit.passage.id}   document: {uri_of(hit.passage.document_id)}",
        without_controls(hit.passage.text),
    ]
    if hit.also_in:
        lines.insert(2, f"the same text stands in {count(len(hit.also_in), 'other place')}")
    return "\n".join(lines)


def _score(hit: Hit, stage1: str) -> str:
    if hit.candidate is None:
        return f"{STAGE1_SCORES.get(stage1, 'score')} {hit.score:.3f}"
    before = f"stage 1 rank {hit.candidate.rank}"
    if hit.unread:
        return f"{UNREAD}, {before}"
    if hit.probability is None:
        return f"score {hit.score:.3f}, {before}"
    return f"probability {percent(hit.probability)}, {before}"


def comparison(value: Comparison) -> str:
    """Return stage 1's list and each re-ranked one, one line a hit."""
    if not value.stage1.hits:
        return "No passage found."
    first = [f"stage 1 ({value.stage1.stage1})"]
    first += [f"[{hit.rank}] {place(hit.passage)} passage_id {hit.passage.id}" for hit in value.stage1.hits]
    return "\n\n".join(["\n".join(first), *(_second_pass(each) for each in value.passes)])


def _second_pass(value: SecondPass) -> str:
    changed = count(value.changed, "passage")
    top = "another passage first" if value.new_first else "the same passage first"
    lines = [
        f"{value.result.reranker}: {changed} not in stage 1's list, {top} "
        f"({milliseconds(value.result.timings.rerank)})"
    ]
    for hit, move in zip(value.result.hits, value.moves, strict=True):
        score = _score(hit, value.result.stage1)
        lines.append(f"[{hit.rank}] {move}: {place(hit.passage)} ({score}) passage_id {hit.passage.id}")
    return "\n".join(lines)


def passage(shape: dict[str, Any]) -> str:
    """Return a passage in its document, marked off from what stands around it."""
    found, document = shape["passage"], shape["document"]
    parts = [
        f"{document['source']}, lines {found['line_start']}-{found['line_end']}, {document['uri']}",
        "--- before ---",
        shape["before"],
        "--- the passage ---",
        found["text"],
        "--- after ---",
        shape["after"],
    ]
    return without_controls("\n".join(parts))


def documents(found: Sequence[DocumentSummary], total: int, next_after: str | None) -> str:
    """Return a list of documents, one a line."""
    lines = [f"{len(found):,} of {count(total, 'document')}"]
    lines += [
        f"{each.source} ({count(each.passages, 'passage')}, {count(each.characters, 'character')}) "
        f"{uri_of(each.id)}"
        for each in found
    ]
    if next_after is not None:
        lines.append(f"More follow: ask again with after={next_after!r}")
    return without_controls("\n".join(lines))
