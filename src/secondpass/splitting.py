"""From a document to its passages: recursive character splitting over offsets."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

from .errors import InputError
from .types import Document, Passage

__all__ = ["DEFAULT_SEPARATORS", "RecursiveSplitter", "Span", "passage_id"]

Span = tuple[int, int]
"""Start and end (exclusive), in characters."""

DEFAULT_SEPARATORS = ("\n\n", "\n", " ", "")
"""Paragraphs, lines, words, single characters."""


def passage_id(document_id: str, start: int, text: str) -> str:
    """Return 16 hex digits that stay the same as long as document id, start and text do."""
    digest = blake2b(digest_size=8)
    for part in (document_id, str(start), text):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class RecursiveSplitter:
    r"""Split at the coarsest separator that gives small enough pieces, then merge pieces up to a size.

    The texts equal, one for one, those of ``RecursiveCharacterTextSplitter(chunk_size=size,
    chunk_overlap=overlap, separators=separators).split_text`` of langchain-text-splitters, except
    that a passage of nothing but whitespace is never given (that library gives some at size 1, or
    when ``""`` is not among the separators). The work is done on offsets into the text, so where a
    passage stands is known and never searched for.

    Attributes:
        size: longest passage, in characters, >= 1. Only without ``""`` among the separators can a
            passage be longer.
        overlap: how many characters two neighbours may share, ``0 <= overlap < size``.
        separators: coarsest first; a separator stays at the start of the piece that follows it;
            ``""`` cuts between any two characters.
    """

    size: int = 500
    overlap: int = 50
    separators: tuple[str, ...] = DEFAULT_SEPARATORS

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("overlap", self.overlap)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise InputError(f"the {name} of a passage must be a whole number, got {value!r}")
        if self.size < 1:
            raise InputError(f"the size of a passage must be at least 1 character, got {self.size}")
        if not 0 <= self.overlap < self.size:
            raise InputError(
                f"the overlap must be at least 0 and less than the size {self.size}, got {self.overlap}"
            )
        if isinstance(self.separators, str) or not self.separators:
            raise InputError(f"separators must be one or more strings, got {self.separators!r}")
        object.__setattr__(self, "separators", tuple(self.separators))
        for separator in self.separators:
            if not isinstance(separator, str):
                raise InputError(f"a separator must be a string, got {separator!r}")

    @property
    def settings(self) -> dict[str, str | int | list[str]]:
        """What one must know to split the same way again; JSON-able."""
        return {
            "name": "recursive",
            "size": self.size,
            "overlap": self.overlap,
            "separators": list(self.separators),
        }

    def split(self, document: Document) -> list[Passage]:
        """Return the passages in order of start; none for a text without a visible character.

        Where two windows hold the same stretch and otherwise only whitespace, ``spans`` gives it
        twice, as that library does; here it stands once, so that ids are unique.
        """
        lines = _LineCounter(document.text)
        pages = document.page_starts
        passages = []
        for (start, end), _ in groupby(self.spans(document.text)):
            text = document.text[start:end]
            line = lines.advance(start)
            passages.append(
                Passage(
                    id=passage_id(document.id, start, text),
                    document_id=document.id,
                    text=text,
                    start=start,
                    end=end,
                    source=document.source or document.id,
                    line_start=line,
                    line_end=line + lines.between(start, end - 1),
                    page=max(1, bisect_right(pages, start)) if pages else None,
                    metadata=document.metadata,
                )
            )
        return passages

    def spans(self, text: str) -> Iterator[Span]:
        """Yield the offsets of the passages of ``text``, in order of start.

        Takes time linear in the text, and memory for the pieces of one passage.
        """
        if len(text) < self.size:  # however it is cut, the pieces would be merged into one again
            return _stripped(text, 0, len(text))
        return self._spans(text, (0, len(text)), self.separators)

    def _spans(self, text: str, span: Span, separators: Sequence[str]) -> Iterator[Span]:
        separator, finer = _choose(text, span, separators)
        if separator == "":
            yield from self._windows(text, span)
            return
        small_pieces = _Merger(text, self.size, self.overlap)
        for piece in _pieces(text, span, separator):
            if piece[1] - piece[0] < self.size:
                yield from small_pieces.add(piece)
                continue
            yield from small_pieces.flush()
            if finer:
                yield from self._spans(text, piece, finer)
            elif not text[piece[0] : piece[1]].isspace():
                yield piece
        yield from small_pieces.flush()

    def _windows(self, text: str, span: Span) -> Iterator[Span]:
        """Yield what merging single characters gives: full windows at a fixed step, then the rest."""
        start, end = span
        while start + self.size < end:
            yield from _stripped(text, start, start + self.size)
            start += self.size - self.overlap
        yield from _stripped(text, start, end)


class _Merger:
    """Joins neighbouring pieces, each shorter than ``size``, as long as they fit into ``size``.

    After a passage is given, pieces leave at its front until what stays is at most ``overlap``
    long and leaves room for the next piece: that rest is what the next passage shares with it.
    """

    def __init__(self, text: str, size: int, overlap: int) -> None:
        self._text = text
        self._size = size
        self._overlap = overlap
        self._starts: deque[int] = deque()
        self._end = 0

    def add(self, piece: Span) -> Iterator[Span]:
        """Take the piece that follows; yield the passage that it did not fit into, if so."""
        start, end = piece
        if self._starts and end - self._starts[0] > self._size:
            yield from _stripped(self._text, self._starts[0], self._end)
            self._shed(end)
        self._starts.append(start)
        self._end = end

    def flush(self) -> Iterator[Span]:
        """Yield the passage under way, if any, and start afresh."""
        if self._starts:
            yield from _stripped(self._text, self._starts[0], self._end)
            self._starts.clear()

    def _shed(self, next_end: int) -> None:
        while self._starts and (
            self._end - self._starts[0] > self._overlap or next_end - self._starts[0] > self._size
        ):
            self._starts.popleft()


class _LineCounter:
    r"""Line numbers of ascending offsets, without a table of all lines (``\n``, ``\r\n``, ``\r``)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1

    def advance(self, offset: int) -> int:
        """Return the line, from 1, that holds ``offset``; offsets must not descend."""
        self._line += self.between(self._offset, offset)
        self._offset = offset
        return self._line

    def between(self, start: int, end: int) -> int:
        r"""Count the line ends in ``(start, end]``: a ``\r\n`` counts where its ``\n`` has passed."""
        text = self._text
        ends = text.count("\n", start, end) + text.count("\r", start, end) - text.count("\r\n", start, end)
        return ends + self._inside_pair(start) - self._inside_pair(end)

    def _inside_pair(self, offset: int) -> int:
        return int(offset > 0 and self._text.startswith("\r\n", offset - 1))


def _choose(text: str, span: Span, separators: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the first separator that occurs in the span, and those after it; else the last alone."""
    for position, separator in enumerate(separators):
        if separator == "":
            return separator, ()
        if text.find(separator, *span) >= 0:
            return separator, separators[position + 1 :]
    return separators[-1], ()


def _pieces(text: str, span: Span, separator: str) -> Iterator[Span]:
    """Cut the span before each occurrence of the separator; pieces are never empty."""
    start, end = span
    cut = text.find(separator, start, end)
    while cut >= 0:
        if cut > start:
            yield start, cut
        start = cut
        cut = text.find(separator, cut + len(separator), end)
    yield start, end


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the span without the whitespace at its ends, if anything is left of it."""
    part = text[start:end]
    kept = part.strip()
    if kept:
        start += len(part) - len(part.lstrip())
        yield start, start + len(kept)
