"""The values of an evaluation: what was judged, what was tried, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Ceiling",
    "Evaluation",
    "Judged",
    "Paired",
    "PerQuery",
    "Qrels",
    "Row",
    "Run",
    "Setting",
    "Trial",
    "Unit",
]

Qrels = Mapping[str, Mapping[str, int]]
"""Query id to (document or passage id to grade); above 0 is relevant."""
Run = Mapping[str, Mapping[str, float]]
"""Query id to (document or passage id to score); higher is better."""
Unit = Literal["document", "passage"]


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries with judgments.

    Attributes:
        queries: query id to text; exactly those of ``qrels``.
        qrels: ids are document ids or passage ids of an index, see ``unit``.
        unit: what was judged. A document scores as its best passage.
        origin: where the judgments came from, for people: a path, or a few words.
        synthetic: the queries were made from the documents themselves, not asked by anybody.
        references: query id to a reference answer, where there is one.
        missing: query id to what was judged relevant and is not in the index. It stays in ``qrels``, as it
            was written: no ranking can find it, and the measures say so.
    """

    queries: Mapping[str, str]
    qrels: Qrels
    unit: Unit
    origin: str = ""
    synthetic: bool = False
    references: Mapping[str, str] | None = None
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search: what a row of a table stands for.

    Attributes:
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        reranker: a re-ranker's name, or ``none``.
        candidates: how many stage 1 hands to stage 2; without stage 2, how deep its own list goes.
    """

    stage1: str
    reranker: str = "none"
    candidates: int = 20

    @property
    def name(self) -> str:
        """For people: ``dense``, or ``dense 20 > minilm-l6``."""
        return (
            self.stage1 if self.reranker == "none" else f"{self.stage1} {self.candidates} > {self.reranker}"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One query, searched once by one stage 1 to the full depth, each candidate read by each re-ranker.

    Every shallower setting follows from it without searching again.

    Attributes:
        query_id, query: what was asked.
        stage1: how it was searched.
        passages: ids of the candidates, best first, to the depth of the trials.
        documents: the document of each candidate.
        scores: stage 1's score of each candidate, descending.
        reranked: re-ranker's name to its score of each candidate, in the candidates' order; those that it
            did not read, at the end of the list, have none.
        stage1_ms: wall time of embedding and searching, milliseconds.
        also: further documents that hold each candidate's text word for word; empty where none does.
        copies: ids of the further passages of each candidate's text, likewise.
    """

    query_id: str
    query: str
    stage1: str
    passages: tuple[str, ...]
    documents: tuple[str, ...]
    scores: tuple[float, ...]
    reranked: Mapping[str, tuple[float, ...]]
    stage1_ms: float
    also: tuple[tuple[str, ...], ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()

    def holding(self, place: int) -> tuple[str, ...]:
        """Return the documents that hold the candidate at a place (from 0), its own first."""
        further = self.also[place] if self.also else ()
        return (self.documents[place], *further)

    def standing_for(self, place: int) -> tuple[str, ...]:
        """Return the ids of the passages with the text of the candidate at a place, its own first."""
        further = self.copies[place] if self.copies else ()
        return (self.passages[place], *further)


@dataclass(frozen=True, slots=True)
class Paired:
    """A difference between two settings over the same queries.

    Attributes:
        difference: mean of ours minus theirs.
        low, high: 95 % bootstrap interval of that mean.
        p: two-sided paired randomisation test.
        wins, losses, ties: how many queries.
    """

    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Row:
    """One setting over all queries.

    Attributes:
        setting: what was run.
        means: measure (``nDCG@10``) to its mean, 0..1.
        against: measure to the paired difference from the same stage 1 alone; empty for stage 1 alone.
        latency_ms: median wall time of one warm, uncached search; None where it was not measured.
    """

    setting: Setting
    means: Mapping[str, float]
    against: Mapping[str, Paired]
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What stage 2 could mend at best, for one stage 1 and one number of candidates.

    The three shares are of the judged queries and add up to 1.

    Attributes:
        in_top: a relevant one stands among the first ``k`` of stage 1 already.
        in_candidates: one stands among the candidates, behind the first ``k``: stage 2 can mend these.
        absent: none is among the candidates: raise ``candidates``, or search hybrid.
    """

    stage1: str
    k: int
    candidates: int
    in_top: float
    in_candidates: float
    absent: float


@dataclass(frozen=True, slots=True)
class PerQuery:
    """One query under every setting: measure values in the order of ``Evaluation.rows``."""

    query_id: str
    query: str
    values: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that one evaluation found.

    Attributes:
        measures: their names, the first is the one that decides.
        rows: one for each setting; for each stage 1 it alone comes first.
        per_query: one for each query, in the order of the judgments.
        ceilings: one for each stage 1.
        unit, synthetic, origin: as in ``Judged``.
        queries: how many were judged and asked.
    """

    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    per_query: tuple[PerQuery, ...]
    ceilings: tuple[Ceiling, ...]
    unit: Unit
    synthetic: bool
    origin: str
    queries: int
