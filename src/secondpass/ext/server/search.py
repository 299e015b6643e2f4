"""``POST /v1/search`` and ``/v1/compare``: the shapes of ``search --json`` and ``compare --json``."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from ... import shapes
from ...calibration import weeded
from ...comparison import summarize
from ...engine import Engine
from ...types import Reranker
from .deciding import OFF, Chosen, MinPrecision, RerankerName, chosen
from .errors import ApiError, JsonAnswer
from .holder import Holder, calibrations, probabilities
from .replies import refusals
from .search_answers import CompareAnswer, SearchAnswer
from .state import State

__all__ = ["Count", "counts_of", "router"]

HITS = 3
Count = Annotated[int, Field(ge=1, le=2**31)]


class Counted(Protocol):
    """A body that asks for so many."""

    query: str
    k: int | None
    candidates: int | None


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(description="A question or a few words.")]
    k: Annotated[Count | None, Field(description="Hits; 3, or fewer where fewer candidates are wanted.")] = (
        None
    )
    candidates: Annotated[Count | None, Field(description="Passages that stage 1 hands to stage 2.")] = None
    stage1: Literal["dense", "lexical", "hybrid"] | None = None
    where: Annotated[dict[str, str] | None, Field(description="Metadata that passages must have.")] = None
    deadline_ms: Annotated[float | None, Field(gt=0, le=3_600_000, allow_inf_nan=False)] = None


class SearchBody(_Asked):
    """What to search for."""

    reranker: RerankerName = None
    min_precision: MinPrecision = None


class CompareBody(_Asked):
    """What to compare."""

    rerankers: Annotated[list[str] | None, Field(min_length=1, max_length=8)] = None


def router(state: State) -> APIRouter:
    """Return both routes."""
    holder = state.parts["index"] = Holder(state.settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            holder.close()

    routes = APIRouter(tags=["search"], lifespan=lifespan)

    @routes.post(
        "/v1/search",
        summary="Find the passages that answer a query",
        responses={200: {"model": SearchAnswer}, **refusals(404)},
    )
    async def search(body: SearchBody) -> JsonAnswer:
        counts = counts_of(state, body)
        stage2 = await chosen(state, body)
        cancel = threading.Event()
        found = await state.work.run(_search, state, holder, body, counts, stage2, cancel, cancel=cancel)
        return JsonAnswer(found)

    @routes.post(
        "/v1/compare",
        summary="Show what re-rankers change",
        responses={200: {"model": CompareAnswer}, **refusals(404)},
    )
    async def compare(body: CompareBody) -> JsonAnswer:
        counts = counts_of(state, body)
        names = dict.fromkeys(body.rerankers or [state.rerankers.default])
        if OFF in names:
            raise ApiError(422, "setting_invalid", "none changes nothing; name a re-ranker of GET /v1/models")
        readers = list(dict.fromkeys([await state.rerankers.get(name) for name in names]))
        cancel = threading.Event()
        found = await state.work.run(_compare, state, holder, body, counts, readers, cancel, cancel=cancel)
        return JsonAnswer(found)

    return routes


def _search(
    state: State,
    holder: Holder,
    body: SearchBody,
    counts: tuple[int, int],
    stage2: Chosen,
    cancel: threading.Event,
) -> dict[str, Any]:
    with holder.lent() as opened:
        warm = holder.warm(opened, body.stage1 or state.settings.stage1, stage2.reader, stage2.gate)
        result = warm.engine.search(
            body.query,
            counts[0],
            candidates=counts[1],
            where=body.where,
            deadline_ms=body.deadline_ms,
            cancel=cancel,
        )
    told: dict[str, Any] = {"min_precision": None, "nothing_relevant": False}
    if stage2.precision is not None:
        result, bar = weeded(result, warm.found, stage2.precision)
        told = {"min_precision": bar.shape(), "nothing_relevant": not result.hits}
    return {**shapes.search_result(result, counts[1]), **told}


def _compare(
    state: State,
    holder: Holder,
    body: CompareBody,
    counts: tuple[int, int],
    readers: list[Reranker],
    cancel: threading.Event,
) -> dict[str, Any]:
    with holder.lent() as opened:
        engine = Engine(
            opened.index,
            None,
            counts[1],
            body.stage1 or state.settings.stage1,
            probabilities(calibrations(opened, readers)),
            cache=opened.cache,
        )
        found = engine.compare(
            body.query, readers, counts[0], where=body.where, deadline_ms=body.deadline_ms, cancel=cancel
        )
    return shapes.comparisons([found], summarize([found]), counts[1])


def counts_of(state: State, body: Counted) -> tuple[int, int]:
    """Return hits and candidates; the one that was not asked for gives way."""
    limits = state.settings.limits
    if len(body.query) > limits.query_characters:
        raise ApiError(
            422, "query_too_long", f"a query has at most {limits.query_characters} characters here"
        )
    usual = state.settings.candidates
    candidates = body.candidates or max(body.k or HITS, usual)
    if candidates > limits.candidates:
        raise ApiError(
            422, "too_many_candidates", f"a search may ask for {limits.candidates} candidates here"
        )
    return body.k or min(HITS, candidates), candidates
