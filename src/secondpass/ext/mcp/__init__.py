"""An index as an MCP server: four tools that only read, and its documents as resources.

``library`` answers (no MCP there); ``arguments`` says what the tools take, ``schemas`` what they give,
``texts`` puts it into words; ``tools`` brings these together; ``resources`` are the documents; ``serving``
builds the server of the official SDK, ``transports`` runs it. Needs the extra ``mcp``.
"""

from __future__ import annotations

import importlib.util

from ...errors import MissingExtraError

if importlib.util.find_spec("mcp") is None:
    raise MissingExtraError("mcp", "mcp", "the MCP server")

from .library import Library
from .serving import create_server
from .transports import HttpAddress, http_app, run_http, run_stdio

__all__ = ["HttpAddress", "Library", "create_server", "http_app", "run_http", "run_stdio"]
