"""An answer as JSON; the shape is promised in docs/json.md, so only ever add to it."""

from __future__ import annotations

from typing import Any

from ..types import Hit
from .values import Answer, Citation, Given

__all__ = ["shape"]


def shape(value: Answer) -> dict[str, Any]:
    """Return the shape of ``ask --json``."""
    cited = {each.number: each for each in value.citations}
    return {
        "query": value.query,
        "answer": value.text,
        "refused": value.refused,
        "why": value.why or None,
        "llm": value.llm,
        "cut_off": value.cut_off,
        "citations": [_citation(each) for each in value.citations],
        "flags": [
            {"number": each.number, "sentence": each.sentence, "reason": each.reason} for each in value.flags
        ],
        "passages": [_passage(each, each.number in cited) for each in value.passages],
        "left_out": value.left_out,
        "prompt": [dict(each) for each in value.prompt],
        "usage": None
        if value.usage is None
        else {
            "prompt_tokens": value.usage.prompt_tokens,
            "answer_tokens": value.usage.answer_tokens,
            "estimated": value.usage.estimated,
        },
        "stage1": value.result.stage1,
        "reranker": value.result.reranker,
        "calibrated": value.result.calibrated,
        "timings_ms": {
            "search": round(value.timings.search, 3),
            "first": round(value.timings.first, 3),
            "write": round(value.timings.write, 3),
            "total": round(value.timings.total, 3),
        },
    }


def _citation(value: Citation) -> dict[str, Any]:
    text = value.hit.passage.text
    quotes = []
    for start, end in value.quotes:
        first = line_at(value.hit, start)
        quotes.append(
            {
                "text": text[start:end],
                "span": [start, end],
                "line_start": first,
                "line_end": line_at(value.hit, end - 1),
            }
        )
    return {"number": value.number, "passage_id": value.hit.passage.id, **_place(value.hit), "quotes": quotes}


def _passage(value: Given, cited: bool) -> dict[str, Any]:
    hit = value.hit
    return {
        "number": value.number,
        "cited": cited,
        "id": hit.passage.id,
        "document_id": hit.passage.document_id,
        **_place(hit),
        "text": hit.passage.text,
        "given": list(value.span),
        "tokens": value.tokens or None,
        "score": None if hit.unread else hit.score,
        "probability": hit.probability,
    }


def _place(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "source": passage.source or passage.document_id,
        "line_start": passage.line_start,
        "line_end": passage.line_end,
        "page": passage.page,
    }


def line_at(hit: Hit, at: int) -> int:
    r"""Return the line of its document, from 1, on which a character of a hit's text stands."""
    before = hit.passage.text[:at]
    return hit.passage.line_start + before.replace("\r\n", "\n").replace("\r", "\n").count("\n")
