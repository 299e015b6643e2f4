"""Headings of a text and the body below each: Markdown, reStructuredText, and lines that stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..types import Document

__all__ = ["Section", "first_sentences", "plain", "sections", "title"]

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_RULE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_TITLE = re.compile(r"title:\s*(\S.*)", re.IGNORECASE)
_TITLE_LINES = 20
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ROLE = re.compile(r":[a-z:]+:`([^`<]*?)(?:\s*<[^`]*>)?`")
_NUMBER = re.compile(
    r"^(?:(?:chapter|section|part|appendix|step)\s+(?:\d+|[IVX]+|[A-Z])[.):]?"
    r"|\d+(?:\.\d+)+\.?|\d+[.):]|[IVX]+[.):]|[A-Z][.)])\s+(?:[-\u2013\u2014]\s+)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"\*\*|__|`+|^[>|]\s*|\s*\{#[^}]*\}|\s*¶")
_EMPHASIS = re.compile(r"(?<!\w)([*_])(\w[^*_]*)\1(?!\w)")
_SENTENCE = re.compile(r"[^.!?]+(?:[.!?](?!\s|$)[^.!?]*)*[.!?](?=\s|$)")
_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
ALONE = 80
"""Longest line, in characters, that is taken for a heading without any mark-up."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, down to the next heading of its level or a higher one.

    Attributes:
        heading: as a person reads it, without mark-up or number.
        start, end: offsets in the document's text: of the heading's line, and of the end of the body.
        body: offset at which the body begins.
        level: from 1, the outermost.
    """

    heading: str
    start: int
    body: int
    end: int
    level: int


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Found:
    text: str
    start: int
    body: int
    level: int


def sections(document: Document) -> list[Section]:
    """Return the sections of a document in order; none where no line looks like a heading.

    Headings that are marked up win: of Markdown (``#`` or underlined) and of reStructuredText (underlined).
    Where there is none, short lines that stand alone between blank ones count, as in text made from HTML.
    """
    lines = list(_lines(document.text))
    found = list(_atx(lines)) if not _is_rst(document.metadata) else []
    found = sorted([*found, *_underlined(lines)], key=lambda each: each.start)
    if not found:
        found = list(_alone(lines))
    made = []
    for place, each in enumerate(found):
        later = (other.start for other in found[place + 1 :] if other.level <= each.level)
        text = plain(each.text)
        if text:
            end = next(later, len(document.text))
            made.append(Section(text, each.start, each.body, end, each.level))
    return made


def title(document: Document) -> str:
    """Return a document's title: from its metadata, or a line ``Title: ...`` at its head; ``""`` without."""
    given = document.metadata.get("title")
    if isinstance(given, str) and given.strip():
        return plain(given)
    for number, line in enumerate(_lines(document.text)):
        if number == _TITLE_LINES:
            break
        if match := _TITLE.match(line.text):
            return plain(match.group(1).strip("\"'"))
    return ""


def first_sentences(document: Document) -> list[Section]:
    """Return the paragraphs of prose in order, each with its first sentence in the place of a heading."""
    found = []
    for paragraph in _PARAGRAPH.finditer(document.text):
        flat = " ".join(paragraph.group().split())
        if flat[:1].isalnum() and (match := _SENTENCE.match(flat)):
            sentence = plain(match.group().rstrip(".!"))
            found.append(Section(sentence, paragraph.start(), paragraph.start(), paragraph.end(), 1))
    return found


def plain(text: str) -> str:
    """Return a heading as a person reads it: on one line, without mark-up and without its number."""
    text = _ROLE.sub(r"\1", _LINK.sub(r"\1", " ".join(text.split())))
    text = _EMPHASIS.sub(r"\2", _MARKUP.sub("", text)).strip(" *_:#")
    return _NUMBER.sub("", text).strip()


def _is_rst(metadata: Mapping[str, object]) -> bool:
    return metadata.get("extension") in (".rst", ".rest")


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield _Line(line.rstrip("\r\n"), start, start + len(line))
        start += len(line)


def _atx(lines: list[_Line]) -> Iterator[_Found]:
    fenced = ""
    for line in lines:
        if fence := _FENCE.match(line.text):
            fenced = "" if fenced == fence.group(1) else fenced or fence.group(1)
        elif not fenced and (match := _ATX.match(line.text)):
            yield _Found(match.group(2), line.start, line.end, len(match.group(1)))


def _underlined(lines: list[_Line]) -> Iterator[_Found]:
    """Yield lines with a rule below that is as long; each kind of rule is a level, in order of coming."""
    levels: list[str] = []
    for place, (line, below) in enumerate(pairwise(lines)):
        text = line.text.strip()
        rule = _RULE.match(below.text)
        if rule is None or not text or _RULE.match(line.text) or len(below.text.rstrip()) < len(text) - 2:
            continue
        above = lines[place - 1].text.strip() if place else ""
        over = _RULE.match(above) is not None
        if (above and not over) or (line.text[0].isspace() and not over):
            continue
        kind = rule.group(1) * (2 if over else 1)
        if kind not in levels:
            levels.append(kind)
        yield _Found(text, lines[place - over].start, below.end, levels.index(kind) + 1)


def _alone(lines: list[_Line]) -> Iterator[_Found]:
    """Yield short lines between blank ones that start like a heading, end in no stop, and have text below."""
    for place, line in enumerate(lines):
        text = line.text.strip()
        before = lines[place - 1].text.strip() if place else ""
        after = lines[place + 1].text.strip() if place + 1 < len(lines) else ""
        starts = text[:1].isupper() or text[:1].isdigit()
        if starts and len(text) <= ALONE and not before and not after and text[-1] not in ".,;:!|":
            yield _Found(text, line.start, line.end, 1)
