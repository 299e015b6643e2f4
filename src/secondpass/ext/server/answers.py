"""``POST /v1/answer``: an answer from the documents, as ``ask --json`` gives it, whole or piece by piece."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from ...answering import Answer, Asked, Llm, load_llm, prepare, shape, write
from ...calibration import least_probability
from ...errors import ModelError, SecondpassError
from .deciding import OFF, Chosen, MinPrecision, RerankerName, chosen
from .errors import ApiError, JsonAnswer, overloaded, request_id, translated
from .holder import Holder
from .replies import refusals
from .search import Count, counts_of
from .state import State
from .work import WorkPool

__all__ = ["router"]

logger = logging.getLogger("secondpass.server")

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
_AT_ONCE = 8
"""Answers that a server elsewhere is asked for at once."""
_WAITING = 8
"""Questions that wait for the language model; more are answered 429."""
_RETRY_SECONDS = 5
_NO_MODEL = "the language model of this server cannot be used; secondpass ask on the server says why"


class AnswerBody(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(description="A question.")]
    k: Annotated[Count | None, Field(description="Most passages that the answer may rest on; 3.")] = None
    candidates: Annotated[Count | None, Field(description="Passages that stage 1 hands to stage 2.")] = None
    reranker: RerankerName = None
    min_precision: MinPrecision = None
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
    threshold: float | None


def router(state: State) -> APIRouter:
    """Return the route."""
    holder: Holder = state.parts["index"]
    writer = state.parts["writer"] = _Writer(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await writer.close()

    routes = APIRouter(tags=["answer"], lifespan=lifespan)
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
        with ExitStack() as seat:
            seat.enter_context(writer.seat())
            stage2 = await chosen(state, body)
            llm = await state.work.run(writer.get, seconds=_SECONDS)
            cancel = threading.Event()
            ready = await state.work.run(
                _prepared, state, holder, body, counts, stage2, llm, cancel, cancel=cancel
            )
            if not body.stream:
                return JsonAnswer(_shape(ready, await writer.written(ready, cancel)))
            begun = _Begun(writer, ready, cancel, seat.pop_all())
        return StreamingResponse(begun.events(request_id(request)), media_type="text/event-stream")

    return routes


@dataclass(frozen=True, slots=True)
class _Ready:
    """A question with its passages, and the least probability that these had to have."""

    asked: Asked
    threshold: float | None


class _Writer:
    """The language model of the settings, opened when it is first needed; without one, answers are quotes.

    A model in this process writes one answer after the other, on a thread of its own, so that searches go on
    meanwhile; a server elsewhere is asked for several at once.
    """

    def __init__(self, state: State) -> None:
        self._settings = settings = state.settings
        self._quoting = state.work
        self._lock = threading.Lock()
        self._llm: Llm | None = None
        self._seats = 0
        own = settings.llm not in ("auto", "none", "endpoint")
        self.pool = WorkPool(1 if own else _AT_ONCE, _WAITING, settings.limits.seconds)

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Count who is being answered or waits for it.

        Raises:
            ApiError: 429 where too many do.
        """
        if self._seats >= self.pool.workers + _WAITING:
            raise overloaded(f"{self._seats} answers are being written or wait", _RETRY_SECONDS)
        self._seats += 1
        try:
            yield
        finally:
            self._seats -= 1

    def get(self) -> Llm | None:
        """Return it."""
        settings = self._settings
        with self._lock:
            if self._llm is None:
                try:
                    self._llm = load_llm(
                        settings.llm,
                        url=settings.llm_url,
                        model=settings.llm_model,
                        context_window=settings.llm_window,
                    )
                except ModelError as exc:  # its text names a folder of the server
                    logger.warning("%s: %s", type(exc).__name__, exc)
                    raise ApiError(503, "model_unusable", _NO_MODEL) from exc
            return self._llm

    async def written(
        self, ready: _Ready, cancel: threading.Event, on_text: Callable[[str], None] = lambda _: None
    ) -> Answer:
        """Return the answer when it is written; ``on_text`` is given its pieces, on another thread."""
        pool = self._quoting if ready.asked.llm is None else self.pool
        return await pool.run(_written, ready.asked, cancel, on_text, cancel=cancel)

    async def close(self) -> None:
        """Wait for the answers under way."""
        await self.pool.close()


def _prepared(
    state: State,
    holder: Holder,
    body: AnswerBody,
    counts: tuple[int, int],
    stage2: Chosen,
    llm: Llm | None,
    cancel: threading.Event,
) -> _Ready:
    with holder.lent() as opened:
        warm = holder.warm(opened, body.stage1 or state.settings.stage1, stage2.reader, stage2.gate)
        threshold = None
        if stage2.precision is not None:
            name = OFF if stage2.reader is None else stage2.reader.name
            threshold = least_probability(name, warm.found, stage2.precision)
        asked = prepare(
            warm.engine,
            body.query,
            llm=llm,
            k=counts[0],
            candidates=counts[1],
            threshold=threshold,
            where=body.where,
            deadline_ms=body.deadline_ms,
            cancel=cancel,
        )
        return _Ready(asked, threshold)


def _written(asked: Asked, cancel: threading.Event, on_text: Callable[[str], None]) -> Answer:
    with closing(write(asked, cancel)) as pieces:
        while True:
            try:
                on_text(next(pieces))
            except StopIteration as end:
                finished: Answer = end.value
                return finished


def _shape(ready: _Ready, answer: Answer) -> dict[str, Any]:
    return {**shape(answer), "threshold": ready.threshold}


class _Begun:
    """An answer that a worker writes while its pieces are sent; its seat is free when the worker has done."""

    def __init__(self, writer: _Writer, ready: _Ready, cancel: threading.Event, seat: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        self._ready = ready
        self._cancel = cancel
        self._seat = seat
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def said(piece: str) -> None:
            loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

        self._work = asyncio.ensure_future(writer.written(ready, cancel, said))
        self._work.add_done_callback(self._done)

    async def events(self, request: str) -> AsyncIterator[str]:
        """Yield the pieces as events; when nobody listens any more, the worker is told to stop."""
        try:
            while (piece := await self._pieces.get()) is not None:
                yield _event("text", {"text": piece})
            try:
                yield _event("answer", _shape(self._ready, await self._work))
            except SecondpassError as exc:  # the status is sent already; what happened is told as an event
                error = translated(exc)
                told = {"code": error.code, "message": str(error), "request_id": request}
                yield _event("error", {"error": told})
        finally:
            self._cancel.set()
            self._work.cancel()

    def _done(self, work: asyncio.Future[Answer]) -> None:
        self._seat.close()
        self._pieces.put_nowait(None)
        if not work.cancelled():
            work.exception()  # nobody may be left to look at it


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
