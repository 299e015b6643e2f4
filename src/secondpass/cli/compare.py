"""``secondpass compare``: what the second pass changes, query by query and over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import calibrated, html_out, options, queries, settings

if TYPE_CHECKING:
    from pathlib import Path

    from ..comparison import Comparison, Summary
    from ..report import Highlights
    from ..types import Reranker
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "compare"
EXAMPLE = (
    'secondpass compare "Are there any risks or downsides discussed?" --reranker late-interaction '
    "--reranker minilm-l6"
)


def command(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Questions; - reads one from stdin.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="A file with one query a line; - reads stdin.",
            show_default=False,
        ),
    ] = None,
    index: options.IndexFolder = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Stage 2: auto, a name or a folder; repeatable. [default: auto]",
            show_default=False,
        ),
    ] = None,
    k: options.K = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    where: options.Where = None,
    deadline: options.Deadline = None,
    summary_only: Annotated[
        bool, typer.Option("--summary", help="Only the figures over all queries.")
    ] = False,
    html: html_out.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Show what re-ranking changes.

    Stage 1's list stands beside the re-ranked ones, with the move of each hit: new (it was not among
    stage 1's first k), up 5, down 2, same. Several queries end in a summary.
    """
    flags = {
        "index": index,
        "k": k,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "quiet": quiet,
        "deadline": deadline,
    }
    chosen = settings.load(flags)
    asked = queries.from_arguments(texts or [], file)
    names = list(dict.fromkeys(reranker or [chosen.reranker]))
    if "none" in names:
        raise InputError("compare shows what a re-ranker changes, 'none' changes nothing; name another one")
    report = html_out.destination(html)
    comparisons, highlights = _compare(chosen, names, asked, queries.where(where), report is not None)
    from ..comparison import summarize

    _show(comparisons, summarize(comparisons), chosen, as_json, summary_only)
    if report is not None:
        _write(report, comparisons, highlights)
    return 0


def _compare(
    chosen: Settings, names: list[str], asked: list[str], where: dict[str, str] | None, marked: bool
) -> tuple[list[Comparison], Highlights]:
    """Compare query by query; ``marked`` also finds the best sentence of each hit, for a report."""
    from ..engine import Engine
    from .opening import opened
    from .progress import counting

    with opened(chosen, names) as (source, rerankers):
        known = calibrated.usable(calibrated.looked_up(source.path, rerankers))
        engine = Engine(source, None, chosen.candidates, chosen.stage1, calibrations=known)
        with counting("comparing", len(asked), chosen.quiet or len(asked) == 1) as advance:
            comparisons: list[Comparison] = []
            highlights: dict[tuple[str, str, str], tuple[int, int]] = {}
            for query in asked:
                compared = engine.compare(
                    query, rerankers, chosen.k, where=where, deadline_ms=chosen.deadline
                )
                comparisons.append(compared)
                if marked:
                    highlights.update(_best_sentences(rerankers, compared))
                advance()
    return comparisons, highlights


def _best_sentences(rerankers: list[Reranker], compared: Comparison) -> Highlights:
    from ..report import best_sentences

    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for reranker, each in zip(rerankers, compared.passes, strict=True):
        found.update(best_sentences(reranker, each.result))
    return found


def _write(path: Path, comparisons: list[Comparison], highlights: Highlights) -> None:
    from ..report import Stamp, compare_page

    html_out.write(path, compare_page(comparisons, Stamp.now(), highlights))


def _show(
    comparisons: list[Comparison], summary: Summary, chosen: Settings, as_json: bool, summary_only: bool
) -> None:
    if as_json:
        from . import jsonout

        shown = [] if summary_only else comparisons
        jsonout.emit(jsonout.comparisons(shown, summary, chosen.candidates))
        return
    from . import side_by_side, terminal

    console = terminal.output()
    for each in [] if summary_only else comparisons:
        side_by_side.show_comparison(console, each, lines=4 if len(comparisons) == 1 else 2)
    if summary_only or len(comparisons) > 1:
        side_by_side.show_summary(console, summary)
