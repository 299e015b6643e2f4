"""The outermost layer: an id for each request, safe headers on each answer, and an answer to every error."""

from __future__ import annotations

import logging
import re
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import error_answer, translated
from .security import SAFE_HEADERS

__all__ = ["REQUEST_ID", "RequestContext"]

REQUEST_ID = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger("secondpass.server")


class RequestContext:
    """ASGI middleware around all others.

    ``scope["state"]["request_id"]`` is the client's ``X-Request-ID`` where that is a plain word, else a new
    one. An error that nothing else answered is logged by its kind and place, since its text may quote a
    document, and answered 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        own = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = own
        begun = False

        async def outward(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = own
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, outward)
        except Exception as exc:  # noqa: BLE001  the last resort, so that a client always hears something
            _log(exc, own)
            if not begun:
                await error_answer(scope["path"], translated(exc), own)(scope, receive, outward)


def _log(exc: Exception, request_id: str) -> None:
    places = [
        f"{each.filename}:{each.lineno} in {each.name}" for each in traceback.extract_tb(exc.__traceback__)
    ]
    logger.error(
        "request %s: %s at %s",
        request_id,
        type(exc).__name__,
        " < ".join(reversed(places)) or "no place known",
    )
