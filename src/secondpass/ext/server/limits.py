"""How much a client may send and how long it may take; and noticing that it has gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError, error_answer, overloaded
from .settings import Limits

__all__ = ["UPLOAD_PATH", "RequestLimits"]

UPLOAD_PATH = "/v1/documents"
"""The path whose body may be large."""
_HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are answered under any load."""
_DRAINED = 64 * 2**20
_DRAIN_SECONDS = 2.0


class RequestLimits:
    """ASGI middleware: bounds requests at once, bodies and time; cancels what a vanished client asked for.

    A body is counted as it comes, so one without a length is bounded too. A handler whose client is gone is
    cancelled like any task; see ``WorkPool.run`` for what that does to work on a thread.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self._requests = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._requests >= self.limits.requests and scope["path"] not in _HEALTH:
            await _refuse(scope, receive, send, overloaded(f"{self._requests} requests at once"))
            return
        self._requests += 1
        body = _Body(self, scope, receive)
        try:
            await self._serve(scope, body, send)
        finally:
            self._requests -= 1
            self._held -= body.held

    def hold(self, size: int) -> None:
        """Note that so many more bytes are held.

        Raises:
            ApiError: together the bodies are too large.
        """
        if self._held + size > self.limits.bodies_bytes:
            raise overloaded("too much is being sent at once")
        self._held += size

    async def _serve(self, scope: Scope, body: _Body, send: Send) -> None:
        begun = complete = False

        async def outward(message: Message) -> None:
            nonlocal begun, complete
            begun = True
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await body.begin()
        except ApiError as exc:
            await _refuse(scope, body.raw, send, exc)
            return
        work = asyncio.ensure_future(self.app(scope, body.receive, outward))
        try:
            either: set[asyncio.Future[Any]] = {work, body.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or complete:  # what still runs after the answer may run on
                await work
                return
        finally:
            await _over(work)
            await body.close()
        refusal = body.ended.result()
        if refusal is not None and not begun:
            await _refuse(scope, body.raw, send, refusal)


class _Body:
    """The incoming half of one request.

    Attributes:
        held: bytes that came.
        raw: the server's own way to receive.
        ended: done when the handler is to be ended: with None where the client is gone, else with what to
            answer.
    """

    def __init__(self, owner: RequestLimits, scope: Scope, receive: Receive) -> None:
        self.held = 0
        self.ended: asyncio.Future[ApiError | None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self.raw = receive
        self._headers = Headers(scope=scope)
        large = scope["path"] == UPLOAD_PATH
        self._most = owner.limits.upload_bytes if large else owner.limits.body_bytes
        self._until = asyncio.get_running_loop().time() + owner.limits.seconds
        self._first: Message | None = None
        self._watch: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Refuse a body that is too large by its own word; where there is none, begin to watch.

        Raises:
            ApiError: 400 or 413.
        """
        length = self._headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdecimal()):
            raise ApiError(400, "length_invalid", "Content-Length is not a number")
        if length is not None and int(length) > self._most:
            raise self._too_large()
        if "transfer-encoding" not in self._headers and int(length or 0) == 0:
            self._first = await self.raw()
            self._watched(self._first)

    async def receive(self) -> Message:
        """Return the next message, as the server gives it; after the body only that the client is gone."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._watch is not None:
            await asyncio.shield(self.ended)
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(self._until):
                message = await self.raw()
            size = len(message.get("body", b""))
            if self.held + size > self._most:
                raise self._too_large()
            self._owner.hold(size)
        except TimeoutError:
            return await self._end(ApiError(408, "body_too_slow", "the body did not come in time"))
        except ApiError as exc:
            return await self._end(exc)
        self.held += size
        self._watched(message)
        return message

    async def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            await _over(self._watch)
        if not self.ended.done():
            self.ended.set_result(None)

    def _too_large(self) -> ApiError:
        return ApiError(
            413, "body_too_large", f"the body is larger than {self._most:,} bytes; send less at once"
        )

    async def _end(self, refusal: ApiError) -> Message:
        if not self.ended.done():
            self.ended.set_result(refusal)
        await asyncio.get_running_loop().create_future()  # until the handler is cancelled
        return {"type": "http.disconnect"}

    def _watched(self, message: Message) -> None:
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._watch = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self.raw())["type"] != "http.disconnect":
            pass
        if not self.ended.done():
            self.ended.set_result(None)


async def _over(task: asyncio.Future[Any]) -> None:
    """Cancel a task that still runs, and wait for its end."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody is left to look at it


async def _refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    if error.status == 413:
        await _drain(receive)
    answer = error_answer(scope["path"], error, scope.get("state", {}).get("request_id", ""))
    answer.headers["Connection"] = "close"  # the rest of the body is not read
    await answer(scope, receive, send)


async def _drain(receive: Receive) -> None:
    """Read on for a moment and keep nothing: a client that is still sending would not see the answer."""
    left = _DRAINED
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
