"""``secondpass serve``: re-ranking, search and the web page on a local port."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ..errors import InputError, SettingsError
from . import options, settings

if TYPE_CHECKING:
    from ..ext.server import Limits, ServerSettings
    from .settings import Settings

__all__ = ["EXAMPLE", "KEY_VARIABLE", "NAME", "command"]

NAME = "serve"
EXAMPLE = "secondpass serve my_index --allow ~/notes"
KEY_VARIABLE = "SECONDPASS_API_KEY"
HOST, PORT = "127.0.0.1", 8765


def command(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="INDEX", help="Folder of the index; --index does the same.", show_default=False
        ),
    ] = None,
    index: options.IndexFolder = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; others than this need a key.")
    ] = HOST,
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes a free one.")] = PORT,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Stage 2: auto, none, gated, a name or a folder; repeatable, first leads. [default: auto]",
            show_default=False,
        ),
    ] = None,
    rerank_only: Annotated[
        bool, typer.Option("--rerank-only", help="No index: only the re-rank endpoints.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="DIR",
            help="Paths below it may be indexed over HTTP; repeatable. [default: none]",
            show_default=False,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="FILE",
            help=f"Every request must bring the key in this file (or in {KEY_VARIABLE}).",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve other machines without a key.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A further name this server may be addressed by; repeatable.",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            "--cors",
            metavar="ORIGIN",
            help="Let pages from there use it, e.g. https://example.org; repeatable.",
            show_default=False,
        ),
    ] = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    min_precision: options.MinPrecision = None,
    llm: options.LlmName = None,
    llm_url: options.LlmUrl = None,
    llm_model: options.LlmModel = None,
    llm_window: options.LlmWindow = None,
    cache: options.Cache = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Threads that score. [default: the cores]", show_default=False
        ),
    ] = None,
    max_documents: Annotated[
        int | None,
        typer.Option(
            "--max-documents", metavar="N", help="Texts in one request. [default: 1000]", show_default=False
        ),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            "--max-requests",
            metavar="N",
            help="Requests at once; more are told to come back. [default: 128]",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="Most time for a request. [default: 60]", show_default=False
        ),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
    quiet: options.Quiet = None,
) -> int:
    """Serve re-ranking, search and a web page.

    Clients of Cohere, Jina, Voyage, TEI and infinity can be pointed at it: docs/serve.md. It listens on this
    machine only unless told otherwise. Ctrl-C finishes what is in flight and stops.
    """
    if folder is not None and index is not None:
        raise InputError("the index is given twice, as INDEX and as --index; leave one out")
    flags = {
        "index": folder if index is None else index,
        "reranker": reranker[0] if reranker else None,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "min_precision": min_precision,
        "llm": llm,
        "llm_url": llm_url,
        "llm_model": llm_model,
        "llm_window": llm_window,
        "cache": cache,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    from ..ext.server import ServerSettings

    wanted = ServerSettings(
        index=None if rerank_only else chosen.index,
        reranker=chosen.reranker,
        rerankers=_named(reranker, chosen),
        candidates=chosen.candidates,
        stage1=chosen.stage1,
        precision=chosen.precision,
        gate=chosen.gate,
        gated=chosen.gated,
        min_precision=chosen.min_precision,
        cache=chosen.cache,
        llm=chosen.llm,
        llm_url=chosen.llm_url,
        llm_model=chosen.llm_model,
        llm_window=chosen.llm_window,
        host=host,
        port=port,
        api_key=_key(api_key),
        insecure=insecure,
        allowed_folders=tuple(Path(each).expanduser().resolve() for each in allow or []),
        allowed_hosts=tuple(allow_host or []),
        cors_origins=tuple(cors or []),
        workers=workers,
        limits=_limits(max_documents, max_requests, timeout),
    )
    _serve(wanted, chosen, log_json)
    return 0


def _named(given: list[str] | None, chosen: Settings) -> tuple[str, ...]:
    """Return what requests may name besides the first; `gated` needs a gate and asks for its re-ranker."""
    further = (given or [])[1:]
    if settings.GATED in further and chosen.gate is None:
        raise SettingsError(
            "a re-ranker is 'gated', but no gate is set; fit one with: secondpass worth-it --write"
        )
    behind = [] if chosen.gate is None else [chosen.gate.reranker]
    return tuple(each for each in (*further, *behind) if each != settings.GATED)


def _limits(documents: int | None, requests: int | None, seconds: float | None) -> Limits:
    from ..ext.server import Limits

    limits = Limits()
    if documents is not None:
        limits = replace(limits, documents=documents)
    if requests is not None:
        limits = replace(limits, requests=requests)
    return limits if seconds is None else replace(limits, seconds=seconds)


def _serve(wanted: ServerSettings, chosen: Settings, log_json: bool) -> None:
    from ..ext.server import create_app

    app = create_app(wanted)  # first of all: it says where a package is missing
    from ..answering import check_llm

    check_llm(wanted.llm, url=wanted.llm_url)
    from ..ext.server.logs import configure
    from ..ext.server.running import address_of, listen, run
    from ..ext.server.telemetry import export_spans

    flush_spans = export_spans()
    listener = listen(wanted.host, wanted.port)
    configure(log_json)
    try:
        run(app, listener, wanted, lambda: _announce(address_of(listener), wanted, chosen))
    finally:
        flush_spans()
    if not chosen.quiet:
        _say("stopped")


def _announce(url: str, wanted: ServerSettings, chosen: Settings) -> None:
    if chosen.quiet:
        return
    where = "re-ranking only, no index" if wanted.index is None else f"index {wanted.index}"
    if wanted.index is not None and not wanted.index.is_dir():
        where += " (not there yet: the first document makes it)"
    _say(f"secondpass at {url}; {where}; stage 2 {_stage2(wanted)}")
    _say(f"  page {url}/   API {url}/docs   re-rank {url}/v2/rerank, /v1/rerank, /rerank")
    if wanted.llm != "none" and (wanted.llm != "auto" or wanted.llm_url is not None):
        _say(f"  answers {url}/v1/answer, written by {_writer(wanted)}")
    if wanted.api_key is not None:
        _say("  every request needs the API key: Authorization: Bearer KEY")
    elif wanted.insecure:
        _say("  WARNING: everyone who reaches this address can use it (--insecure)")
    _say("  Ctrl-C stops it")


def _stage2(wanted: ServerSettings) -> str:
    asked = f"{wanted.reranker} (let through by the gate)" if wanted.gated else wanted.reranker
    return asked if wanted.min_precision is None else f"{asked}, precision {wanted.min_precision:g}"


def _writer(wanted: ServerSettings) -> str:
    """Name the language model; of a URL no more than its host, since the rest may hold a key."""
    if wanted.llm in ("auto", "endpoint"):
        return (
            f"{wanted.llm_model or 'the model'} at {urlsplit(wanted.llm_url or '').netloc.rpartition('@')[2]}"
        )
    return "the local model" if wanted.llm == "local" else Path(wanted.llm).name


def _key(file: str | None) -> str | None:
    """Return the API key from a file or the environment; it is never shown."""
    if file is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise SettingsError(f"cannot read the API key from {file}: {reason}; check the path") from exc
    if not key:
        raise SettingsError(f"the file {file} holds no API key; put one line into it")
    return key


def _say(line: str) -> None:
    """Say it on stderr, beside the log."""
    print(line, file=sys.stderr, flush=True)
