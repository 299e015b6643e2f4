"""From errors to answers: a status, a stable code, a sentence, and nothing of the caller's text."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ... import errors as trouble
from ...errors import SecondpassError

__all__ = [
    "DIALECT_PATHS",
    "TEI_PATH",
    "ApiError",
    "JsonAnswer",
    "error_answer",
    "install",
    "overloaded",
    "translated",
]

logger = logging.getLogger("secondpass.server")

TEI_PATH = "/rerank"
DIALECT_PATHS = frozenset({"/v1/rerank", "/v2/rerank"})
"""Here clients look for ``message`` (Cohere) or ``detail`` (Jina, Voyage) at the top of an error."""


class JsonAnswer(JSONResponse):
    """JSON in UTF-8; where a text of the caller's has half a surrogate pair, which has none, in ASCII."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        try:
            return super().render(content)
        except UnicodeEncodeError:
            return json.dumps(content, separators=(",", ":")).encode("ascii")


class ApiError(SecondpassError):
    """An answer other than success.

    Attributes:
        status: of HTTP.
        code: stable, in snake_case; clients may rely on it.
        retry_after: seconds after which it is worth asking again; None where it is not.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def overloaded(what: str, retry_after: int = 1) -> ApiError:
    """Return the answer where there is more to do than may wait."""
    return ApiError(429, "overloaded", f"the server is busy ({what}); ask again later", retry_after)


# The first class that fits counts: (class, status, code, Retry-After).
_KINDS: Sequence[tuple[type[SecondpassError], int, str, int | None]] = (
    (trouble.QueryError, 422, "query_invalid", None),
    (trouble.SettingsError, 422, "setting_invalid", None),
    (trouble.InputError, 422, "input_invalid", None),
    (trouble.LoadError, 422, "file_unreadable", None),
    (trouble.IndexMissingError, 503, "index_missing", None),
    (trouble.IndexLockedError, 503, "index_locked", 1),
    (trouble.IndexWriteError, 507, "index_not_writable", None),
    (trouble.StorageError, 503, "index_unusable", None),
    (trouble.ModelNotFoundError, 404, "model_not_found", None),
    (trouble.ModelError, 503, "model_unusable", None),
    (trouble.LlmError, 502, "llm_failed", None),
    (trouble.RemoteError, 502, "remote_failed", None),
    (trouble.MissingExtraError, 501, "extra_missing", None),
    (trouble.SearchCancelledError, 503, "cancelled", 1),
)


_WITHOUT_PATHS = {
    "index_missing": "this server has no index (yet), so there is nothing to search; add documents with "
    "POST /v1/documents, or with secondpass index on the server; re-ranking works without",
    "index_locked": "another process is writing to the index; ask again later",
    "index_not_writable": "the index cannot be written; look at the server's disk",
    "index_unusable": "the index cannot be used; secondpass status on the server says why",
    "model_unusable": "the model cannot be used; secondpass models verify on the server says why",
}
"""What clients are told where our own message names a folder of the server."""


def translated(exc: BaseException) -> ApiError:
    """Return what to answer to an error; one that nobody foresaw says no more than that."""
    if isinstance(exc, ApiError):
        return exc
    for kind, status, code, retry_after in _KINDS:
        if isinstance(exc, kind):
            return ApiError(status, code, _WITHOUT_PATHS.get(code) or str(exc), retry_after)
    return ApiError(500, "internal", "something went wrong inside; the server's log has more")


_ERROR_TYPES = {
    400: "Validation",
    413: "Validation",
    422: "Validation",
    424: "Backend",
    429: "Overloaded",
    503: "Unhealthy",
}
"""Names that text-embeddings-inference gives to kinds of errors."""


def error_answer(path: str, exc: ApiError, request_id: str) -> Response:
    """Return the answer to an error, in the shape that clients of that path read."""
    content: dict[str, Any]
    message = str(exc)
    if path == TEI_PATH:
        content = {"error": message, "error_type": _ERROR_TYPES.get(exc.status, "Backend"), "code": exc.code}
    else:
        content = {"error": {"code": exc.code, "message": message, "request_id": request_id}}
        if path in DIALECT_PATHS:
            content |= {"message": message, "detail": message}
    return JsonAnswer(content, exc.status, headers=exc.headers)


def install(app: FastAPI) -> None:
    """Have every error of the routes answered in our shape."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(SecondpassError, _on_error)


def request_id(request: Request) -> str:
    """Return the id under which the logs know a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


async def _on_error(request: Request, exc: Exception) -> Response:
    if isinstance(exc, trouble.StorageError):  # its text names folders and no document
        logger.warning("%s: %s", type(exc).__name__, exc)
    return error_answer(request.url.path, translated(exc), request_id(request))


_HTTP_CODES = {
    400: "request_invalid",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "type_unsupported",
}


async def _on_http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    code = _HTTP_CODES.get(exc.status_code, "request_invalid" if exc.status_code < 500 else "internal")
    answer = error_answer(
        request.url.path, ApiError(exc.status_code, code, str(exc.detail)), request_id(request)
    )
    answer.headers.update(exc.headers or {})
    return answer


async def _on_invalid(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    first = exc.errors()[0]
    if first.get("type") == "json_invalid":
        error = ApiError(400, "json_invalid", "the body is not JSON")
    elif tuple(first.get("loc", ())) == ("body",):
        error = ApiError(
            422, "request_invalid", "the body must be a JSON object, sent with Content-Type: application/json"
        )
    else:
        error = ApiError(422, "request_invalid", said(first))
    return error_answer(request.url.path, error, request_id(request))


def said(error: Any) -> str:
    """Return one finding of the validation in words, without the value, which may be a document."""
    place = ".".join(str(part) for part in error.get("loc", ()) if part not in ("body", "query", "path"))
    message = str(error.get("msg", "is not valid")).removeprefix("Value error, ")
    return f"{place}: {message}"[:500] if place else message[:500]
