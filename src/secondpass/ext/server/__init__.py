"""``secondpass serve``: re-ranking and search over HTTP for clients that exist already (extra ``server``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import MissingExtraError
from .settings import Limits, ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Limits", "ServerSettings", "create_app"]

_NEEDED = (("fastapi", "fastapi"), ("prometheus_client", "prometheus-client"), ("uvicorn", "uvicorn"))


def create_app(settings: ServerSettings | None = None) -> FastAPI:
    """Return the ASGI application; models and index are opened when it starts up.

    Args:
        settings: what to serve and how much of it; the defaults re-rank, without an index.

    Raises:
        MissingExtraError: a package of the extra ``server`` is not installed.
        SettingsError: the settings cannot be served with, e.g. an address for all without a key.
    """
    for package, name in _NEEDED:
        try:
            __import__(package)
        except ImportError as exc:
            raise MissingExtraError(name, "server", "the server") from exc
    from .app import create_app as create

    return create(settings or ServerSettings())
