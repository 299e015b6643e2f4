"""``secondpass mcp``: the index as tools for a host that speaks the Model Context Protocol."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import options, settings

if TYPE_CHECKING:
    from ..ext.mcp import HttpAddress, Library
    from ..index import Index
    from ..types import Reranker
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "mcp"
EXAMPLE = "secondpass mcp my_index"
PORT = 8766


def command(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="INDEX", help="Folder of the index; --index does the same.", show_default=False
        ),
    ] = None,
    index: options.IndexFolder = None,
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP on 127.0.0.1 instead of stdin and stdout.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Port for --http; 0 takes a free one.")
    ] = PORT,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Stage 2: auto, none, a name or a folder; repeatable, the first leads. [default: auto]",
            show_default=False,
        ),
    ] = None,
    k: options.K = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    deadline: options.Deadline = None,
    cache: options.Cache = None,
    quiet: options.Quiet = None,
) -> int:
    """Serve an index to MCP hosts.

    A host (Claude Desktop, an editor) starts this command and speaks to it over stdin and stdout: docs/mcp.md
    has the lines that register it. The tools only read: search, compare, read_passage, list_documents.
    """
    if folder is not None and index is not None:
        raise InputError("the index is given twice, as INDEX and as --index; leave one out")
    flags = {
        "index": folder if index is None else index,
        "reranker": reranker[0] if reranker else None,
        "k": k,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "deadline": deadline,
        "cache": cache,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    from ..ext.mcp import create_server, run_http, run_stdio
    from .opening import opened

    names = list(dict.fromkeys([chosen.reranker, *(reranker or [])[1:]]))
    names = [] if names[0] == "none" else [name for name in names if name != "none"]
    with opened(chosen, names) as (source, loaded):
        library = _library(chosen, source, dict(zip(names, loaded, strict=True)))
        try:
            server = create_server(library)
            if http:
                run_http(server, port, lambda address: _announce(address, chosen))
                return 0
            if sys.stdin.isatty() and not chosen.quiet:
                _say("a host starts this and speaks to it over stdin and stdout: docs/mcp.md; Ctrl+C ends it")
            run_stdio(server)
        finally:
            library.close()
    return 0


def _library(chosen: Settings, source: Index, rerankers: dict[str, Reranker]) -> Library:
    from ..ext.mcp import Library
    from ..scores import SCORES_FILE, ScoreCache

    return Library(
        source,
        rerankers,
        k=chosen.k,
        candidates=chosen.candidates,
        stage1=chosen.stage1,
        precision=chosen.precision,
        cache=ScoreCache(chosen.index / SCORES_FILE) if chosen.cache else None,
        gate=chosen.gate if chosen.gated else None,
        deadline_ms=chosen.deadline,
    )


def _announce(address: HttpAddress, chosen: Settings) -> None:
    if not chosen.quiet:
        _say(f"MCP at {address.url}; Ctrl+C ends it")


def _say(line: str) -> None:
    """Say it on stderr: stdout belongs to the protocol."""
    print(line, file=sys.stderr, flush=True)
