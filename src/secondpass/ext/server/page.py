"""The web page: plain files of the package, served from memory; nothing else on disk can be reached."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from .errors import ApiError
from .state import State

__all__ = ["router"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The kinds of files that are served; any other in the folder is left out."""


def router(state: State) -> APIRouter:
    """Return the routes of the page at ``/``, of the API's at ``/docs``, and their files in ``/assets/``."""
    del state  # the page asks the API like any client
    routes = APIRouter(include_in_schema=False)
    web = _read()

    @routes.get("/")
    async def page() -> Response:
        return _answer(web, "index.html")

    @routes.get("/docs")
    async def docs() -> Response:
        return _answer(web, "docs.html")

    @routes.get("/favicon.ico")
    async def icon() -> Response:
        return _answer(web, "icon.svg")

    @routes.get("/assets/{name}")
    async def asset(name: str) -> Response:
        return _answer(web, name)

    return routes


def _answer(web: dict[str, tuple[bytes, str]], name: str) -> Response:
    """Return a file of the page; ``no-cache`` lets a newer version show at once."""
    if name not in web:
        raise ApiError(404, "not_found", "the page has no such file")
    content, kind = web[name]
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _read() -> dict[str, tuple[bytes, str]]:
    """Return content and media type of each file of the page by its name."""
    found = {}
    for file in files(__package__).joinpath("web").iterdir():
        kind = _TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            found[file.name] = (file.read_bytes(), kind)
    return found
