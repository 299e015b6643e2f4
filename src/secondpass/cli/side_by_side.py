"""Human output of ``compare``: stage 1's list beside the re-ranked ones, and the figures over queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..comparison import Comparison, PassSummary, SecondPass, Summary
from ..types import Hit
from ..wording import UNREAD
from .passages import QueryWords, snippet
from .render import STAGE1_SCORES, flowing, how_read, percent, timings
from .terminal import INDENT, count, emit, milliseconds, place

__all__ = ["show_comparison", "show_summary", "verdict"]

LEAST_COLUMN = 40
"""Narrower columns are not read with pleasure: lists are stacked instead."""
GAP = 3
LEAST_TABLE = 80

_STYLES = {"new": "bold green", "up": "green", "down": "yellow", "same": "dim"}


def show_comparison(
    console: Console, comparison: Comparison, *, lines: int = 4, base: Path | None = None
) -> None:
    """Print one query's lists, side by side where the terminal is wide enough.

    Args:
        console: where to.
        comparison: what was found.
        lines: most lines of a passage's text.
        base: folder from which sources are shown; the working directory by default.
    """
    emit(console, Text(" ".join(comparison.query.split()), style="bold"), "")
    if not comparison.stage1.hits:
        emit(console, Text("no passage found", style="yellow"), "")
        return
    lists = 1 + len(comparison.passes)
    width = (console.width - GAP * (lists - 1)) // lists
    stacked = width < LEAST_COLUMN
    columns = _columns(console, comparison, console.width if stacked else width, lines, base)
    if stacked:
        for head, cells in columns:
            emit(console, head, *cells)
    else:
        emit(console, _beside(columns, width))
    for each in comparison.passes:
        emit(console, verdict(each, comparison.k, named=len(comparison.passes) > 1))
    emit(console, flowing(console.width, _timings(comparison), style="dim"), "")


Column = tuple[Text, list[RenderableType]]


def _columns(
    console: Console, comparison: Comparison, width: int, lines: int, base: Path | None
) -> list[Column]:
    words = QueryWords(comparison.query)
    stage1 = comparison.stage1

    def cell(hit: Hit, about: Text) -> RenderableType:
        return _cell(console, hit, about, words, width, lines, base)

    first = [cell(hit, _stage1_facts(hit, stage1.stage1)) for hit in stage1.hits]
    columns: list[Column] = [(_head(f"stage 1: {stage1.stage1}", width), first)]
    for each in comparison.passes:
        hits = zip(each.result.hits, each.moves, strict=True)
        cells = [cell(hit, _facts(hit, move)) for hit, move in hits]
        columns.append((_head(f"stage 2: {each.result.reranker}", width), cells))
    return columns


def _head(title: str, width: int) -> Text:
    head = Text(title, style="bold underline")
    head.truncate(width, overflow="ellipsis")
    return head


def _cell(
    console: Console, hit: Hit, about: Text, words: QueryWords, width: int, lines: int, base: Path | None
) -> RenderableType:
    head = Text().append(f"{hit.rank:<{INDENT}}", style="bold").append_text(about)
    inner = width - INDENT
    where = Text(_shortened(place(hit.passage, base), inner), style="cyan")
    text = snippet(console, hit.passage.text, words, inner, lines)
    return Group(head, Padding(where, (0, 0, 0, INDENT)), Padding(text, (0, 0, 1, INDENT)))


def _shortened(text: str, width: int) -> str:
    """Cut a long place at its front, between folders where that leaves enough: its end says file and line."""
    if len(text) <= width:
        return text
    end = text[len(text) - width + 1 :]
    return "…" + (end[end.index("/") :] if "/" in end else end)


def _stage1_facts(hit: Hit, stage1: str) -> Text:
    facts = Text(f"{STAGE1_SCORES[stage1]} {hit.score:.3f}", style="dim")
    if hit.distance is not None:
        facts.append(f", distance {hit.distance:.3f}")
    return facts


def _facts(hit: Hit, move: str) -> Text:
    facts = Text(move, style=_STYLES[move.split()[0]])
    if hit.candidate is not None and move != "same":
        facts.append(f" (was {hit.candidate.rank})", style="not bold dim")
    if hit.unread:
        return facts.append(f"  {UNREAD}", style="not bold yellow")
    facts.append(f"  score {hit.score:.3f}", style="not bold dim")
    if hit.probability is not None:
        facts.append(f" ({percent(hit.probability)})", style="not bold dim")
    return facts


def _beside(columns: Sequence[Column], width: int) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in columns:
        table.add_column(width=width)
    table.add_row(*(head for head, _ in columns))
    for row in zip_longest(*(cells for _, cells in columns), fillvalue=""):
        table.add_row(*row)
    return table


def verdict(each: SecondPass, k: int, named: bool) -> Text:
    """Return the sentence that says how much the second pass changed."""
    shown = len(each.result.hits)
    who = f"re-ranking with {each.result.reranker}" if named else "re-ranking"
    text = Text(f"{who} changed {each.changed} of {shown}")
    text.stylize("bold green" if each.changed else "bold")
    if each.result.unread:
        text.append(f" ({how_read(each.result)})", style="not bold yellow")
    if not each.changed and any(move != "same" for move in each.moves):
        text.append(f": the same {min(k, shown)} in another order", style="not bold")
    return text


def _timings(comparison: Comparison) -> list[str]:
    if len(comparison.passes) == 1:
        return timings(comparison.passes[0].result.timings, reranked=True)
    spent = comparison.stage1.timings
    stages = [f"embed {milliseconds(spent.embed)}", f"search {milliseconds(spent.search)}"]
    return stages + [
        f"{each.result.reranker} {milliseconds(each.result.timings.rerank)}" for each in comparison.passes
    ]


def show_summary(console: Console, summary: Summary) -> None:
    """Print the figures over several queries: a table, or a paragraph a re-ranker where that is too wide."""
    head = f"over {count(summary.queries, 'query')}"
    titles = (f"changed of {summary.k}", "queries changed", "new first hit", "re-rank")
    if console.width >= LEAST_TABLE:
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        table.add_column(head, overflow="fold")
        for title in titles:
            table.add_column(title, justify="right")
        for each in summary.passes:
            table.add_row(each.reranker, *_figures(each))
        emit(console, table)
    else:
        emit(console, Text(head, style="bold"))
        for each in summary.passes:
            figures = zip(titles, _figures(each), strict=True)
            pieces = [f"{title} {figure}" for title, figure in figures]
            emit(console, Text(each.reranker), flowing(console.width, pieces))
    for pair in summary.agreements:
        one, other = pair.rerankers
        emit(console, f"{one} and {other} share {pair.overlap:.0%} of their first {summary.k}")
    stage1 = [f"embed {milliseconds(summary.embed_ms)}", f"search {milliseconds(summary.search_ms)} a query"]
    emit(console, flowing(console.width, stage1, style="dim"))


def _figures(each: PassSummary) -> list[str]:
    return [
        f"{each.mean_changed:.2f}",
        f"{each.changed_share:.0%}",
        f"{each.new_first_share:.0%}",
        milliseconds(each.rerank_ms),
    ]
