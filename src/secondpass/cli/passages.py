"""A passage's text for the eye: prose filled to the width, code as it stands, the query's words marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from .terminal import without_controls

__all__ = ["QueryWords", "block", "snippet"]

MARKED = "bold magenta"

_WORD = re.compile(r"\w+")
_STRUCTURED = re.compile(r"\s*([-*+|>#=~`:.]|\d+[.)]\s)")
_COMMON = frozenset(
    """
    a about an and any are as at be by can could did do does for from had has have how i if in is it
    its me my no not of on or our should so than that the their them then there these they this to
    was we were what when where which who whom why will with would you your
    """.split()  # noqa: SIM905  words read best as words
)


class QueryWords:
    """The words of a query worth marking, matched with or without common endings."""

    def __init__(self, query: str) -> None:
        words = {word.casefold() for word in _WORD.findall(query)}
        self._stems = {_stem(word) for word in words - _COMMON} or {_stem(word) for word in words}

    def found(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and stem of each word of the text that is one of the query's."""
        for word in _WORD.finditer(text):
            stem = _stem(word.group().casefold())
            if stem in self._stems:
                yield word.start(), word.end(), stem

    def mark(self, text: str) -> Text:
        """Return the text with the query's words set off."""
        marked = Text(text)
        for start, end, _ in self.found(text):
            marked.stylize(MARKED, start, end)
        return marked


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "ied", "es", "ed", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def block(console: Console, text: str, words: QueryWords, width: int) -> Text:
    """Return a whole passage wrapped to a width: prose filled, indented text and lists line by line."""
    lines: list[Text] = []
    for indent, line in _logical_lines(without_controls(text).expandtabs(4)):
        indent = min(indent, width // 3)
        for wrapped in words.mark(line).wrap(console, width - indent) or [Text()]:
            wrapped.rstrip()
            lines.append(Text(" " * indent).append_text(wrapped))
    return Text("\n").join(lines)


def snippet(console: Console, text: str, words: QueryWords, width: int, lines: int) -> Text:
    """Return at most ``lines`` lines of a passage: the stretch with most of the query's words."""
    flat = " ".join(without_controls(text).split())
    room = max(width * lines - width // 3, 1)
    start = _best_start(flat, words, room)
    shown = words.mark(("… " if start else "") + flat[start:])
    wrapped = list(shown.wrap(console, width))
    kept = wrapped[:lines]
    if len(wrapped) > lines:
        kept[-1] = _with_ellipsis(kept[-1], width)
    for line in kept:
        line.rstrip()
    return Text("\n").join(kept)


def _best_start(flat: str, words: QueryWords, room: int) -> int:
    """Return where a stretch of ``room`` characters starts that holds most different words of the query.

    Starts are the beginnings of sentences; of equals the first, and 0 where all fits.
    """
    if len(flat) <= room:
        return 0
    found = list(words.found(flat))
    starts = [0, *(match.end() for match in re.finditer(r"[.!?:;]\s+", flat))]

    def held(start: int) -> int:
        return len({stem for first, end, stem in found if start <= first and end <= start + room})

    return max((start for start in starts if start < len(flat)), key=held)


def _with_ellipsis(line: Text, width: int) -> Text:
    """End a line that goes on with an ellipsis, at the end of a word where there is one."""
    line.rstrip()
    if line.cell_len > width - 2:
        line.truncate(max(width - 2, 1))
        space = line.plain.rfind(" ")
        if space > 0:
            line.right_crop(len(line) - space)
            line.rstrip()
    return line.append(" …", style="dim")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield indentation and text of each line as it is to be wrapped: a paragraph of prose is one."""
    paragraphs = [each for each in re.split(r"\n(?:[ ]*\n)+", text.strip("\n")) if each.strip()]
    split = [[(_indent(line), line.strip()) for line in each.rstrip().split("\n")] for each in paragraphs]
    if not split:
        return
    split[0] = _with_first_indent(split[0])
    first, *others = [indent for lines in split for indent, _ in lines]
    common = min(others, default=first)
    if first < common:  # a heading: what follows it stays indented
        common = max(common - 4, 0)
    for number, lines in enumerate(split):
        if number:
            yield 0, ""
        indents = {indent for indent, _ in lines}
        if len(indents) == 1 and not any(_STRUCTURED.match(line) for _, line in lines):
            yield max(lines[0][0] - common, 0), " ".join(line for _, line in lines)
        else:
            yield from ((max(indent - common, 0), line) for indent, line in lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _with_first_indent(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Give the first line of a passage the indentation that the cut took, unless it looks like a heading."""
    first = lines[0][1]
    longest = max(len(line) for _, line in lines)
    if len(lines) == 1 or first.endswith((")", ":")) or len(first) < 0.6 * longest:
        return lines
    return [(lines[1][0], first), *lines[1:]]
