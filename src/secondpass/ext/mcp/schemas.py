"""What each tool gives, as JSON schemas: the shapes of docs/json.md, so further keys may be added."""

from __future__ import annotations

from typing import Any

__all__ = ["COMPARE", "DOCUMENTS", "PASSAGE", "SEARCH"]

Schema = dict[str, Any]


def _one_of(*types: str) -> Schema:
    return {"type": list(types)}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TRUTH: Schema = {"type": "boolean"}

_PASSAGE = _object(
    id=TEXT,
    document_id=TEXT,
    source=TEXT,
    start=WHOLE,
    end=WHOLE,
    line_start=WHOLE,
    line_end=WHOLE,
    page=_one_of("integer", "null"),
    text=TEXT,
    metadata={"type": "object"},
)
_HIT = _object(
    rank=WHOLE,
    score=_one_of("number", "null"),
    probability=_one_of("number", "null"),
    candidate=_object(rank=WHOLE, score=NUMBER, distance=_one_of("number", "null")),
    passage=_PASSAGE,
    unread=TRUTH,
)
_READ = {"scored": WHOLE, "copied": WHOLE, "cached": WHOLE, "unread": WHOLE, "truncated": WHOLE}

SEARCH = _object(
    query=TEXT,
    stage1=TEXT,
    reranker=TEXT,
    k=WHOLE,
    candidates=WHOLE,
    **_READ,
    gated=TRUTH,
    calibrated=TRUTH,
    hits=_list(_HIT),
    timings_ms={"type": "object", "additionalProperties": NUMBER},
)

COMPARE = _object(
    query=TEXT,
    k=WHOLE,
    candidates=WHOLE,
    stage1=_object(how=TEXT, hits=_list(_HIT), timings_ms={"type": "object", "additionalProperties": NUMBER}),
    rerankers=_list(
        _object(
            reranker=TEXT,
            **_READ,
            calibrated=TRUTH,
            changed=WHOLE,
            new_first=TRUTH,
            hits=_list(_HIT),
            timings_ms={"type": "object", "additionalProperties": NUMBER},
        )
    ),
)

PASSAGE = _object(
    passage=_PASSAGE,
    before=TEXT,
    after=TEXT,
    document=_object(id=TEXT, source=TEXT, characters=WHOLE, uri=TEXT),
)

DOCUMENTS = _object(
    documents=_list(_object(id=TEXT, source=TEXT, passages=WHOLE, characters=WHOLE, uri=TEXT)),
    total=WHOLE,
    next_after=_one_of("string", "null"),
)
