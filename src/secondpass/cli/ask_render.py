"""Human output of ``ask``: the answer as it is written, its sources, and what is wrong with its citations."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator

from rich.console import Console
from rich.text import Text

from ..answering import Answer, Asked, Citation, write
from ..answering.shapes import line_at
from ..wording import percent, without_controls
from .render import flowing
from .terminal import INDENT, emit, milliseconds, output, place

__all__ = ["Flow", "show_answer", "show_prompt"]

_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class Flow:
    """Writes text as it comes, word by word, and breaks lines between words; unbroken without a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = 0
        self._held = ""

    def __call__(self, text: str) -> None:
        """Write what is complete; the last word may still grow."""
        self._held += without_controls(text)
        pieces = _PIECES.findall(self._held)
        last_grows = bool(pieces) and not pieces[-1].isspace()
        self._held = pieces.pop() if last_grows else ""
        for piece in pieces:
            self._write(piece)
        self._console.file.flush()

    def end(self) -> None:
        """Write what is left, and end the line."""
        self._write(self._held)
        self._held = ""
        if self._column:
            self._console.file.write("\n")
        self._console.file.flush()

    def _write(self, piece: str) -> None:
        width = self._console.width if self._console.is_terminal else sys.maxsize
        if piece == "\n":
            self._console.file.write("\n")
            self._column = 0
        elif piece.isspace():
            if self._column:
                self._console.file.write(" ")
                self._column += 1
        elif piece:
            if self._column and self._column + len(piece) > width:
                self._console.file.write("\n")
                self._column = 0
            self._console.file.write(piece)
            self._column += len(piece)


def show_prompt(asked: Asked) -> None:
    """Show on stderr what the LLM is sent."""
    console = output(stderr=True)
    if not asked.prompt:
        emit(console, Text("no prompt: no LLM is asked", style="dim"))
    for message in asked.prompt:
        emit(console, Text(f"--- {message['role']}", style="dim"))
        console.file.write(without_controls(message["content"]) + "\n")
    console.file.write("\n")
    console.file.flush()


def show_answer(asked: Asked, taken: list[str], threshold: float | None) -> None:
    """Write the answer as it comes, then its sources, what is wrong with them, and what was taken.

    Args:
        asked: ready to be answered.
        taken: what the footer says was used, a few words each.
        threshold: least probability of a passage; None where there was none.
    """
    console = output()
    emit(console, Text(" ".join(asked.query.split()), style="bold"), "")
    flow = Flow(console)
    try:
        answer = _flowing(write(asked), flow)
    finally:
        flow.end()
    emit(console, "", *_below(answer, threshold), *_footer(console, answer, taken))


def _flowing(pieces: Generator[str, None, Answer], flow: Flow) -> Answer:
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        flow(piece)


def _below(answer: Answer, threshold: float | None) -> Iterator[Text]:
    if answer.refused:
        yield Text(_why_not(answer, threshold), style="yellow")
        yield Text("")
        if answer.why != "llm":
            return
    cited = {each.number: each for each in answer.citations}
    for given in answer.passages:
        citation = cited.get(given.number)
        if citation is None and answer.llm == "none":
            continue
        line = Text(f"[{given.number}] ".ljust(INDENT + 1), style="bold" if citation else "dim")
        line.append(place(given.hit.passage), style="cyan" if citation else "dim")
        line.append(_quoted_lines(citation) if citation else "  not cited", style="dim")
        yield line
    yield from (Text(f"! {warning}", style="yellow") for warning in _warnings(answer))
    yield Text("")


def _why_not(answer: Answer, threshold: float | None) -> str:
    if answer.why == "llm":
        return f"{answer.llm} found no answer in these passages:"
    if threshold is None or answer.why == "no passage":
        return "no passage found"
    known = [hit.probability for hit in answer.result.ranked if hit.probability is not None]
    best = f"the best passage has a probability of {percent(max(known))}, " if known else ""
    return f"{best}the threshold is {percent(threshold)}"


def _quoted_lines(citation: Citation) -> str:
    """Return on which lines the quotes stand, or the sentences that come closest to what was written."""
    lines: dict[str, None] = {}
    for start, end in citation.quotes:
        first, last = line_at(citation.hit, start), line_at(citation.hit, end - 1)
        lines[f"{first}" if first == last else f"{first}-{last}"] = None
    return f"  see line {', '.join(lines)}" if lines else ""


def _warnings(answer: Answer) -> Iterator[str]:
    for flag in answer.flags:
        said = flag.sentence if len(flag.sentence) <= 80 else flag.sentence[:79] + "…"
        problem = (
            "no such passage" if flag.reason == "no such passage" else "shares no word with that passage"
        )
        yield f"[{flag.number}] {problem}: {without_controls(said)}"
    if answer.llm != "none" and not answer.refused and not answer.citations and not answer.flags:
        yield "the answer cites no passage: nothing in it was checked"
    if answer.cut_off:
        yield "the answer was cut off: it reached its most tokens"


def _footer(console: Console, answer: Answer, taken: list[str]) -> list[Text]:
    written = "sentences quoted, no LLM" if answer.llm == "none" else f"written by {answer.llm}"
    facts = [*taken, written]
    if answer.left_out and not answer.refused:
        facts.append(f"{answer.left_out:,} left out below the threshold")
    if answer.usage is not None:
        about = "about " if answer.usage.estimated else ""
        facts.append(f"{about}{answer.usage.prompt_tokens:,} + {answer.usage.answer_tokens:,} tokens")
    times = [f"search {milliseconds(answer.timings.search)}"]
    if answer.timings.first:
        times.append(f"first word {milliseconds(answer.timings.first)}")
    times.append(f"total {milliseconds(answer.timings.total)}")
    return [
        flowing(console.width, facts, style="dim"),
        flowing(console.width, times, style="dim"),
    ]
