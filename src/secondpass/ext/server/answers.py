"""``POST /v1/answer``: an answer from the documents, as ``ask --json`` gives it, whole or piece by piece."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from ...answering import Answer, Asked, Llm, load_llm, prepare, shape, write
from ...errors import SecondpassError
from ...types import Reranker
from .errors import JsonAnswer, request_id, translated
from .holder import Holder
from .replies import refusals
from .search import OFF, Count, counts_of
from .state import State

__all__ = ["router"]

_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["text", "answer", "error"]},
        "data": {"type": "string", "description": "JSON: a piece of the text, the whole, or the error."},
    },
    "required": ["event", "data"],
}
"""One of the events of a stream, for the OpenAPI document."""
_SECONDS = 300.0
"""For opening a model of some gigabytes."""


class AnswerBody(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(description="A question.")]
    k: Annotated[Count | None, Field(description="Most passages that the answer may rest on; 3.")] = None
    candidates: Annotated[Count | None, Field(description="Passages that stage 1 hands to stage 2.")] = None
    reranker: Annotated[str | None, Field(description="`none` turns stage 2 off.")] = None
    stage1: Literal["dense", "lexical", "hybrid"] | None = None
    where: Annotated[dict[str, str] | None, Field(description="Metadata that passages must have.")] = None
    deadline_ms: Annotated[float | None, Field(gt=0, le=3_600_000, allow_inf_nan=False)] = None
    stream: Annotated[
        bool,
        Field(description="Server-sent events: `text` for each piece, then `answer`, the whole; or `error`."),
    ] = False


class AnswerShape(BaseModel):
    """``ask --json``."""

    query: str
    answer: str
    refused: bool
    why: str | None
    llm: str
    cut_off: bool
    citations: list[dict[str, Any]]
    flags: list[dict[str, Any]]
    passages: list[dict[str, Any]]
    left_out: int
    prompt: list[dict[str, str]]
    usage: dict[str, Any] | None
    stage1: str
    reranker: str
    calibrated: bool
    timings_ms: dict[str, float]


def router(state: State) -> APIRouter:
    """Return the route."""
    holder: Holder = state.parts["index"]
    writer = _Writer(state)
    routes = APIRouter(tags=["answer"])
    told: dict[int | str, dict[str, Any]] = {
        200: {"model": AnswerShape, "content": {"text/event-stream": {"schema": _EVENT}}}
    }

    @routes.post(
        "/v1/answer",
        summary="Answer a question from the documents, with its sources",
        responses={**told, **refusals(404, 501, 502)},
    )
    async def answer(body: AnswerBody, request: Request) -> Response:
        counts = counts_of(state, body)
        name = body.reranker or state.settings.reranker
        reader = None if name == OFF else await state.rerankers.get(name)
        llm = await state.work.run(writer.get, seconds=_SECONDS)
        cancel = threading.Event()
        asked = await state.work.run(
            _prepared, state, holder, body, counts, reader, llm, cancel, cancel=cancel
        )
        if body.stream:
            events = _events(state, asked, cancel, request_id(request))
            return StreamingResponse(events, media_type="text/event-stream")
        return JsonAnswer(shape(await state.work.run(_written, asked, cancel, cancel=cancel)))

    return routes


class _Writer:
    """The language model of the settings, opened when it is first needed; without one, answers are quotes."""

    def __init__(self, state: State) -> None:
        self._settings = state.settings
        self._lock = threading.Lock()
        self._llm: Llm | None = None

    def get(self) -> Llm | None:
        """Return it."""
        settings = self._settings
        with self._lock:
            if self._llm is None:
                self._llm = load_llm(
                    settings.llm,
                    url=settings.llm_url,
                    model=settings.llm_model,
                    context_window=settings.llm_window,
                )
            return self._llm


def _prepared(
    state: State,
    holder: Holder,
    body: AnswerBody,
    counts: tuple[int, int],
    reader: Reranker | None,
    llm: Llm | None,
    cancel: threading.Event,
) -> Asked:
    with holder.lent() as opened:
        engine = holder.engine(opened, body.stage1 or state.settings.stage1, reader)
        return prepare(
            engine,
            body.query,
            llm=llm,
            k=counts[0],
            candidates=counts[1],
            where=body.where,
            deadline_ms=body.deadline_ms,
            cancel=cancel,
        )


def _written(
    asked: Asked, cancel: threading.Event, on_text: Callable[[str], None] = lambda _: None
) -> Answer:
    pieces = write(asked, cancel)
    while True:
        try:
            on_text(next(pieces))
        except StopIteration as end:
            finished: Answer = end.value
            return finished


async def _events(state: State, asked: Asked, cancel: threading.Event, request: str) -> AsyncIterator[str]:
    """Yield the pieces as events while a worker writes; when nobody listens any more, it is told to stop."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    def said(piece: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    work = asyncio.ensure_future(state.work.run(_written, asked, cancel, said, cancel=cancel))
    work.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while (piece := await pieces.get()) is not None:
            yield _event("text", {"text": piece})
        try:
            yield _event("answer", shape(await work))
        except SecondpassError as exc:  # the status is sent already; what happened is told as an event
            error = translated(exc)
            yield _event(
                "error", {"error": {"code": error.code, "message": str(error), "request_id": request}}
            )
    finally:
        cancel.set()
        work.cancel()


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
