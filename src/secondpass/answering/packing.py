"""Which passages fit into a token budget, and in which order they stand in the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..sentences import Span, sentences
from ..types import Hit
from .values import Given

__all__ = ["arranged", "estimated_tokens", "pack"]

BYTES_A_TOKEN = 3
"""English prose has about four bytes of UTF-8 a token with today's tokenizers, code and other languages
fewer; three errs on the side of leaving room."""

Count = Callable[[int, Hit, Span], int]
"""Tokens of a span of a hit's text under a number, fence included."""


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text is, where no tokenizer is at hand: a third of its UTF-8 bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


def pack(hits: Sequence[Hit], room: int, count: Count) -> tuple[Given, ...]:
    """Return the passages that fit, numbered from 1 in order of rank.

    The first that does not fit whole is cut at the end of a sentence, and what ranks below it is left out:
    a worse passage never takes the place of a better one.

    Args:
        hits: best first.
        room: tokens for all of them.
        count: of one, in its fence.
    """
    given: list[Given] = []
    for number, hit in enumerate(hits, start=1):
        whole = (0, len(hit.passage.text))
        tokens = count(number, hit, whole)
        if tokens <= room:
            given.append(Given(number, hit, whole, tokens))
            room -= tokens
            continue
        cut = _cut(number, hit, room, count)
        if cut is not None:
            given.append(cut)
        break
    return tuple(given)


def _cut(number: int, hit: Hit, room: int, count: Count) -> Given | None:
    """Return as many whole sentences as fit, from where the re-ranker read on; None where not one does."""
    start = 0 if hit.reading is None else hit.reading.start
    ends = [start + last for _, last in sentences(hit.passage.text[start:])]
    kept, tokens = None, 0
    low, high = 0, len(ends) - 1
    while low <= high:  # more text is never fewer tokens, so that the last end that fits can be halved for
        middle = (low + high) // 2
        taken = count(number, hit, (start, ends[middle]))
        if taken <= room:
            kept, tokens, low = (start, ends[middle]), taken, middle + 1
        else:
            high = middle - 1
    return None if kept is None else Given(number, hit, kept, tokens)


def arranged(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return passages with the best first and the second best last, and the worst in the middle.

    Models use what stands at the ends of a long prompt best ("Lost in the Middle", Liu et al., TACL 2024).
    Numbers stay: [1] is the best passage wherever it stands.
    """
    return (*given[0::2], *reversed(given[1::2]))
