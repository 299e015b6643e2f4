"""Having candidates read: all in one call, or in micro-batches that a deadline or the caller can end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from ..errors import InputError, SearchCancelledError
from ..scores import CachedReranker, Given, ask, check_finite
from ..types import Passage, Reranker

__all__ = ["Cancel", "Limits", "Pace", "Readings", "read"]

Cancel = threading.Event | Callable[[], bool]
"""Says whether the caller still wants the answer."""

_SHARE = 0.5
"""A micro-batch takes at most this share of the time left, so that a wrong guess costs little."""
_CANCEL_MS = 100.0
"""Where only a cancellation is to be noticed, a micro-batch takes about as long as this."""
_LONGEST = 65_536
"""Characters of a passage that count for its cost: a re-ranker reads a bounded number of windows."""
_FIXED = 100
"""What a passage costs whatever its length, in characters: the query is read with each."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What can end a search before its candidates are all read.

    Attributes:
        until: on the clock of ``perf_counter``; None without a deadline.
        cancel: asked before each step; None where nobody can cancel.
    """

    until: float | None = None
    cancel: Cancel | None = None

    @classmethod
    def of(cls, start: float, deadline_ms: float | None, cancel: Cancel | None) -> Limits:
        """Return the limits of a search that began at ``start``.

        Raises:
            InputError: a deadline that is no number of milliseconds from 0, or something that cannot cancel.
        """
        if cancel is not None and not isinstance(cancel, threading.Event) and not callable(cancel):
            raise InputError(f"cancel must be a threading.Event or a function, got {type(cancel).__name__}")
        if deadline_ms is None:
            return cls(None, cancel)
        if isinstance(deadline_ms, bool) or not isinstance(deadline_ms, int | float):
            raise InputError(f"deadline_ms must be a number of milliseconds, got {deadline_ms!r}")
        if not 0 <= deadline_ms < math.inf:
            raise InputError(f"deadline_ms must be a number of milliseconds from 0, got {deadline_ms}")
        return cls(start + deadline_ms / 1000, cancel)

    def check(self) -> None:
        """Raise SearchCancelledError where the caller does not want the answer any more."""
        if self.cancel is None:
            return
        cancelled = self.cancel.is_set() if isinstance(self.cancel, threading.Event) else self.cancel()
        if cancelled:
            raise SearchCancelledError(
                "the search was cancelled by its caller; ask again if that was not meant"
            )

    @property
    def left_ms(self) -> float:
        """Milliseconds until the deadline; infinite without one."""
        return math.inf if self.until is None else (self.until - perf_counter()) * 1000


class Pace:
    """How fast each re-ranker reads on this machine, learnt from what it read before."""

    def __init__(self) -> None:
        self._costs: dict[str, float] = {}

    def learn(self, name: str, texts: Sequence[str], spent_ms: float) -> None:
        """Note how long some texts took; what came before counts half."""
        new = spent_ms / sum(map(_cost, texts))
        old = self._costs.get(name)
        self._costs[name] = new if old is None else (old + new) / 2

    def expect(self, name: str, texts: Sequence[str]) -> float:
        """Return how many milliseconds texts may take; 0 where nothing is known of the re-ranker."""
        return self._costs.get(name, 0.0) * sum(map(_cost, texts))

    def micro_batch(self, name: str, texts: Sequence[str], least: int, limits: Limits) -> int:
        """Return how many of the texts to read next, 0 to stop.

        Args:
            name: of the re-ranker.
            texts: what is left, in order; at least one.
            least: how many keep all cores busy; fewer are read only where no more are left.
            limits: what may end the search.
        """
        left = limits.left_ms
        if left <= 0:
            return 0
        if name not in self._costs:
            return min(least, len(texts))
        if self.expect(name, texts[:least]) > left:
            return 0
        room = min(left * _SHARE, _CANCEL_MS) if limits.cancel is not None else left * _SHARE
        size, spent = 0, 0.0
        while size < len(texts) and spent <= room:
            spent += self.expect(name, texts[size : size + least])
            size += least if spent <= room or size == 0 else 0
        return min(size, len(texts))


def _cost(text: str) -> int:
    return min(len(text), _LONGEST) + _FIXED


@dataclass(slots=True)
class Readings:
    """What became of each text.

    Attributes:
        given: None where the deadline came first.
        cached: how many of them were known already.
    """

    given: list[Given | None]
    cached: int


def read(reranker: Reranker, query: str, passages: Sequence[Passage], limits: Limits, pace: Pace) -> Readings:
    """Have passages read in their order, as many as the limits allow.

    Without limits that is one call. What a cache knows costs nothing and comes first.

    Raises:
        SearchCancelledError: the caller does not want the answer any more.
        ModelInvalidError: the re-ranker gave something other than one finite number for each.
    """
    limits.check()
    texts = [passage.text for passage in passages]
    known = reranker.known(query, texts) if isinstance(reranker, CachedReranker) else [None] * len(texts)
    readings = Readings(list(known), sum(each is not None for each in known))
    missing = [place for place, each in enumerate(known) if each is None]
    least, some = _least(limits), False
    while missing:
        limits.check()
        size = len(missing)
        if limits != Limits():
            rest = [texts[place] for place in missing]
            size = pace.micro_batch(reranker.name, rest, least, limits)
            if not size and not some and limits.left_ms > 0:
                size = min(least, len(missing))  # time is left: never give up on a guess alone
        if not size:
            break
        part, missing, some = missing[:size], missing[size:], True
        start = perf_counter()
        given = ask(reranker, query, [texts[place] for place in part])
        check_finite(reranker, given, [passages[place].id for place in part])
        pace.learn(reranker.name, [texts[place] for place in part], (perf_counter() - start) * 1000)
        for place, each in zip(part, given, strict=True):
            readings.given[place] = each
    return readings


def _least(limits: Limits) -> int:
    if limits == Limits():
        return 0
    from ..cores import usable_cores

    return max(2, usable_cores())
