"""Stage 1 and stage 2 in one call: ask an index for candidates, read them with the query, keep the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .arguments import STAGE1, checked_count, checked_stage1, checked_text
from .comparison import Comparison, SecondPass, move
from .errors import InputError, ModelInvalidError
from .ranking import rank, sigmoid
from .types import Hit, Passage, Reading, Reranker, SearchResult, SupportsReadings, Timings

if TYPE_CHECKING:
    from .types import Floats

__all__ = ["STAGE1", "CandidateSource", "Engine"]


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
            ``calibration.load``; for the others it is the sigmoid of a logit.

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
        self._calibrations = dict(calibrations or {})

    def search(
        self,
        query: str,
        k: int = 3,
        *,
        candidates: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> SearchResult:
        """Return the best ``k`` passages for a query; fewer where the index has fewer.

        Args:
            query: a question or a few words.
            k: how many hits come back, 1 to ``candidates``.
            candidates: how many stage 1 hands to stage 2; the engine's own number by default.
            where: only passages whose metadata has these values.

        Raises:
            QueryError: the query is empty, too long or not text.
            InputError: ``k`` or ``candidates`` is out of range.
            ModelInvalidError: the re-ranker gave something other than one number for each candidate.
        """
        start = perf_counter()
        stage1 = self._stage1(query, k, candidates, where)
        result = stage1 if self.reranker is None else self._second_pass(self.reranker, stage1)
        return replace(result, timings=replace(result.timings, total=_milliseconds(start)))

    def compare(
        self,
        query: str,
        rerankers: Sequence[Reranker] | None = None,
        k: int = 3,
        *,
        candidates: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> Comparison:
        """Search once and let each re-ranker read the same candidates.

        Args:
            query: as for ``search``.
            rerankers: the engine's own by default.
            k: as for ``search``.
            candidates: as for ``search``.
            where: as for ``search``.

        Returns:
            Stage 1's list and one for each re-ranker; a re-ranker's ``timings.total`` is stage 1's time
            and its own.

        Raises:
            InputError: no re-ranker, or as for ``search``.
            QueryError, ModelInvalidError: as for ``search``.
        """
        if rerankers is None:
            rerankers = [] if self.reranker is None else [self.reranker]
        _check_rerankers(rerankers)
        stage1 = self._stage1(query, k, candidates, where)
        results = [self._second_pass(reranker, stage1) for reranker in rerankers]
        passes = [SecondPass(each, tuple(move(hit, k) for hit in each.hits)) for each in results]
        return Comparison(query, k, stage1, tuple(passes))

    def _stage1(
        self, query: str, k: int, candidates: int | None, where: Mapping[str, str] | None
    ) -> SearchResult:
        """Return stage 1's answer, stage 2 off."""
        wanted = self.candidates if candidates is None else checked_count("candidates", candidates)
        _check_k(k, wanted)
        checked_text(query)
        start = perf_counter()
        vector = None if self.stage1 == "lexical" else self.index.embed_query(query)
        embedded = perf_counter()
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

    def _second_pass(self, reranker: Reranker, stage1: SearchResult) -> SearchResult:
        return _second_pass(reranker, stage1, self._calibrations.get(reranker.name))


def _second_pass(
    reranker: Reranker, stage1: SearchResult, calibration: Callable[[float], float] | None
) -> SearchResult:
    """Return the answer after stage 2; an empty list of candidates is not shown to the re-ranker."""
    start = perf_counter()
    readings = _read(reranker, stage1.query, [hit.passage for hit in stage1.candidates])
    logits = isinstance(reranker, SupportsReadings) and reranker.logits
    ranked = _ranked(stage1.candidates, readings, calibration or (sigmoid if logits else None))
    spent = _milliseconds(start)
    return replace(
        stage1,
        hits=ranked[: stage1.k],
        ranked=ranked,
        timings=replace(stage1.timings, rerank=spent, total=stage1.timings.total + spent),
        reranker=reranker.name,
        scored=len(readings),
        truncated=sum(each.tokens_seen < each.tokens_total for each in readings if isinstance(each, Reading)),
        calibrated=calibration is not None,
    )


def _read(reranker: Reranker, query: str, passages: Sequence[Passage]) -> list[Reading | float]:
    """Return what the re-ranker made of each passage: a Reading where it gives one, else the score."""
    if not passages:
        return []
    texts = [passage.text for passage in passages]
    given: list[Reading | float]
    if isinstance(reranker, SupportsReadings):
        given = list(reranker.read(query, texts))
    else:
        given = _numbers(reranker.score(query, texts), reranker.name)
    if len(given) != len(texts):
        raise ModelInvalidError(
            f"the re-ranker {reranker.name!r} gave {len(given)} scores for {len(texts)} passages; "
            "it must give one for each, in the same order"
        )
    for passage, each in zip(passages, given, strict=True):
        if not math.isfinite(_score(each)):
            raise ModelInvalidError(
                f"the re-ranker {reranker.name!r} gave the score {_score(each)} to passage {passage.id}; "
                "its weights or its code are damaged, take another one"
            )
    return given


def _numbers(scores: object, name: str) -> list[Reading | float]:
    """Return a flat array or sequence of numbers as floats."""
    shape = getattr(scores, "shape", None)
    try:
        if shape is not None and len(shape) != 1:
            raise TypeError
        return [float(score) for score in scores]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as exc:
        what = f"an array of shape {shape}" if shape is not None else type(scores).__name__
        raise ModelInvalidError(
            f"the re-ranker {name!r} gave {what}; its score() must give one number for each passage"
        ) from exc


def _score(given: Reading | float) -> float:
    return given.score if isinstance(given, Reading) else given


def _ranked(
    candidates: Sequence[Hit],
    readings: Sequence[Reading | float],
    probability: Callable[[float], float] | None,
) -> tuple[Hit, ...]:
    """Return the candidates in the re-ranker's order, ties by passage id."""
    pairs = {hit.passage.id: (hit, given) for hit, given in zip(candidates, readings, strict=True)}
    order = rank((key, _score(given)) for key, (_, given) in pairs.items())
    hits = []
    for place, (key, score) in enumerate(order, start=1):
        candidate, given = pairs[key]
        hits.append(
            Hit(
                passage=candidate.passage,
                score=score,
                rank=place,
                candidate=candidate,
                probability=None if probability is None else probability(score),
                reading=given if isinstance(given, Reading) else None,
                also_in=candidate.also_in,
            )
        )
    return tuple(hits)


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


def _milliseconds(start: float) -> float:
    return (perf_counter() - start) * 1000
