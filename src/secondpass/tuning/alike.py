"""Whether two passages are near-copies of each other: by the words they share."""

from __future__ import annotations

import re

__all__ = ["NEAR_COPY", "WORD", "overlap", "words"]

WORD = re.compile(r"\w+")
NEAR_COPY = 0.75
"""Share of the smaller text's words from which on two passages are taken for near-copies."""


def words(text: str, limit: int = 150) -> frozenset[str]:
    """Return the distinct words of a text's beginning."""
    return frozenset(WORD.findall(text.lower())[:limit])


def overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the share of the smaller text's words that the other has too, 0..1."""
    return len(first & second) / max(1, min(len(first), len(second)))
