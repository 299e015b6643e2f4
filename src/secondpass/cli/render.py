"""Human output of ``search``: the hits, where each came from, and what was taken to find them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..types import Hit, SearchResult, Timings
from ..wording import STAGE1_SCORES, UNREAD, percent
from .passages import QueryWords, block
from .terminal import INDENT, count, emit, milliseconds, place

__all__ = ["STAGE1_SCORES", "flowing", "percent", "scores", "show_search", "stage1_scores", "timings"]

SEPARATOR = "  ·  "


def show_search(
    console: Console,
    result: SearchResult,
    taken: list[str],
    base: Path | None = None,
    nothing: str = "no passage found",
) -> None:
    """Print the hits of one query.

    Args:
        console: where to.
        result: what was found.
        taken: what the footer says was used, a few words each.
        base: folder from which sources are shown; the working directory by default.
        nothing: what to say where there is no hit.
    """
    emit(console, _title(result.query), "")
    if not result.hits:
        emit(console, Text(nothing, style="yellow"), "")
    words = QueryWords(result.query)
    for hit in result.hits:
        emit(console, *_hit(console, hit, result, words, base), "")
    emit(console, *footer(console, result, taken))


def _title(query: str) -> Text:
    return Text(" ".join(query.split()), style="bold")


def _hit(
    console: Console, hit: Hit, result: SearchResult, words: QueryWords, base: Path | None
) -> Iterator[Text | Padding]:
    head = Text(f"{hit.rank:<{INDENT}}", style="bold")
    head.append(place(hit.passage, base), style="bold cyan")
    yield head
    facts = (
        [scores(hit), stage1_scores(hit.candidate, result.stage1)]
        if hit.candidate
        else [stage1_scores(hit, result.stage1)]
    )
    yield Padding(
        flowing(console.width - INDENT, [fact for fact in facts if fact], style="dim"), (0, 0, 0, INDENT)
    )
    text = block(console, hit.passage.text, words, console.width - INDENT)
    yield Padding(text, (0, 0, 0, INDENT))
    for other in hit.also_in:
        yield Padding(Text(f"also in {place(other, base)}", style="dim cyan"), (0, 0, 0, INDENT))


def scores(hit: Hit) -> str:
    """Return stage 2's score, with the probability and what was left unread."""
    if hit.unread:
        return UNREAD
    text = f"score {hit.score:.3f}"
    if hit.probability is not None:
        text += f" ({percent(hit.probability)})"
    if hit.reading is not None and hit.reading.tokens_seen < hit.reading.tokens_total:
        text += f", read {hit.reading.tokens_seen:,} of {hit.reading.tokens_total:,} tokens"
    return text


def stage1_scores(hit: Hit, stage1: str) -> str:
    """Return a candidate's rank and its score in stage 1, with the distance where there is one."""
    text = f"stage 1: rank {hit.rank}, {STAGE1_SCORES[stage1]} {hit.score:.3f}"
    return text if hit.distance is None else f"{text}, distance {hit.distance:.3f}"


def footer(console: Console, result: SearchResult, taken: list[str]) -> list[Text]:
    """Return the last lines: what was taken, how much of it was read, and how long it took."""
    return [
        flowing(console.width, [*taken, how_read(result)], style="dim"),
        flowing(console.width, timings(result.timings, result.reranker != "none"), style="dim"),
    ]


def how_read(result: SearchResult) -> str:
    """Return how many candidates stage 2 read, and what became of the others."""
    if result.reranker == "none" or not result.candidates:
        return count(len(result.candidates), "candidate")
    read = f"scored {result.scored:,}"
    if result.unread:
        read += f" of {len(result.candidates):,}, then the deadline came"
    if result.truncated:
        read += f", {result.truncated:,} of them not whole"
    if result.cached:
        read += f", {result.cached:,} of them from the cache"
    if result.copied:
        read += f", and {result.copied:,} with the same text"
    return read


def timings(spent: Timings, reranked: bool) -> list[str]:
    """Return the times of one search, stage by stage."""
    stages = [f"embed {milliseconds(spent.embed)}", f"search {milliseconds(spent.search)}"]
    if reranked:
        stages.append(f"re-rank {milliseconds(spent.rerank)}")
    return [*stages, f"total {milliseconds(spent.total)}"]


def flowing(width: int, pieces: list[str], style: str = "") -> Text:
    """Return the pieces side by side, with a new line where the next one would not fit whole."""
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + len(SEPARATOR) + len(piece) <= width:
            lines[-1] += SEPARATOR + piece
        else:
            lines.append(piece)
    return Text("\n".join(lines), style=style)
