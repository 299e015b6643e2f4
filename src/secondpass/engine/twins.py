"""Candidates that need not be read, since another one says the same: equal but for spaces and line breaks.

Nearly equal ones are read. Measured on the documentation of PowerShell and on Python's PEPs (100 lexical
candidates for each of 40 queries, ``minilm-l6``): 0.7 and 0.1 of 100 had an earlier one with a Jaccard
similarity of at least 0.95 (three words in a row); 0.45 and 0.1 were equal already. Scores of such pairs
lay up to 0.15 apart, and finding them in Python took longer than reading them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..types import Reading

__all__ = ["carried_over", "first_of_each"]

_SPACE = " \t\r\n"
"""What tokenizers take for one break between words, however often it stands there. (Those that work on bytes
tell a run of spaces from one; a score may then be a little off.)"""
_SPACES = re.compile(r"[ \t\r\n]+")


def first_of_each(texts: Sequence[str]) -> list[int]:
    """Return for each text the place of the first one that says the same; its own where it is the first."""
    firsts: dict[str, int] = {}
    return [firsts.setdefault(_SPACES.sub(" ", text).strip(" "), place) for place, text in enumerate(texts)]


def carried_over(reading: Reading, first: str, text: str) -> Reading:
    """Return what a reading of ``first`` says about its twin ``text``: the span moves to the same words."""
    if first == text:
        return reading
    places = [place for place, sign in enumerate(text) if sign not in _SPACE]
    before = sum(sign not in _SPACE for sign in first[: reading.start])
    within = sum(sign not in _SPACE for sign in first[reading.start : reading.end])
    start = 0 if reading.start == 0 else (places[before] if before < len(places) else len(text))
    end = len(text) if reading.end == len(first) or not within else places[before + within - 1] + 1
    return replace(reading, start=start, end=max(start, end))
