"""Who may ask: the Host header, the origin of a page, the key; and the headers that keep browsers safe."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ApiError, error_answer
from .settings import ServerSettings, is_loopback

__all__ = ["OPEN_PATHS", "SAFE_HEADERS", "Guard", "allowed_path"]

OPEN_PATHS = ("/", "/assets/", "/docs", "/openapi.json", "/healthz", "/readyz", "/favicon.ico")
"""Paths that need no key, since they hold nothing of anyone's; one with a slash at its end stands for all
below it. A browser cannot send a key with the page itself; the page asks for it."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Sent with every answer, unless the answer has its own."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware that refuses requests before their body is read.

    - The Host header must name this server. A page elsewhere that has its own name point to 127.0.0.1 (DNS
      rebinding) sends that name.
    - A request that changes or computes something and comes from a page of another origin is refused; not
      answering with CORS headers would let it happen and only hide the answer.
    - Where a key is set, it must come as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self._hosts = _host_names(settings)
        self._origins = frozenset(settings.cors_origins)
        self._key = None if settings.api_key is None else settings.api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ApiError as exc:
            answer = error_answer(scope["path"], exc, scope.get("state", {}).get("request_id", ""))
            answer.headers["Connection"] = "close"  # its body is not read
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (self._hosts is not None and host_name(hosts[0]) not in self._hosts):
            raise ApiError(
                403,
                "host_refused",
                "the Host header does not name this server; address it by 127.0.0.1 or localhost, or start "
                "it with --allow-host NAME",
            )
        self._check_origin(scope["method"], headers, hosts[0])
        if self._key is not None and not _is_open(scope["path"]) and scope["method"] != "OPTIONS":
            _check_key(headers, self._key)

    def _check_origin(self, method: str, headers: Headers, host: str) -> None:
        if method in _READING:
            return
        origin = headers.get("origin")
        foreign = origin is not None and origin not in self._origins and urlsplit(origin).netloc != host
        if foreign or (origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site")):
            raise ApiError(
                403,
                "origin_refused",
                "pages of other origins may not use this server; start it with --cors ORIGIN to let one",
            )


def _check_key(headers: Headers, key: bytes) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = headers.get("x-api-key", "")
    if not given.strip():
        raise ApiError(401, "key_missing", "this server wants an API key: Authorization: Bearer KEY")
    if not hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), key):
        raise ApiError(401, "key_wrong", "the API key is not the one this server was started with")


def _is_open(path: str) -> bool:
    return any(
        path == each or (len(each) > 1 and each[-1] == "/" and path.startswith(each)) for each in OPEN_PATHS
    )


def _host_names(settings: ServerSettings) -> frozenset[str] | None:
    """Return the names that a Host header may have; None where any will do."""
    own = {host_name(name) for name in settings.allowed_hosts}
    if is_loopback(settings.host):
        return frozenset({"localhost", "127.0.0.1", "::1", host_name(settings.host)} | own)
    return frozenset(own | {host_name(settings.host)}) if own else None


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def allowed_path(path: str, folders: Iterable[Path]) -> Path:
    """Return a path that a client named, resolved, if it lies below one of the allowed folders.

    Links are followed first, so none leads out. Whether something is there is told only inside the folders.

    Raises:
        ApiError: 403 where it lies elsewhere or no folder is allowed, 422 where it is no path.
    """
    allowed = [folder.resolve() for folder in folders]
    if not allowed:
        raise ApiError(
            403,
            "paths_not_allowed",
            "this server indexes no paths; start it with --allow DIR, or send the documents themselves",
        )
    if not path or "\0" in path or len(os.fsencode(path)) > 4096:
        raise ApiError(422, "path_invalid", "that is no path of a file or folder")
    try:
        real = Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # a loop of links, a name that is too long
        raise ApiError(422, "path_invalid", "that path cannot be followed") from exc
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise ApiError(
            403, "path_not_allowed", "that path is outside the folders this server may read (--allow)"
        )
    if not real.exists():
        raise ApiError(422, "path_missing", "nothing is there; check the path")
    return real
