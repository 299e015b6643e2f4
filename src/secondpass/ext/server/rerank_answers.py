"""What each dialect's clients read: the same ranking in five shapes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from .rerank_bodies import Document
from .rerank_work import Ranked

__all__ = [
    "CohereAnswer",
    "InfinityAnswer",
    "JinaAnswer",
    "TeiHit",
    "VoyageAnswer",
    "cohere",
    "infinity",
    "jina",
    "tei",
    "voyage",
]


class _Hit(BaseModel):
    index: int
    relevance_score: float
    truncated: bool = False


class _DocumentHit(_Hit):
    document: dict[str, Any] | None = None


class _TextHit(_Hit):
    document: str | None = None


class CohereAnswer(BaseModel):
    """Cohere, v2."""

    id: str
    results: list[_Hit]
    meta: dict[str, Any]


class JinaAnswer(BaseModel):
    """Jina, with what Cohere v1 has besides."""

    id: str
    model: str
    usage: dict[str, int]
    results: list[_DocumentHit]
    meta: dict[str, Any]


class VoyageAnswer(BaseModel):
    """Voyage."""

    object: str
    data: list[_TextHit]
    model: str
    usage: dict[str, int]


class InfinityAnswer(BaseModel):
    """infinity."""

    object: str
    results: list[_TextHit]
    model: str
    usage: dict[str, int]
    id: str
    created: int


class TeiHit(BaseModel):
    """One of TEI's bare array."""

    index: int
    score: float
    text: str | None = None
    truncated: bool = False


def cohere(ranked: Ranked) -> dict[str, Any]:
    """Return Cohere's answer, v2: no documents."""
    return {"id": str(uuid.uuid4()), "results": _hits(ranked), "meta": _meta("2")}


def jina(ranked: Ranked, documents: Sequence[Document] | None) -> dict[str, Any]:
    """Return Jina's answer, which is Cohere's of v1 as well; documents only where they are given."""
    return {
        "id": str(uuid.uuid4()),
        "model": ranked.model,
        "usage": {"total_tokens": ranked.tokens},
        "results": _hits(ranked, None if documents is None else [_object(each) for each in documents]),
        "meta": _meta("1"),
    }


def voyage(ranked: Ranked, texts: Sequence[str] | None) -> dict[str, Any]:
    """Return Voyage's answer; texts only where they are given."""
    return {
        "object": "list",
        "data": _hits(ranked, texts),
        "model": ranked.model,
        "usage": {"total_tokens": ranked.tokens},
    }


def infinity(ranked: Ranked, texts: Sequence[str] | None) -> dict[str, Any]:
    """Return infinity's answer; ``document`` is null where no texts are given."""
    return {
        "object": "rerank",
        "results": [{"document": None, **hit} for hit in _hits(ranked, texts)],
        "model": ranked.model,
        "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens},
        "id": f"infinity-{uuid.uuid4()}",
        "created": int(time.time()),
    }


def tei(ranked: Ranked, texts: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return TEI's bare array; ``text`` only where texts are given."""
    return [
        {
            "index": each.index,
            **({} if texts is None else {"text": texts[each.index]}),
            "score": each.score,
            "truncated": each.truncated,
        }
        for each in ranked.hits
    ]


def _hits(ranked: Ranked, documents: Sequence[object] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "index": each.index,
            "relevance_score": each.score,
            **({} if documents is None else {"document": documents[each.index]}),
            "truncated": each.truncated,
        }
        for each in ranked.hits
    ]


def _object(document: Document) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def _meta(version: str) -> dict[str, Any]:
    return {
        "api_version": {"version": version, "is_experimental": False},
        "billed_units": {"search_units": 1},
    }
