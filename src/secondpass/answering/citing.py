"""The citations of an answer: what they stand for, and which stand for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..sentences import Span, sentences
from .values import Citation, Flag, Given
from .words import telling

__all__ = ["checked", "cited", "numbers"]

_NUMBERS = r"[0-9]{1,3}(?:\s*(?:,|;|-|\u2013|and)\s*[0-9]{1,3})*"
_CITATION = re.compile(rf"[\[\u3010]\s*(?:passages?\s+)?({_NUMBERS})\s*[\]\u3011]", re.IGNORECASE)
_LEADING = re.compile(rf"(?:{_CITATION.pattern}[\s,;.]*)+", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]+)\s*[-\u2013]\s*([0-9]+)")


def numbers(text: str) -> list[int]:
    """Return the numbers that a text cites, each once, in order: ``[2]``, ``[1, 3]``, ``[1-3]``."""
    found: dict[int, None] = {}
    for citation in _CITATION.finditer(text):
        listed = _RANGE.sub(_spelt_out, citation.group(1))
        found.update(dict.fromkeys(int(number) for number in re.findall(r"[0-9]+", listed)))
    return list(found)


def _spelt_out(bounds: re.Match[str]) -> str:
    first, last = int(bounds.group(1)), int(bounds.group(2))
    return ", ".join(str(number) for number in range(first, last + 1)) if first <= last else bounds.group()


def cited(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield each sentence that cites something, with the numbers; the sentence without its citations.

    Citations that follow the full stop, on the same line, are those of the sentence before.
    """
    held: list[tuple[str, list[int]]] = []
    last_end = 0
    for start, end in sentences(text):
        piece = text[start:end]
        leading = _LEADING.match(piece)
        if leading and held and "\n" not in text[last_end:start]:
            before, its = held[-1]
            held[-1] = (before, list(dict.fromkeys([*its, *numbers(leading.group())])))
            piece = piece[leading.end() :]
        if piece.strip():
            held.append((_bare(piece), numbers(piece)))
        last_end = end
    yield from ((sentence, its) for sentence, its in held if its)


def _bare(sentence: str) -> str:
    without = _CITATION.sub("", sentence)
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(without.split()))


def checked(text: str, passages: Sequence[Given]) -> tuple[tuple[Citation, ...], tuple[Flag, ...]]:
    """Return what an answer cites, and what is wrong with that.

    Args:
        text: the answer.
        passages: what it could cite.
    """
    known = {each.number: each for each in passages}
    quotes: dict[int, set[Span]] = {}
    flags: list[Flag] = []
    for sentence, its in cited(text):
        words = telling(sentence)
        for number in its:
            if number not in known:
                flags.append(Flag(number, sentence, "no such passage"))
                continue
            passage = known[number].hit.passage.text
            spans = quotes.setdefault(number, set())
            if words and not words & telling(passage):
                flags.append(Flag(number, sentence, "nothing in common"))
            else:
                spans.update(_closest(words, passage))
    found = (Citation(number, known[number].hit, tuple(sorted(quotes[number]))) for number in sorted(quotes))
    return tuple(found), tuple(flags)


def _closest(words: frozenset[str], passage: str) -> list[Span]:
    """Return the span of the passage's sentence that shares most words with these; none where none does."""
    shared = [(len(words & telling(passage[start:end])), (start, end)) for start, end in sentences(passage)]
    most, span = max(shared, key=lambda pair: pair[0], default=(0, (0, 0)))
    return [span] if most else []
