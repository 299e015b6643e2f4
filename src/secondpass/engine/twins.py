"""Candidates that need not be read, since another one says the same: equal but for whitespace, or nearly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from ..types import Reading

__all__ = ["carried_over", "first_of_each"]

_SPACE = " \t\r\n"
"""What every tokenizer we know takes for one break between words, however often it stands there."""
_SPACES = re.compile(r"[ \t\r\n]+")
_WORDS = re.compile(r"\w+|[^\w\s]")
_SHINGLE = 3
_LEAST_SHINGLES = 8
"""A text with fewer words than ten is compared whole: one word of it is too much."""


def first_of_each(texts: Sequence[str], alike: float = 1.0) -> list[int]:
    """Return for each text the place of the first one that says the same; its own where it is the first.

    Args:
        texts: at most a few thousand.
        alike: 1 for texts that are equal but for spaces and line breaks. Below, also texts that are equal but
            for upper and lower case, and those whose shingles (three words or signs in a row) have a Jaccard
            similarity of at least this; words with digits must be the same ones.
    """
    firsts: dict[object, int] = {}
    equal = [firsts.setdefault(_SPACES.sub(" ", text).strip(), place) for place, text in enumerate(texts)]
    if alike >= 1:
        return equal
    own = sorted(set(equal))
    near = dict(zip(own, _nearly([texts[place] for place in own], alike), strict=True))
    return [own[near[place]] for place in equal]


def _nearly(texts: Sequence[str], alike: float) -> list[int]:
    """Find near-duplicates exactly, without comparing all pairs.

    Two sets with a Jaccard similarity of at least t share a shingle among the rarest ``n - ceil(t n) + 1`` of
    each (prefix filtering: Bayardo, Ma and Srikant, WWW 2007), so only texts that meet there are compared.
    """
    sets = [_shingles(text) for text in texts]
    frequency = Counter(shingle for each in sets for shingle in each)
    index: dict[object, list[int]] = {}
    whole: dict[object, int] = {}
    firsts = []
    for place, (text, shingles) in enumerate(zip(texts, sets, strict=True)):
        same = whole.setdefault(tuple(_WORDS.findall(text.casefold())), place)
        rarest = sorted(shingles, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest[: len(rarest) - ceil(alike * len(rarest)) + 1]
        if same == place and len(shingles) >= _LEAST_SHINGLES:
            met = dict.fromkeys(other for shingle in prefix for other in index.get(shingle, ()))
            same = next((other for other in sorted(met) if _alike(sets[other], shingles, alike)), place)
        if same == place:
            for shingle in prefix:
                index.setdefault(shingle, []).append(place)
        firsts.append(same)
    return [firsts[first] for first in firsts]


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Return three words in a row each; what has a digit stands for itself and must be in both texts."""
    words = _WORDS.findall(text.casefold())
    rows = zip(*(words[start:] for start in range(_SHINGLE)), strict=False)
    numbers = Counter(word for word in words if any(sign.isdigit() for sign in word))
    return frozenset(rows) | {("", word, str(often)) for word, often in numbers.items()}


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]], alike: float) -> bool:
    common = len(one & other)
    if common < alike * (len(one) + len(other) - common):
        return False
    return all(shingle[0] for shingle in one ^ other)


def carried_over(reading: Reading, first: str, text: str) -> Reading | None:
    """Return what a reading of ``first`` says about ``text``; None where they differ in more than spaces.

    The score is the same, the span is moved to the same words.
    """
    if first == text:
        return reading
    places = [place for place, sign in enumerate(text) if sign not in _SPACE]
    if [sign for sign in first if sign not in _SPACE] != [text[place] for place in places]:
        return None
    before = sum(sign not in _SPACE for sign in first[: reading.start])
    within = sum(sign not in _SPACE for sign in first[reading.start : reading.end])
    start = 0 if reading.start == 0 else (places[before] if before < len(places) else len(text))
    end = len(text) if reading.end == len(first) or not within else places[before + within - 1] + 1
    return replace(reading, start=start, end=max(start, end))
