"""A passage in a report: where it stands, its figures, and its text with the best sentence marked."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..types import Hit, Passage
from ..wording import STAGE1_SCORES, UNREAD, percent, place
from .markup import Child, Markup, joined, tag
from .sentences import Span

__all__ = ["one_folder", "opening", "passage_text", "shortened", "stage1_facts", "stage2_facts", "where"]

MOST_CHARACTERS = 4_000
"""Of a passage's text; what is left out is said."""
MOST_ON_A_LINE = 300
MOST_OF_A_PLACE = 500

_STRUCTURED = re.compile(r"[ \t]*(?:[-*+•|>#=~`:.]|\d+[.)]\s|\S+:$)")
_PARAGRAPH = re.compile(r"(?:\n[ \t]*){2,}")


def shortened(text: str, limit: int = MOST_ON_A_LINE) -> str:
    """Return the text on one line, cut with an ellipsis where it is longer than ``limit`` characters."""
    flat = " ".join(text[: limit * 4].split())
    cut = len(flat) > limit or len(text) > limit * 4
    return flat[:limit].rstrip() + "…" if cut else flat


def opening(passage: Passage) -> str:
    """Return the beginning of a passage, on one line."""
    return shortened(passage.text, 120)


def where(passage: Passage) -> Markup:
    """Return folder, file and lines apart: a narrow page cuts the folder first, and never the lines."""
    path, colon, lines = place(passage).rpartition(":")
    shown = path if len(path) <= MOST_OF_A_PLACE else "…" + path[-MOST_OF_A_PLACE:]
    cut = _folder_length(shown)
    return tag(
        "span",
        {"class": "where", "title": shown + colon + lines},
        tag("span", {"class": "folder"}, tag("bdi", None, shown[:cut])) if cut else "",
        tag("span", {"class": "file"}, tag("bdi", None, shown[cut:])),
        tag("span", {"class": "lines"}, colon + lines),
    )


def one_folder(passages: Iterable[Passage]) -> bool:
    """Whether all stand in the same folder, so that lists need not name it."""
    shown = [place(passage) for passage in passages]
    return len({each[: _folder_length(each)] for each in shown}) == 1


def _folder_length(shown: str) -> int:
    """Return where the name of the file begins in a place."""
    return max(shown.rfind("/"), shown.rfind("\\")) + 1


def stage1_facts(hit: Hit, stage1: str) -> list[str]:
    """Return rank, score and distance of a stage-1 hit, in words."""
    facts = [f"stage 1: rank {hit.rank}", f"{STAGE1_SCORES[stage1]} {hit.score:.3f}"]
    return facts if hit.distance is None else [*facts, f"distance {hit.distance:.3f}"]


def stage2_facts(hit: Hit) -> list[str]:
    """Return stage 2's score, probability, and how much was read where it was not all."""
    if hit.unread:
        return [UNREAD]
    if hit.unread:
        return ["not read: the deadline came first"]
    facts = [f"score {hit.score:.3f}"]
    if hit.probability is not None:
        facts.append(f"probability {percent(hit.probability)}")
    if hit.copied_from is not None:
        facts.append("score of a passage that says the same")
    if hit.reading is not None and hit.reading.tokens_seen < hit.reading.tokens_total:
        facts.append(f"read {hit.reading.tokens_seen:,} of {hit.reading.tokens_total:,} tokens")
    return facts


def passage_text(text: str, marked: Span | None = None, read: Span | None = None) -> Markup:
    """Return a passage's text for reading.

    Args:
        text: the passage's text.
        marked: the stretch to mark.
        read: the stretch that gave the score; a text too long to be shown whole is shown around the
            marked stretch, or this one.
    """
    start, end = _window(len(text), marked or read)
    shown = _reflowed(text[start:end])
    pieces: list[Child] = []
    if start:
        pieces.append(_left_out(start, "before"))
    if marked is None:
        pieces.append(shown)
    else:
        first, last = (min(max(each - start, 0), len(shown)) for each in marked)
        pieces.extend([shown[:first], tag("mark", None, shown[first:last]), shown[last:]])
    if end < len(text):
        pieces.append(_left_out(len(text) - end, "after"))
    return tag("div", {"class": "text", "dir": "auto"}, joined(pieces))


def _window(length: int, focus: Span | None) -> Span:
    if length <= MOST_CHARACTERS:
        return 0, length
    start = 0 if focus is None else max(0, min(focus[0] - MOST_CHARACTERS // 4, length - MOST_CHARACTERS))
    return start, start + MOST_CHARACTERS


def _left_out(characters: int, side: str) -> Markup:
    return tag("span", {"class": "left-out"}, f" … {characters:,} characters {side} this are not shown … ")


def _reflowed(text: str) -> str:
    """Join the lines of prose, keep those of code and lists; every character stays in its place."""
    text = text.replace("\t", " ").replace("\r", " ").replace("\f", "\n")
    parts, last = [], 0
    for gap in [*_PARAGRAPH.finditer(text), None]:
        end = len(text) if gap is None else gap.start()
        parts.append(_paragraph(text[last:end]))
        if gap is not None:
            parts.append("\n\n" + " " * (len(gap.group()) - 2))
            last = gap.end()
    return "".join(parts)


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    indents = {len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()}
    if len(indents) <= 1 and not any(_STRUCTURED.match(line) for line in lines):
        return text.replace("\n", " ")
    least = min(indents, default=0)
    return "\n".join(_indented(line, least) for line in lines)


def _indented(line: str, common: int) -> str:
    """Keep the indentation beyond what all lines share: no-break spaces are not folded."""
    indent = len(line) - len(line.lstrip(" "))
    kept = max(indent - common, 0)
    return " " * (indent - kept) + "\u00a0" * kept + line[indent:]
