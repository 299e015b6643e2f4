"""What a server logs: a line for each request, for people or as JSON; never a text that somebody sent.

A line holds the route (not the path, which can name a document), never a query string, a header, a body or
the message of an exception, since that may quote what was sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ACCESS", "AccessLog", "HumanLines", "JsonLines", "configure", "request_id"]

ACCESS = "secondpass.server.access"
"""Name of the logger of requests."""

request_id: ContextVar[str] = ContextVar("secondpass_request_id", default="")
"""That of the request being served, on worker threads too."""

_FIELDS = "fields"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: logged as ``debug``."""


class AccessLog:
    """ASGI middleware that logs each request once, when its answer has been sent.

    Stands inside ``RequestContext``, which gives a request its id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = logging.getLogger(ACCESS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = request_id.set(str(scope.get("state", {}).get("request_id", "")))
        start, status, sent, error = perf_counter(), 0, 0, ""

        async def outward(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, outward)
        except Exception as exc:
            status, error = status or 500, type(exc).__name__
            raise
        finally:
            self._write(scope, status, sent, perf_counter() - start, error)
            request_id.reset(token)

    def _write(self, scope: Scope, status: int, sent: int, seconds: float, error: str) -> None:
        route = str(getattr(scope.get("route"), "path", "other"))
        fields: dict[str, Any] = {
            "method": scope["method"] if scope["method"] in _METHODS else "other",
            "route": route,
            "status": status or 499,  # the client had gone before there was an answer
            "milliseconds": round(seconds * 1000, 3),
            "bytes_sent": sent,
        }
        if error:
            fields["error"] = error
        level = logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO
        self._log.log(
            level,
            "%s %s %s %.1f ms",
            fields["method"],
            route,
            fields["status"],
            seconds * 1000,
            extra={_FIELDS: fields},
        )


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``request_id``, more fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if own := request_id.get():
            line["request_id"] = own
        line |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line |= {"error": record.exc_info[0].__name__, "places": _places(record)}
        return json.dumps(line, ensure_ascii=True, default=str)


class HumanLines(logging.Formatter):
    """One line for a person: time, message, the first digits of the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        parts = [time, level + " ".join(record.getMessage().split())]
        if record.exc_info and record.exc_info[0] is not None:
            parts.append(f"({record.exc_info[0].__name__} at {' < '.join(reversed(_places(record)))})")
        if own := request_id.get():
            parts.append(f"[{own[:8]}]")
        return "".join(char if char.isprintable() else " " for char in " ".join(parts))


def _places(record: logging.LogRecord) -> list[str]:
    """Return where an exception came from, outermost first; its message may quote a document, so not that."""
    found = traceback.extract_tb(record.exc_info[2]) if record.exc_info else []
    return [f"{each.filename}:{each.lineno} in {each.name}" for each in found]


def configure(json_lines: bool, stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Have the loggers of secondpass and uvicorn write to ``stream`` (stderr by default), and nowhere else.

    Returns:
        The handler, so that it can be taken away again.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if json_lines else HumanLines())
    for name in ("secondpass", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True  # it would write paths and query strings
    return handler
