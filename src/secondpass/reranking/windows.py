"""Passages longer than a model's window: overlapping windows, of which the best one counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from ..inference import Floats
from ..tokenizing import slices
from ..types import Reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MAX_WINDOWS", "PassageSpans", "Windows", "cut_windows", "read_windows", "window_spans"]

MAX_WINDOWS = 32
"""Windows read of one passage, so that the work for it is bounded; what lies behind them is not read."""

_BLOCK = 65_536
"""Characters tokenised at once; a longer passage is cut there, at a space where there is one."""

Ids = list[int]
T = TypeVar("T")
R = TypeVar("R")


def window_spans(tokens: int, room: int, max_windows: int = MAX_WINDOWS) -> list[tuple[int, int]]:
    """Return the windows over a passage: start and end token of each, in order.

    Neighbours share a quarter of a window, so that a sentence cut by one stands whole in the next; the last
    window is moved back to be full.

    Args:
        tokens: how many the passage has.
        room: how many a window holds, at least 1.
        max_windows: most windows.
    """
    if tokens <= room:
        return [(0, tokens)]
    starts = [*range(0, tokens - room, room - room // 4)[:max_windows], tokens - room][:max_windows]
    return [(start, start + room) for start in starts]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The head of a passage as tokens, and how many the whole has.

    Attributes:
        ids: as many as the windows reach.
        offsets: characters (start, end) of each id; empty where one window holds the whole passage.
    """

    ids: Ids
    offsets: list[tuple[int, int]]
    total: int
    characters: int


@dataclass(frozen=True, slots=True)
class PassageSpans:
    """A passage's windows: characters (start, end) of each; ``seen`` of ``total`` tokens lie in them."""

    total: int
    seen: int
    windows: tuple[tuple[int, int], ...]

    def reading(self, scores: list[float]) -> Reading:
        """Return what the best window says, the first of equals."""
        best = max(range(len(scores)), key=scores.__getitem__)
        return Reading(scores[best], self.seen, self.total, *self.windows[best])


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of some passages.

    Attributes:
        ids: of each window, passage after passage, without special tokens.
    """

    ids: list[Ids]
    _tokens: list[_Tokens]
    _spans: list[list[tuple[int, int]]]

    def spans(self) -> list[PassageSpans]:
        """Return where the windows of each passage stand in it."""
        return [
            PassageSpans(
                tokens.total, own[-1][1], tuple(_characters(tokens, first, last) for first, last in own)
            )
            for tokens, own in zip(self._tokens, self._spans, strict=True)
        ]

    def readings(self, scores: Floats) -> list[Reading]:
        """Return what each passage's best window says; ``scores`` are of all windows."""
        each_score = iter(scores.tolist())
        return [spans.reading([next(each_score) for _ in spans.windows]) for spans in self.spans()]


def cut_windows(tokenizer: Tokenizer, passages: list[str], room: int, max_windows: int) -> Windows:
    """Return the windows of clean texts; the arguments are those of ``read_windows``."""
    reach = window_spans(2**31, room, max_windows)[-1][1]
    tokens = _tokenise(tokenizer, passages, room, reach)
    spans = [window_spans(each.total, room, max_windows) for each in tokens]
    ids = [each.ids[start:end] for each, own in zip(tokens, spans, strict=True) for start, end in own]
    return Windows(ids, tokens, spans)


def read_windows(
    tokenizer: Tokenizer,
    passages: Iterable[str],
    room: int,
    max_windows: int,
    score: Callable[[list[Ids]], Floats],
) -> list[Reading]:
    """Score passages window by window; the best window of each wins, the first of equals.

    Args:
        tokenizer: the model's.
        passages: clean texts; tokenised in slices, so that many long ones need little memory.
        room: tokens of a passage that fit beside the query.
        max_windows: most windows of one passage.
        score: gives ``(m,)`` scores for ``m`` windows (token ids without special ones).
    """
    readings: list[Reading] = []
    for windows in _ahead(slices(passages), lambda texts: cut_windows(tokenizer, texts, room, max_windows)):
        readings += windows.readings(score(windows.ids))
    return readings


def _ahead(things: Iterator[T], work: Callable[[T], R]) -> Iterator[R]:
    """Yield ``work(thing)`` in order; while one is used, the next is in the making on a thread of its own."""
    first = next(things, None)
    if first is None:
        return
    second = next(things, None)
    if second is None:  # nothing to overlap with
        yield work(first)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="secondpass-ahead") as pool:
        pending = pool.submit(work, first)
        for thing in chain([second], things):
            done = pending.result()
            pending = pool.submit(work, thing)
            yield done
        yield pending.result()


def _characters(tokens: _Tokens, first: int, last: int) -> tuple[int, int]:
    start = tokens.offsets[first][0] if first > 0 else 0
    return start, tokens.offsets[last - 1][1] if last < tokens.total else tokens.characters


def _tokenise(tokenizer: Tokenizer, texts: list[str], room: int, reach: int) -> list[_Tokens]:
    short = [text for text in texts if len(text) <= _BLOCK]
    encodings = iter(tokenizer.encode_batch(short, add_special_tokens=False))
    tokens = []
    for text in texts:
        if len(text) > _BLOCK:
            tokens.append(_long(tokenizer, text, reach))
            continue
        encoding = next(encodings)
        total = len(encoding)
        offsets = encoding.offsets[:reach] if total > room else []
        tokens.append(_Tokens(encoding.ids[:reach], offsets, total, len(text)))
    return tokens


def _long(tokenizer: Tokenizer, text: str, reach: int) -> _Tokens:
    """Tokenise block by block: the first ``reach`` tokens are kept, the others only counted."""
    ids: Ids = []
    offsets: list[tuple[int, int]] = []
    total = start = 0
    while start < len(text):
        end = min(start + _BLOCK, len(text))
        if end < len(text):
            space = text.rfind(" ", start + 1, end)
            end = space if space > 0 else end
        encoding = tokenizer.encode(text[start:end], add_special_tokens=False)
        total += len(encoding)
        if len(ids) < reach:
            ids += encoding.ids[: reach - len(ids)]
            kept = encoding.offsets[: len(ids) - len(offsets)]
            offsets += [(first + start, last + start) for first, last in kept]
        start = end
    return _Tokens(ids, offsets, total, len(text))
