"""The ASGI application: features plugged together, each a module with ``router(state) -> APIRouter``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

from ... import __version__
from ...cores import usable_cores
from . import answers, documents, embeddings, errors, judgments, page, reading, rerank_routes, search
from .batching import Batcher
from .context import REQUEST_ID, RequestContext
from .limits import RequestLimits
from .logs import AccessLog
from .metrics import Measured, Metrics
from .rerankers import Rerankers
from .security import Guard
from .settings import ServerSettings
from .state import State
from .telemetry import Traced
from .work import WorkPool

__all__ = ["create_app"]

FEATURES: tuple[Callable[[State], APIRouter], ...] = (
    rerank_routes.router,
    search.router,
    reading.router,
    documents.router,
    judgments.router,
    embeddings.router,
    answers.router,
    page.router,
)
"""Each gives its routes; what it opens and closes stands in its router's ``lifespan``."""

_NONE_OF_THEIR_OWN: Any = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
"""FastAPI's own telemetry is off: it writes paths and messages of exceptions, which can quote a document.
Versions that have none ignore this. What we trace instead stands in ``telemetry``."""


def create_app(settings: ServerSettings) -> FastAPI:
    """Return the application for these settings; see ``secondpass.ext.server.create_app``."""
    state = _state(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        except Exception as exc:
            state.parts["failure"] = exc  # what a feature could not open, for whoever starts the server
            raise
        finally:
            state.stopping.set()
            await state.work.close()

    app = FastAPI(
        title="secondpass",
        version=__version__,
        summary="Two-stage retrieval over your own documents: search broadly, re-rank precisely.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=_NONE_OF_THEIR_OWN,
    )
    app.state.secondpass = state
    errors.install(app)
    _add_layers(app, state)
    app.include_router(state.metrics.router())
    for feature in FEATURES:
        app.include_router(feature(state))
    return app


def _state(settings: ServerSettings) -> State:
    limits, metrics = settings.limits, Metrics()
    cores = settings.workers or usable_cores()
    work = WorkPool(max(2, cores), limits.queue, limits.seconds)
    batcher = Batcher(cores, limits.pairs, settings.batch_ms, metrics)
    return State(settings, work, Rerankers(settings, work), batcher, metrics)


def _add_layers(app: FastAPI, state: State) -> None:
    """Put the layers around the routes, the innermost first."""
    settings = state.settings
    app.add_middleware(RequestLimits, limits=settings.limits)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Measured, metrics=state.metrics)
    app.add_middleware(AccessLog)
    app.add_middleware(Traced)
    app.add_middleware(RequestContext)
