"""``secondpass ask``: an answer from the documents, written by an LLM that cites them, or quoted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from . import calibrated, options, queries, settings
from .search import taken
from .settings import Settings

if TYPE_CHECKING:
    from ..answering import Answer, Asked
    from ..calibration import Lookup

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "ask"
EXAMPLE = 'secondpass ask "When do I get the deposit back?" --llm local'


def command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question; - reads it from stdin.")],
    index: options.IndexFolder = None,
    llm: options.LlmName = None,
    llm_url: options.LlmUrl = None,
    llm_model: options.LlmModel = None,
    llm_window: options.LlmWindow = None,
    reranker: options.RerankerName = None,
    k: options.K = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    where: options.Where = None,
    deadline: options.Deadline = None,
    cache: options.Cache = None,
    min_precision: options.MinPrecision = None,
    budget: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most tokens for passages [default: what the LLM's window leaves]."),
    ] = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Show on stderr what the LLM is sent.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Answer a question from the documents, with numbered sources.

    With an LLM (--llm local, or --llm-url) it writes the answer and its citations are checked; without, the
    best sentences are quoted. Nothing is sent anywhere but to --llm-url.
    """
    flags = {
        "index": index,
        "llm": llm,
        "llm_url": llm_url,
        "llm_model": llm_model,
        "llm_window": llm_window,
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
    prepared, found, threshold = _prepared(chosen, asked, conditions, budget)
    if show_prompt:
        from .ask_render import show_prompt as show

        show(prepared)
    if as_json:
        from ..answering import shape
        from . import jsonout

        jsonout.emit({**shape(_silently(prepared)), "threshold": threshold})
        return 0
    from .ask_render import show_answer

    said = [*taken(chosen, prepared.result.reranker), *calibrated.facts(prepared.result, found, None)]
    show_answer(prepared, said, threshold)
    return 0


def _silently(prepared: Asked) -> Answer:
    from ..answering import write

    pieces = write(prepared)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            finished: Answer = end.value
            return finished


def _prepared(
    chosen: Settings, query: str, conditions: dict[str, str] | None, budget: int | None
) -> tuple[Asked, dict[str, Lookup], float | None]:
    """Return the question with its passages, what calibration there is, and the threshold applied."""
    from ..answering import load_llm, prepare
    from ..engine import Engine
    from ..scores import SCORES_FILE, ScoreCache
    from .opening import opened

    rerankers = [] if chosen.reranker == "none" else [chosen.reranker]
    with ThreadPoolExecutor(1) as pool, opened(chosen, rerankers) as (source, loaded):
        loading = pool.submit(
            load_llm,
            chosen.llm,
            url=chosen.llm_url,
            model=chosen.llm_model,
            context_window=chosen.llm_window,
        )
        reader = loaded[0] if loaded else None
        kept = ScoreCache(chosen.index / SCORES_FILE) if chosen.cache and reader else None
        found = calibrated.looked_up(source.path, loaded, kept)
        threshold = None
        if chosen.min_precision is not None:
            name = "none" if reader is None else reader.name
            threshold = calibrated.least_probability(name, found, chosen.min_precision)
        engine = Engine(
            source,
            reader,
            chosen.candidates,
            chosen.stage1,
            calibrations=calibrated.usable(found),
            cache=kept,
            # A precision is promised of probabilities, and where the gate skips stage 2 there are none.
            gate=chosen.gate if chosen.gated and threshold is None else None,
        )
        prepared = prepare(
            engine,
            query,
            llm=loading.result(),
            k=chosen.k,
            budget=budget,
            threshold=threshold,
            where=conditions,
            deadline_ms=chosen.deadline,
        )
        return prepared, found, threshold
