"""``secondpass search``: the best passages for one query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import calibrated, options, queries, settings
from .settings import Settings

if TYPE_CHECKING:
    from ..calibration import Lookup
    from ..types import SearchResult

__all__ = ["EXAMPLE", "NAME", "command", "taken"]

NAME = "search"
EXAMPLE = 'secondpass search "What are the key benefits mentioned?" --k 5'


def command(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A question or a few words; - reads it from stdin.")
    ],
    index: options.IndexFolder = None,
    reranker: options.RerankerName = None,
    k: options.K = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    where: options.Where = None,
    deadline: options.Deadline = None,
    cache: options.Cache = None,
    min_precision: options.MinPrecision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Find the passages that answer a query.

    Stage 1 searches the whole index; stage 2 reads each candidate together with the query.
    """
    flags = {
        "index": index,
        "reranker": reranker,
        "k": k,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "deadline": deadline,
        "cache": cache,
        "min_precision": min_precision,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    asked, conditions = queries.one(query), queries.where(where)
    result, found = _search(chosen, asked, conditions)
    bar = None
    if chosen.min_precision is not None:
        result, bar = calibrated.weeded(result, found, chosen.min_precision)
    if as_json:
        from . import jsonout

        jsonout.emit({**jsonout.search_result(result, chosen.candidates), **calibrated.shape(result, bar)})
        return 0
    from . import render, terminal

    said = [*taken(chosen, result.reranker), *calibrated.facts(result, found, bar)]
    nothing = calibrated.nothing(bar) if bar is not None and bar.left_out else "no passage found"
    render.show_search(terminal.output(), result, said, nothing=nothing)
    return 0


def _search(
    chosen: Settings, asked: str, conditions: dict[str, str] | None
) -> tuple[SearchResult, dict[str, Lookup]]:
    """Return the answer, and what calibration there is for the re-ranker."""
    from ..engine import Engine
    from ..scores import SCORES_FILE, ScoreCache
    from .opening import opened

    rerankers = [] if chosen.reranker == "none" else [chosen.reranker]
    with opened(chosen, rerankers) as (source, loaded):
        reader = loaded[0] if loaded else None
        kept = ScoreCache(chosen.index / SCORES_FILE) if chosen.cache and reader else None
        found = calibrated.looked_up(source.path, loaded, kept)
        # A precision is promised of probabilities, and where the gate skips stage 2 there are none.
        gate = chosen.gate if chosen.gated and chosen.min_precision is None else None
        engine = Engine(
            source,
            reader,
            chosen.candidates,
            chosen.stage1,
            calibrations=calibrated.usable(found),
            cache=kept,
            gate=gate,
        )
        return engine.search(asked, chosen.k, where=conditions, deadline_ms=chosen.deadline), found


def taken(chosen: Settings, reranker: str) -> list[str]:
    """Return what a footer says was used: stage 1's way, the re-ranker and where it was found."""
    if reranker == "none":
        off = "off"
        if chosen.gated and chosen.gate is not None:
            off = f"skipped by the gate ({chosen.gate.feature} >= {chosen.gate.threshold:.4g})"
        return [f"stage 1 {chosen.stage1}", f"stage 2 {off}"]
    from .opening import origin

    auto = "auto, " if chosen.reranker == "auto" else "let through by the gate, " if chosen.gated else ""
    return [f"stage 1 {chosen.stage1}", f"stage 2 {reranker} ({auto}{origin(chosen.reranker)})"]
