"""The re-rank endpoints, in the dialects of Cohere, Jina, Voyage, TEI and infinity."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from . import rerank_answers as answers
from .errors import ApiError, JsonAnswer
from .replies import TeiErrorBody, refusals
from .rerank_bodies import OneBody, PlainBody, TwoBody, dialect_of, plain_dialect_of
from .rerank_work import Asked, reranked, texts_of
from .state import State

__all__ = ["router"]


def router(state: State) -> APIRouter:
    """Return the routes; the default re-ranker is opened before the first request."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await state.rerankers.get()
        except ApiError as exc:  # who starts a server may know the folders that a client may not
            raise exc.__cause__ or exc from None
        try:
            yield
        finally:
            await state.batcher.close()

    routes = APIRouter(tags=["re-rank"], lifespan=lifespan)

    @routes.post(
        "/v2/rerank", summary="Cohere v2", responses={200: {"model": answers.CohereAnswer}, **refusals(404)}
    )
    async def cohere(body: TwoBody, request: Request) -> JsonAnswer:
        ranked = await reranked(
            state,
            Asked(
                query=body.query,
                texts=texts_of(body.documents),
                model=body.model,
                top=body.top_n,
                max_tokens=body.max_tokens_per_doc,
                client=_client(request),
            ),
        )
        return JsonAnswer(answers.cohere(ranked))

    @routes.post(
        "/v1/rerank",
        summary="Jina, Cohere v1, Voyage",
        responses={200: {"model": answers.JinaAnswer | answers.VoyageAnswer}, **refusals(404)},
    )
    async def one(body: OneBody, request: Request) -> JsonAnswer:
        return JsonAnswer(await _one(state, body, _client(request)))

    @routes.post(
        "/rerank",
        summary="TEI, infinity",
        responses={
            200: {"model": list[answers.TeiHit] | answers.InfinityAnswer},
            **refusals(404, shape=TeiErrorBody),
        },
    )
    async def plain(body: PlainBody, request: Request) -> JsonAnswer:
        return JsonAnswer(await _plain(state, body, _client(request)))

    return routes


async def _one(state: State, body: OneBody, client: str) -> Any:
    dialect = dialect_of(body)
    texts = texts_of(body.documents, body.rank_fields)
    top = body.top_n if body.top_n is not None else body.top_k
    ranked = await reranked(
        state,
        Asked(
            query=body.query,
            texts=texts,
            model=body.model,
            top=top,
            whole=body.truncation is False,
            max_tokens=body.max_tokens_per_doc,
            client=client,
        ),
    )
    if dialect == "voyage":
        return answers.voyage(ranked, texts if body.return_documents else None)
    wanted = body.return_documents
    if wanted is None:  # left out, it means yes at Jina and no at Cohere
        wanted = dialect == "jina"
    return answers.jina(ranked, body.documents if wanted else None)


async def _plain(state: State, body: PlainBody, client: str) -> Any:
    dialect = plain_dialect_of(body)
    if dialect is None:
        raise ApiError(
            422, "request_invalid", "send either texts (as TEI does) or documents (as infinity does)"
        )
    texts = body.texts if body.texts is not None else texts_of(body.documents or [])
    from_left = (body.truncation_direction or "").lower() == "left"
    ranked = await reranked(
        state,
        Asked(
            query=body.query,
            texts=texts,
            model=body.model,
            top=body.top_n if dialect == "infinity" else None,
            raw=body.raw_scores,
            whole=body.truncate is False or from_left,  # only the end of a text is ever left out
            client=client,
        ),
    )
    if dialect == "tei":
        return answers.tei(ranked, texts if body.return_text else None)
    return answers.infinity(ranked, texts if body.return_documents else None)


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
