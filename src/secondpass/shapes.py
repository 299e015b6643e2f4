"""The values as JSON, for the command line and for servers alike.

The shapes are promised in docs/json.md, so only ever add to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .comparison import Comparison, SecondPass, Summary
from .types import Hit, MetadataValue, Passage, SearchResult

if TYPE_CHECKING:
    from .index import AddReport, DocumentSummary, IndexStatus
    from .reranking import Precomputed

__all__ = [
    "Shape",
    "add_report",
    "comparison",
    "comparisons",
    "hit",
    "passage",
    "search_result",
    "status",
    "summary",
]

Shape = dict[str, Any]


def search_result(result: SearchResult, candidates: int) -> Shape:
    """Return the shape of ``search --json``; ``candidates`` is how many were asked for."""
    return {
        "query": result.query,
        "stage1": result.stage1,
        "reranker": result.reranker,
        "k": result.k,
        "candidates": candidates,
        **_read(result),
        "gated": result.gated,
        "calibrated": result.calibrated,
        "hits": [hit(each) for each in result.hits],
        "timings_ms": {
            "embed": _ms(result.timings.embed),
            "search": _ms(result.timings.search),
            "rerank": _ms(result.timings.rerank),
            "total": _ms(result.timings.total),
        },
    }


def _read(result: SearchResult) -> Shape:
    return {
        "scored": result.scored,
        "copied": result.copied,
        "cached": result.cached,
        "unread": result.unread,
        "truncated": result.truncated,
    }


def hit(value: Hit) -> Shape:
    """Return one hit; without stage 2 its ``candidate`` is its own stage-1 place."""
    before = value if value.candidate is None else value.candidate
    return {
        "rank": value.rank,
        "score": None if value.unread else value.score,
        "probability": value.probability,
        "tokens_seen": None if value.reading is None else value.reading.tokens_seen,
        "tokens_total": None if value.reading is None else value.reading.tokens_total,
        "candidate": {"rank": before.rank, "score": before.score, "distance": before.distance},
        "passage": passage(value.passage),
        "best_span": None if value.reading is None else [value.reading.start, value.reading.end],
        "also_in": [{"document_id": each.document_id, **_place(each)} for each in value.also_in],
        "unread": value.unread,
        "copied_from": value.copied_from,
    }


def passage(value: Passage) -> Shape:
    """Return ``passage`` of a hit: its text and where it stands."""
    return {
        "id": value.id,
        "document_id": value.document_id,
        **_place(value),
        "text": value.text,
        "metadata": {key: _finite(each) for key, each in value.metadata.items()},
    }


def _finite(value: MetadataValue) -> MetadataValue:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _place(passage: Passage) -> Shape:
    return {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "line_start": passage.line_start,
        "line_end": passage.line_end,
        "page": passage.page,
    }


def comparisons(values: Sequence[Comparison], over_all: Summary, candidates: int) -> Shape:
    """Return the shape of ``compare --json``; ``candidates`` is how many were asked for."""
    return {
        "k": over_all.k,
        "candidates": candidates,
        "comparisons": [comparison(each) for each in values],
        "summary": summary(over_all),
    }


def comparison(value: Comparison) -> Shape:
    """Return one entry of ``comparisons`` of ``compare --json``."""
    return {
        "query": value.query,
        "stage1": {
            "how": value.stage1.stage1,
            "hits": [hit(each) for each in value.stage1.hits],
            "timings_ms": {
                "embed": _ms(value.stage1.timings.embed),
                "search": _ms(value.stage1.timings.search),
            },
        },
        "rerankers": [_second_pass(each) for each in value.passes],
    }


def _second_pass(value: SecondPass) -> Shape:
    result = value.result
    return {
        "reranker": result.reranker,
        **_read(result),
        "calibrated": result.calibrated,
        "changed": value.changed,
        "new_first": value.new_first,
        "hits": [{**hit(each), "move": move} for each, move in zip(result.hits, value.moves, strict=True)],
        "timings_ms": {"rerank": _ms(result.timings.rerank), "total": _ms(result.timings.total)},
    }


def summary(value: Summary) -> Shape:
    """Return ``summary`` of ``compare --json``."""
    return {
        "queries": value.queries,
        "k": value.k,
        "timings_ms": {"embed": _ms(value.embed_ms), "search": _ms(value.search_ms)},
        "rerankers": [
            {
                "reranker": each.reranker,
                "mean_changed": round(each.mean_changed, 4),
                "changed_share": round(each.changed_share, 4),
                "new_first_share": round(each.new_first_share, 4),
                "rerank_ms": _ms(each.rerank_ms),
            }
            for each in value.passes
        ],
        "agreements": [
            {"rerankers": list(each.rerankers), "overlap": round(each.overlap, 4)}
            for each in value.agreements
        ],
    }


def _ms(milliseconds: float) -> float:
    return round(milliseconds, 3)


def add_report(report: AddReport, after: IndexStatus, kept: Precomputed | None = None) -> Shape:
    """Return the shape of ``index --json``."""
    return {
        "index": after.path,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "passages": report.passages,
        "embedded": report.embedded,
        "skipped": [
            {"path": each.path, "reason": each.reason, "error": each.error} for each in report.skipped
        ],
        "seconds": round(report.seconds, 3),
        "total": {"documents": after.documents, "passages": after.passages},
        "precomputed": None
        if kept is None
        else {
            "texts": kept.texts,
            "added": kept.added,
            "size_bytes": kept.size_bytes,
            "seconds": round(kept.seconds, 3),
        },
    }


def status(value: IndexStatus, documents: Sequence[DocumentSummary] | None) -> Shape:
    """Return the shape of ``status --json``; ``documents`` is a list only where it was asked for."""
    shape = {
        "index": value.path,
        "documents": value.documents,
        "passages": value.passages,
        "texts": value.texts,
        "embedder": value.embedder,
        "dimension": value.dimension,
        "splitter": dict(value.splitter),
        "store": value.store,
        "size_bytes": value.size_bytes,
        "generation": value.generation,
        "format": value.format,
        "pending": value.pending,
    }
    if documents is not None:
        shape["document_list"] = [
            {
                "id": each.id,
                "source": each.source,
                "passages": each.passages,
                "characters": each.characters,
            }
            for each in documents
        ]
    return shape
