"""Reading what is there over HTTP: documents, passages, models, and whether the server is alive and ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from ... import shapes
from ...errors import InputError
from .errors import ApiError, JsonAnswer
from .holder import Holder, Opened
from .replies import refusals
from .search_answers import DocumentAnswer, DocumentsAnswer, ModelsAnswer, PassageAnswer, StatusAnswer
from .state import State

__all__ = ["router"]

Limit = Annotated[int, Query(ge=1, le=1000, description="Most documents on one page.")]
Context = Annotated[int, Query(ge=0, le=20_000, description="Characters on either side.")]


def router(state: State) -> APIRouter:
    """Return the routes that change nothing."""
    holder: Holder = state.parts["index"]
    routes = APIRouter(tags=["read"])

    async def asked(function: Callable[..., dict[str, Any]], *given: Any) -> JsonAnswer:
        return JsonAnswer(await state.work.run(_lent, holder, function, *given))

    @routes.get(
        "/v1/documents",
        summary="List documents, in order of their ids",
        responses={200: {"model": DocumentsAnswer}, **refusals(body=False)},
    )
    async def documents(limit: Limit = 1000, after: str | None = None) -> JsonAnswer:
        return await asked(_documents, limit, after)

    @routes.get(
        "/v1/documents/{id:path}",
        summary="Read a document",
        responses={200: {"model": DocumentAnswer}, **refusals(404, body=False)},
    )
    async def document(id: str) -> JsonAnswer:  # noqa: A002
        return await asked(_document, id)

    @routes.get(
        "/v1/passages/{id:path}",
        summary="Read a passage and what stands around it",
        responses={200: {"model": PassageAnswer}, **refusals(404, body=False)},
    )
    async def passage(id: str, context: Context = 1000) -> JsonAnswer:  # noqa: A002
        return await asked(_passage, id, context)

    @routes.get(
        "/v1/models",
        summary="List the re-rankers that a request may name",
        responses={200: {"model": ModelsAnswer}, **refusals(body=False)},
    )
    async def models() -> JsonAnswer:
        names = await state.work.run(state.rerankers.names)
        data = [{"id": name, "object": "model", "owned_by": "local", "role": "reranker"} for name in names]
        return JsonAnswer({"object": "list", "data": data})

    @routes.get(
        "/healthz",
        summary="Whether the server is alive",
        responses={200: {"model": StatusAnswer}},
    )
    async def alive() -> JsonAnswer:
        return JsonAnswer({"status": "ok"})

    @routes.get(
        "/readyz",
        summary="Whether searches can be answered",
        responses={200: {"model": StatusAnswer}, **refusals(body=False)},
    )
    async def ready() -> JsonAnswer:
        if state.settings.index is not None:
            await state.work.run(_lent, holder, _nothing)
        return JsonAnswer({"status": "ready"})

    return routes


def _lent(holder: Holder, function: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    with holder.lent() as opened:
        try:
            return function(opened, *given)
        except InputError as exc:
            raise ApiError(404, "not_found", "the index holds nothing of that id") from exc


def _nothing(_: Opened) -> dict[str, Any]:
    return {}


def _documents(opened: Opened, limit: int, after: str | None) -> dict[str, Any]:
    found = sorted(opened.index.documents(), key=lambda each: each.id)
    behind = [each for each in found if after is None or each.id > after]
    page = [
        {"id": each.id, "source": each.source, "passages": each.passages, "characters": each.characters}
        for each in behind[:limit]
    ]
    return {"documents": page, "total": len(found), "next": page[-1]["id"] if len(behind) > limit else None}


def _document(opened: Opened, document_id: str) -> dict[str, Any]:
    found = opened.index.document(document_id)
    return {"id": found.id, "source": found.source, "text": found.text, "characters": len(found.text)}


def _passage(opened: Opened, passage_id: str, context: int) -> dict[str, Any]:
    found = opened.index.passage(passage_id)
    document = opened.index.document(found.document_id)
    return {
        "passage": shapes.passage(found),
        "before": document.text[max(0, found.start - context) : found.start],
        "after": document.text[found.end : found.end + context],
        "document": {"id": document.id, "source": document.source, "characters": len(document.text)},
    }
