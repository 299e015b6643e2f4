"""A passage's text for the eye: prose filled to the width, code as it stands, the query's words marked."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from .terminal import without_controls

__all__ = ["QueryWords", "block"]

MARKED = "bold magenta"

_WORD = re.compile(r"\w+")
_STRUCTURED = re.compile(r"^(\s|[-*+|>#=~`:.]|\d+[.)]\s)")
_COMMON = frozenset(
    "a about an and any are as at be by can could did do does for from had has have how i if in is it its "
    "me my of on or our should so than that the their them then there these they this to was we were what when "
    "where which who whom why will with would you your".split()
)


class QueryWords:
    """The words of a query worth marking, matched with or without common endings."""

    def __init__(self, query: str) -> None:
        words = {word.casefold() for word in _WORD.findall(query)}
        self._stems = {_stem(word) for word in words - _COMMON} or {_stem(word) for word in words}

    def mark(self, text: Text) -> None:
        """Set the style of the query's words in a text."""
        for word in _WORD.finditer(text.plain):
            if _stem(word.group().casefold()) in self._stems:
                text.stylize(MARKED, word.start(), word.end())


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "ied", "es", "ed", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def block(console: Console, text: str, words: QueryWords, width: int, most_lines: int | None = None) -> Text:
    """Return a passage's text wrapped to a width, marked, at most ``most_lines`` long."""
    shown = Text(_filled(without_controls(text)))
    words.mark(shown)
    lines = shown.wrap(console, max(width, 10), tab_size=4)
    if most_lines is not None and len(lines) > most_lines:
        kept = list(lines[:most_lines])
        kept[-1] = _with_ellipsis(kept[-1], width)
        return Text("\n").join(kept)
    return Text("\n").join(lines)


def _with_ellipsis(line: Text, width: int) -> Text:
    line = line.copy()
    line.rstrip()
    line.truncate(max(width - 2, 1))
    line.append(" …", style="dim")
    return line


def _filled(text: str) -> str:
    """Join the lines of prose paragraphs; keep those of code, lists and tables, and drop common indentation."""
    paragraphs = re.split(r"\n[ \t]*\n\s*?(?=\S|[ \t])", _dedented(text).strip("\n"))
    return "\n\n".join(_paragraph(each) for each in paragraphs if each.strip())


def _dedented(text: str) -> str:
    """Remove common indentation; the first line of a passage may have lost its own to the cut."""
    first, newline, rest = text.partition("\n")
    return first.lstrip() + newline + textwrap.dedent(rest) if rest.strip() else text.strip()


def _paragraph(paragraph: str) -> str:
    lines = paragraph.rstrip().split("\n")
    return paragraph.rstrip() if _is_structured(lines) else " ".join(line.strip() for line in lines)


def _is_structured(lines: Iterable[str]) -> bool:
    return any(_STRUCTURED.match(line) for line in lines)
