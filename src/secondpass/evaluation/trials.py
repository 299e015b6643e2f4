"""Trials: every query searched once by each stage 1, every candidate read once by each re-ranker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

from ..arguments import checked_count, checked_stage1, checked_text
from ..errors import InputError, ModelInvalidError, QueryError
from ..ranking import rank
from .trec import ordered
from .values import Judged, Qrels, Run, Setting, Trial, Unit

if TYPE_CHECKING:
    from ..engine import CandidateSource
    from ..types import Hit, Reranker

__all__ = ["Trials", "collect"]

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Trials:
    """What ``collect`` found.

    Attributes:
        trials: query by query, in the order they were given; for each one its stage 1s.
        depth: how many candidates stage 1 was asked for.
        refused: id to reason, of the queries that are longer than a model reads; they have no trial.
    """

    trials: tuple[Trial, ...]
    depth: int
    refused: Mapping[str, str] = field(default_factory=dict)
    _found: Mapping[tuple[str, str], Trial] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {(trial.query_id, trial.stage1): trial for trial in self.trials}
        object.__setattr__(self, "_found", found)

    def tried(self, judged: Judged) -> Judged:
        """Return the judgments without those of refused queries.

        Raises:
            QueryError: every query was refused.
        """
        if not self.refused:
            return judged
        left = {key: query for key, query in judged.queries.items() if key not in self.refused}
        if not left:
            raise QueryError(f"no query can be read: {next(iter(self.refused.values()))}")
        return replace(judged, queries=left, qrels={key: judged.qrels[key] for key in left})

    def trial(self, query_id: str, stage1: str) -> Trial:
        """Return one trial.

        Raises:
            InputError: that query was not asked that way.
        """
        try:
            return self._found[query_id, stage1]
        except KeyError as exc:
            raise InputError(f"the query {query_id!r} was not tried with {stage1}") from exc

    def ranking(self, query_id: str, setting: Setting) -> list[tuple[str, float]]:
        """Return passage ids with scores under a setting, best first, ties by id.

        Candidates that the setting does not hand to its re-ranker follow in stage 1's order, below the worst
        of those that were read.

        Raises:
            InputError: nothing was tried that the setting could follow from.
        """
        trial = self.trial(query_id, setting.stage1)
        if setting.reranker == "none":
            return list(zip(trial.passages, trial.scores, strict=True))
        if setting.reranker not in trial.reranked:
            raise InputError(f"the re-ranker {setting.reranker!r} was not tried on the query {query_id!r}")
        read = setting.candidates
        scores = trial.reranked[setting.reranker]
        if len(scores) < min(read, len(trial.passages)):
            raise InputError(f"{setting.reranker!r} read {len(scores)} candidates of {setting.name!r}")
        ranked = rank(zip(trial.passages[:read], scores[:read], strict=True))
        below = ranked[-1][1] if ranked else 0.0
        rest = trial.passages[read:]
        return ranked + [(key, below - place) for place, key in enumerate(rest, start=1)]

    def run(self, setting: Setting, unit: Unit) -> Run:
        """Return the run of a setting, its scores falling strictly, see ``trec.ordered``.

        A document scores as its best passage, and a passage counts for every document that holds its text.
        Passages of one text stand there once, under the id that a search gives, see ``qrels``.
        """
        made: dict[str, dict[str, float]] = {}
        for trial in self.trials:
            if trial.stage1 != setting.stage1:
                continue
            place_of = {key: place for place, key in enumerate(trial.passages)}
            scores: dict[str, float] = {}
            for key, score in self.ranking(trial.query_id, setting):
                for each in trial.holding(place_of[key]) if unit == "document" else (key,):
                    scores.setdefault(each, score)
            made[trial.query_id] = dict(ordered(list(scores.items())))
        return made

    def qrels(self, judged: Judged) -> Qrels:
        """Return the judgments in the ids of ``run``: a judged passage under that of the first with its text.

        Of several judgments of one text the highest grade counts.
        """
        if judged.unit == "document":
            return judged.qrels
        first = {
            copy: trial.passages[place]
            for trial in self.trials
            for place in range(len(trial.copies))
            for copy in trial.copies[place]
        }
        made: dict[str, dict[str, int]] = {}
        for query_id, grades in judged.qrels.items():
            kept = made.setdefault(query_id, {})
            for key, grade in grades.items():
                name = first.get(key, key)
                kept[name] = max(grade, kept.get(name, grade))
        return made


def collect(
    index: CandidateSource,
    queries: Mapping[str, str],
    *,
    stage1s: Sequence[str] = ("dense",),
    rerankers: Sequence[Reranker] = (),
    depth: int = 20,
    read: int | None = None,
    where: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
) -> Trials:
    """Search each query each way and have every candidate read; what several ways find is read once.

    A query that is longer than a model reads is left out, as a search refuses it, and named in ``refused``.

    Args:
        index: what is searched.
        queries: id to text.
        stage1s: ways to search, each of them once.
        rerankers: of different names.
        depth: how many candidates.
        read: how many of them, from the first, re-rankers read; all by default.
        where: only passages whose metadata has these values.
        progress: called after each query with the number done and the total.

    Raises:
        InputError: an argument cannot be used.
        QueryError: a query is empty.
        ModelInvalidError: a re-ranker did not give one finite number for each candidate.
    """
    checked_count("depth", depth)
    handed = depth if read is None else min(depth, checked_count("read", read))
    ways = list(dict.fromkeys(checked_stage1(stage1) for stage1 in stage1s))
    names = [reranker.name for reranker in rerankers]
    if not ways or len(set(names)) < len(names):
        raise InputError("trials need at least one way to search, and re-rankers of different names")
    found: list[Trial] = []
    refused: dict[str, str] = {}
    for done, (query_id, query) in enumerate(queries.items(), start=1):
        checked_text(query)
        try:
            lists, spent = _searched(index, query, ways, depth, where)
            texts = {hit.passage.id: hit.passage.text for hits in lists.values() for hit in hits[:handed]}
            given = {reranker.name: _scores(reranker, query, texts) for reranker in rerankers}
        except QueryError as exc:
            refused[query_id] = str(exc)
        else:
            found += [_trial(query_id, query, way, lists[way], given, handed, spent[way]) for way in ways]
        if progress is not None:
            progress(done, len(queries))
    return Trials(tuple(found), depth, refused)


def _searched(
    index: CandidateSource, query: str, ways: Sequence[str], depth: int, where: Mapping[str, str] | None
) -> tuple[dict[str, list[Hit]], dict[str, float]]:
    """Return each way's candidates and its milliseconds; a query is embedded once."""
    lists: dict[str, list[Hit]] = {}
    spent: dict[str, float] = {}
    start = perf_counter()
    vector = None if set(ways) == {"lexical"} else index.embed_query(query)
    embedding = (perf_counter() - start) * 1000
    for way in ways:
        start = perf_counter()
        lists[way] = index.candidates(query, None if way == "lexical" else vector, depth, way, where)
        spent[way] = (perf_counter() - start) * 1000 + (0.0 if way == "lexical" else embedding)
    return lists, spent


def _scores(reranker: Reranker, query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """Return passage id to score."""
    if not texts:
        return {}
    scores = [float(score) for score in reranker.score(query, list(texts.values()))]
    if len(scores) != len(texts) or not all(map(math.isfinite, scores)):
        raise ModelInvalidError(
            f"the re-ranker {reranker.name!r} did not give one finite score for each of {len(texts)} "
            "passages; its weights or its code are damaged, take another one"
        )
    return dict(zip(texts, scores, strict=True))


def _trial(
    query_id: str,
    query: str,
    stage1: str,
    hits: Sequence[Hit],
    given: Mapping[str, Mapping[str, float]],
    handed: int,
    spent: float,
) -> Trial:
    ids = tuple(hit.passage.id for hit in hits)
    return Trial(
        query_id=query_id,
        query=query,
        stage1=stage1,
        passages=ids,
        documents=tuple(hit.passage.document_id for hit in hits),
        scores=tuple(hit.score for hit in hits),
        reranked={name: tuple(scores[key] for key in ids[:handed]) for name, scores in given.items()},
        stage1_ms=spent,
        also=_further(hits, [_others(hit) for hit in hits]),
        copies=_further(hits, [tuple(each.id for each in hit.also_in) for hit in hits]),
    )


def _others(hit: Hit) -> tuple[str, ...]:
    """Return the other documents that hold a hit's text."""
    found = dict.fromkeys(each.document_id for each in hit.also_in)
    return tuple(each for each in found if each != hit.passage.document_id)


def _further(hits: Sequence[Hit], each: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(each) if any(hit.also_in for hit in hits) else ()
