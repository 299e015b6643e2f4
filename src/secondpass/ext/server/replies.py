"""What the OpenAPI document promises of answers: the one shape of errors, and when each comes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

__all__ = ["ErrorBody", "TeiErrorBody", "refusals"]


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="Stable, in snake_case.", examples=["query_invalid"])
    message: str = Field(description="What happened and what to do, for people.")
    request_id: str = Field(description="As in the header X-Request-ID and in the server's log.")


class ErrorBody(BaseModel):
    """The body of every answer other than success, TEI's path excepted."""

    error: ErrorDetail


class TeiErrorBody(BaseModel):
    """The same as clients of text-embeddings-inference read it, with our ``code``."""

    error: str
    error_type: str
    code: str


_WHEN = {
    400: "The body is not JSON, or the request cannot be read.",
    401: "The API key is missing or wrong.",
    403: "The Host header or the origin of the page is not one that is served.",
    404: "The index, or this machine, has nothing of that name.",
    408: "The body did not come in time.",
    413: "The body is larger than is allowed.",
    422: "A field is missing or wrong; the message says which.",
    429: "The server is busy; Retry-After says when to ask again.",
    501: "The server lacks an optional package that this needs.",
    502: "The language model failed.",
    503: "There is no index, it cannot be used now, or the server is stopping.",
    504: "The answer took too long.",
    507: "It could not be written to the disk.",
}


def refusals(
    *more: int, body: bool = True, shape: type[BaseModel] = ErrorBody
) -> dict[int | str, dict[str, Any]]:
    """Return ``responses`` of a route for its errors.

    Args:
        more: statuses besides those that every route may answer.
        body: whether the route reads a body.
        shape: of the errors of that path.
    """
    always = (400, 401, 403, 422, 429, 503, 504, *((408, 413) if body else ()))
    return {status: {"model": shape, "description": _WHEN[status]} for status in sorted({*always, *more})}
