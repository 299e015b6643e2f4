"""What searches and readings answer, for the OpenAPI document; the shapes are those of ``--json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

__all__ = [
    "CompareAnswer",
    "DocumentAnswer",
    "DocumentsAnswer",
    "ModelsAnswer",
    "PassageAnswer",
    "SearchAnswer",
    "StatusAnswer",
]

Milliseconds = dict[str, float]


class Place(BaseModel):
    """Where a text stands: offsets in characters, lines from 1, a page where there are pages."""

    document_id: str
    source: str
    start: int
    end: int
    line_start: int
    line_end: int
    page: int | None


class PassageShape(Place):
    """A passage."""

    id: str
    text: str
    metadata: dict[str, str | float | bool | None]


class CandidateShape(BaseModel):
    """A hit's place after stage 1."""

    rank: int
    score: float
    distance: float | None


class HitShape(BaseModel):
    """A hit; without stage 2 its ``candidate`` is its own place."""

    rank: int
    score: float | None
    probability: float | None
    tokens_seen: int | None
    tokens_total: int | None
    candidate: CandidateShape
    passage: PassageShape
    best_span: list[int] | None
    also_in: list[Place]
    unread: bool
    copied_from: str | None


class _Read(BaseModel):
    scored: int
    copied: int
    cached: int
    unread: int
    truncated: int
    reranker: str
    calibrated: bool
    timings_ms: Milliseconds


class MinPrecisionShape(BaseModel):
    """What hits had to reach: a probability, how many lay below it, and the best there was."""

    precision: float
    threshold: float
    left_out: int
    best_probability: float | None


class SearchAnswer(_Read):
    """``search --json``."""

    query: str
    stage1: str
    k: int
    candidates: int
    gated: bool
    hits: list[HitShape]
    min_precision: MinPrecisionShape | None
    nothing_relevant: bool


class MovedHit(HitShape):
    """A hit and how stage 2 moved it: ``new``, ``up 5``, ``down 2`` or ``same``."""

    move: str


class SecondPassShape(_Read):
    """What a re-ranker made of the candidates."""

    changed: int
    new_first: bool
    hits: list[MovedHit]


class Stage1Shape(BaseModel):
    """The first stage of a comparison."""

    how: str
    hits: list[HitShape]
    timings_ms: Milliseconds


class ComparisonShape(BaseModel):
    """One query."""

    query: str
    stage1: Stage1Shape
    rerankers: list[SecondPassShape]


class CompareAnswer(BaseModel):
    """``compare --json``."""

    k: int
    candidates: int
    comparisons: list[ComparisonShape]
    summary: dict[str, Any]


class DocumentRow(BaseModel):
    """A document in a list."""

    id: str
    source: str
    passages: int
    characters: int


class DocumentsAnswer(BaseModel):
    """A page of documents; ``next`` goes into ``after`` for the next page."""

    documents: list[DocumentRow]
    total: int
    next: str | None


class DocumentAnswer(BaseModel):
    """A document."""

    id: str
    source: str
    text: str
    characters: int


class DocumentHead(BaseModel):
    """A document without its text."""

    id: str
    source: str
    characters: int


class PassageAnswer(BaseModel):
    """A passage with what stands around it."""

    passage: PassageShape
    before: str
    after: str
    document: DocumentHead


class ModelRow(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    owned_by: str
    role: str


class ModelsAnswer(BaseModel):
    """OpenAI's list."""

    object: Literal["list"]
    data: list[ModelRow]


class StatusAnswer(BaseModel):
    """Alive or ready."""

    status: str
