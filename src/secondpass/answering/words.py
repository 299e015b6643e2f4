"""The words of a text that tell something, so that two texts can be compared by what they share."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

__all__ = ["telling"]

_WORD = re.compile(r"[^\W_]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
STEM = 5
"""Letters that count of a longer word: ``deposit``, ``deposits`` and ``deposited`` are one word then."""
_COMMON = frozenset(
    """
    a about according also am an and answer any are as at be been but by can cannot could did do does each
    for from had has have he her his how i if in into is it its may me more most must my no nor not of on
    one only or our passage passages question same shall she should so some such than that the their them
    then there these they this those to too under up us was we were what when where which who whom whose
    why will with would yes you your
    """.split()  # noqa: SIM905  words read best as words
)


def telling(text: str) -> frozenset[str]:
    """Return what tells in a text: stems of its words, without the commonest English ones.

    Scripts that put no space between words (Chinese, Japanese, Korean) give pairs of characters.
    """
    found: set[str] = set()
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if word in _COMMON:
            continue
        if _CJK.search(word):
            found.update(first + second for first, second in pairwise(word)) if len(word) > 1 else found.add(
                word
            )
        else:
            found.add(word if word.isdigit() else word[:STEM])
    return frozenset(found)
