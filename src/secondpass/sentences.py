"""Where the sentences of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["Span", "sentences"]

Span = tuple[int, int]
"""Start and end (exclusive) in a text, in characters."""

# A blank line; a line that ends in a colon; before a point of a list, a heading, or ``name: ``.
_BLOCK = re.compile(r"\n[ \t]*\n\s*|(?<=:)\n|\n(?=[ \t]*(?:[-*+•|>#]|\d+[.)]|\w+:)\s)")
# Latin sentences, and CJK ones, whose full stops need no space after them.
_END = re.compile(r"(?:[.!?][\"'”\u2019)\]]*(?=\s+[\"'“\u2018(\[]*[^\Wa-z_])|[。\uff01\uff1f])\s*")
_ABBREVIATED = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|etc|Dr|Mr|Mrs|Ms|No|Fig|St|[A-Z])\.$")


def sentences(text: str) -> list[Span]:
    """Return the spans of a text's sentences, in order, without whitespace at their edges.

    A blank line, a heading or a new point of a list ends a sentence, a mere line break does not, and
    neither does the full stop of a common abbreviation.
    """
    spans: list[Span] = []
    for start, end in _blocks(text):
        cuts = [start, *(cut for cut in _cuts(text, start, end)), end]
        spans.extend(_trimmed(text, first, second) for first, second in pairwise(cuts))
    return [(start, end) for start, end in spans if end > start]


def _blocks(text: str) -> Iterator[Span]:
    start = 0
    for gap in _BLOCK.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _cuts(text: str, start: int, end: int) -> Iterator[int]:
    for stop in _END.finditer(text, start, end):
        if not _ABBREVIATED.search(text, max(start, stop.start() - 6), stop.start() + 1):
            yield stop.end()


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
