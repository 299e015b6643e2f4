"""``Engine``: searches an index in two stages, and compares what re-rankers make of the same candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..arguments import checked_count, checked_stage1, checked_text
from ..comparison import Comparison, SecondPass, move
from ..errors import InputError
from ..gating import Gate
from ..scores import CachedReranker, ScoreCache
from ..types import Hit, Reranker, SearchResult, SupportsPrecomputed, Timings
from .reading import Cancel, Limits, Pace
from .second_pass import second_pass

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["CandidateSource", "Engine"]


@runtime_checkable
class CandidateSource(Protocol):
    """What the engine needs of an index."""

    def embed_query(self, query: str) -> Floats:
        """Return the ``(dimension,)`` unit vector of a query."""
        ...

    def candidates(
        self, query: str, vector: Floats | None, k: int, stage1: Any, where: Mapping[str, str] | None
    ) -> list[Hit]:
        """Return at most ``k`` stage-1 hits, best first; ``vector`` is None for ``lexical``."""
        ...


class Engine:
    """Two-stage search over an index.

    Args:
        index: an ``Index``, or anything with its ``embed_query`` and ``candidates``.
        reranker: reads the candidates together with the query; None turns stage 2 off.
        candidates: how many passages stage 1 hands to stage 2, at least 1.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        calibrations: name of a re-ranker to what turns its scores into probabilities, see
            ``calibration.lookup``; for the others it is the sigmoid of a logit.
        cache: keeps scores, so that no passage is read twice for the same query; None reads always.

    Raises:
        InputError: one of them cannot be used.
    """

    def __init__(
        self,
        index: CandidateSource,
        reranker: Reranker | None = None,
        candidates: int = 20,
        stage1: str = "dense",
        calibrations: Mapping[str, Callable[[float], float]] | None = None,
        *,
        cache: ScoreCache | None = None,
        gate: Gate | None = None,
    ) -> None:
        if not isinstance(index, CandidateSource):
            raise InputError(
                f"an engine searches an Index, got {type(index).__name__}; see Index.open(folder)"
            )
        if reranker is not None:
            _check_reranker(reranker)
        self.index = index
        self.reranker = reranker
        self.stage1 = checked_stage1(stage1)
        self.candidates = checked_count("candidates", candidates)
        self.cache = _checked_cache(cache)
        self.gate = _checked_gate(gate, self.stage1)
        self._calibrations = dict(calibrations or {})
        self._pace = Pace()
        self._own: CachedReranker | None = None

    def search(
        self,
        query: str,
        k: int = 3,
        *,
        candidates: int | None = None,
        where: Mapping[str, str] | None = None,
        deadline_ms: float | None = None,
        cancel: Cancel | None = None,
    ) -> SearchResult:
        """Return the best ``k`` passages for a query; fewer where the index has fewer.

        Candidates that are equal but for spaces and line breaks are read once, see ``Hit.copied_from``.

        Args:
            query: a question or a few words.
            k: how many hits come back, 1 to ``candidates``.
            candidates: how many stage 1 hands to stage 2; the engine's own number by default.
            where: only passages whose metadata has these values.
            deadline_ms: milliseconds from the call on, stage 1 included. Candidates are read in stage 1's
                order, in micro-batches, and none is begun that is expected to end later; at least one is read
                where stage 1 leaves any time at all. What was not read stands behind what was, see
                ``Hit.unread``.
            cancel: an event that may be set, or a function that may return True, from any thread: the
                search then ends before its next step or micro-batch.

        Raises:
            QueryError: the query is empty, too long or not text.
            InputError: ``k``, ``candidates`` or ``deadline_ms`` is out of range.
            ModelInvalidError: the re-ranker gave something other than one number for each candidate.
            SearchCancelledError: ``cancel`` said so.
        """
        start = perf_counter()
        limits = Limits.of(start, deadline_ms, cancel)
        result = self._stage1(query, k, candidates, where, limits)
        if self.reranker is not None:
            if self.gate is not None and self.gate.skips([hit.score for hit in result.candidates], k):
                result = replace(result, gated=True)
            else:
                result = self._second_pass(self.reranker, result, limits)
        return replace(result, timings=replace(result.timings, total=_milliseconds(start)))

    def compare(
        self,
        query: str,
        rerankers: Sequence[Reranker] | None = None,
        k: int = 3,
        *,
        candidates: int | None = None,
        where: Mapping[str, str] | None = None,
        deadline_ms: float | None = None,
        cancel: Cancel | None = None,
    ) -> Comparison:
        """Search once and let each re-ranker read the same candidates.

        Args:
            query: as for ``search``.
            rerankers: the engine's own by default.
            k: as for ``search``.
            candidates: as for ``search``.
            where: as for ``search``.
            deadline_ms: as for ``search``, for each re-ranker as if it alone had followed stage 1.
            cancel: as for ``search``.

        Returns:
            Stage 1's list and one for each re-ranker; a re-ranker's ``timings.total`` is stage 1's time
            and its own.

        Raises:
            InputError: no re-ranker, or as for ``search``.
            QueryError, ModelInvalidError, SearchCancelledError: as for ``search``.
        """
        if rerankers is None:
            rerankers = [] if self.reranker is None else [self.reranker]
        _check_rerankers(rerankers)
        stage1 = self._stage1(query, k, candidates, where, Limits.of(perf_counter(), deadline_ms, cancel))
        results = []
        for reranker in rerankers:
            began = perf_counter() - stage1.timings.total / 1000
            results.append(self._second_pass(reranker, stage1, Limits.of(began, deadline_ms, cancel)))
        passes = [SecondPass(each, tuple(move(hit, k) for hit in each.hits)) for each in results]
        return Comparison(query, k, stage1, tuple(passes))

    def _stage1(
        self,
        query: str,
        k: int,
        candidates: int | None,
        where: Mapping[str, str] | None,
        limits: Limits,
    ) -> SearchResult:
        """Return stage 1's answer, stage 2 off. A deadline does not end it, a cancellation does."""
        wanted = self.candidates if candidates is None else checked_count("candidates", candidates)
        _check_k(k, wanted)
        checked_text(query)
        limits.check()
        start = perf_counter()
        vector = None if self.stage1 == "lexical" else self.index.embed_query(query)
        embedded = perf_counter()
        limits.check()
        found = tuple(self.index.candidates(query, vector, wanted, self.stage1, where))
        searched = perf_counter()
        timings = Timings(
            embed=(embedded - start) * 1000,
            search=(searched - embedded) * 1000,
            rerank=0.0,
            total=(searched - start) * 1000,
        )
        return SearchResult(
            query=query,
            hits=found[:k],
            candidates=found,
            ranked=found,
            timings=timings,
            stage1=self.stage1,
            reranker="none",
            k=k,
            scored=0,
        )

    def _second_pass(self, reranker: Reranker, stage1: SearchResult, limits: Limits) -> SearchResult:
        calibration = self._calibrations.get(reranker.name)
        folder = getattr(self.index, "path", None)
        if isinstance(reranker, SupportsPrecomputed) and isinstance(folder, Path):
            reranker.beside(folder)
        if self.cache is not None and not isinstance(reranker, CachedReranker):
            reranker = self._cached(reranker, self.cache)
        return second_pass(reranker, stage1, calibration, limits, self._pace)

    def _cached(self, reranker: Reranker, cache: ScoreCache) -> CachedReranker:
        if reranker is not self.reranker:
            return CachedReranker(reranker, cache)
        if self._own is None:
            self._own = CachedReranker(reranker, cache)
        return self._own


def _check_rerankers(rerankers: Sequence[Reranker]) -> None:
    if not rerankers:
        raise InputError("nothing to compare stage 1 with; give at least one re-ranker, e.g. load_reranker()")
    for reranker in rerankers:
        _check_reranker(reranker)


def _check_reranker(reranker: object) -> None:
    if not isinstance(reranker, Reranker):
        raise InputError(
            f"a re-ranker has a name and score(query, passages), got {type(reranker).__name__}; "
            "see load_reranker(name)"
        )


def _check_k(k: int, candidates: int) -> None:
    checked_count("k", k, f" (and at most candidates, {candidates})")
    if k > candidates:
        raise InputError(
            f"k is {k}, but stage 1 hands on only {candidates} candidates; "
            f"ask for at most {candidates} hits or at least {k} candidates"
        )


def _checked_cache(cache: object) -> ScoreCache | None:
    if cache is not None and not isinstance(cache, ScoreCache):
        raise InputError(f"cache must be a ScoreCache, got {type(cache).__name__}; or None to read always")
    return cache


def _checked_gate(gate: object, stage1: str) -> Gate | None:
    if gate is not None and not isinstance(gate, Gate):
        raise InputError(f"gate must be a Gate, got {type(gate).__name__}; see gating.parse_gate")
    if gate is not None and gate.stage1 != stage1:
        raise InputError(
            f"the gate was fitted on {gate.stage1} scores, stage 1 is {stage1}, whose scores are of another "
            f"scale; search {gate.stage1}, or fit the gate again: secondpass worth-it --write"
        )
    return gate


def _milliseconds(start: float) -> float:
    return (perf_counter() - start) * 1000
