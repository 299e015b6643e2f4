"""The labelling loop's logic: what is asked next, marks, undo; without any terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..types import Passage
from .asking import Asked
from .saving import Grade, Marks

__all__ = ["Question", "Session", "Tally"]


@dataclass(frozen=True, slots=True)
class Question:
    """A passage to be marked.

    Attributes:
        asked: the query.
        passage: the passage.
        number, of: which query this is, from 1, and of how many.
        place, among: which passage of the query this is, from 1, and of how many.
    """

    asked: Asked
    passage: Passage
    number: int
    of: int
    place: int
    among: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What stands marked among the queries of a session.

    Attributes:
        queries: how many are done.
        of: how many there are.
        relevant, other, skipped: numbers of passages.
    """

    queries: int
    of: int
    relevant: int
    other: int
    skipped: int


class Session:
    """Goes through the queries, passage by passage; starts where the marks end.

    Args:
        queries: what is asked.
        find: gives the passages of a query in the order they are shown; called once for each query, also
            over several sessions.
        how: says how ``find`` finds; marks pooled another way are kept, but the query is pooled again.
        marks: where marks are kept.
        passage: gives a passage by its id, raising InputError where it is gone.
    """

    def __init__(
        self,
        queries: Sequence[Asked],
        find: Callable[[Asked], Sequence[Passage]],
        how: str,
        marks: Marks,
        passage: Callable[[str], Passage],
    ) -> None:
        self._queries = list(queries)
        self._find = find
        self._how = how
        self._marks = marks
        self._passage = passage
        self._done = {(mark.query_id, mark.passage_id): mark.grade for mark in marks.marks}
        self._gone: set[str] = set()

    def question(self) -> Question | None:
        """Return what is to be marked now; None when all is done."""
        for number, asked in enumerate(self._queries, start=1):
            pool = self._pool(asked)
            for place, passage_id in enumerate(pool, start=1):
                if not self._open(asked, passage_id):
                    continue
                try:
                    passage = self._passage(passage_id)
                except InputError:  # the index has changed since it was pooled
                    self._gone.add(passage_id)
                    continue
                return Question(asked, passage, number, len(self._queries), place, len(pool))
        return None

    def mark(self, question: Question, grade: Grade) -> None:
        """Keep a mark; it is on the disk when this returns."""
        self._marks.add(question.asked, question.passage, grade)
        self._done[question.asked.id, question.passage.id] = grade

    def undo(self) -> bool:
        """Take back the last mark, so that it is asked again; False where these queries have none."""
        mine = {asked.id for asked in self._queries}
        last = self._marks.marks[-1] if self._marks.marks else None
        if last is None or last.query_id not in mine:
            return False
        self._marks.undo()
        self._done.pop((last.query_id, last.passage_id), None)
        return True

    def tally(self) -> Tally:
        """Return how far the session is."""
        mine = {asked.id for asked in self._queries}
        grades = [grade for (query_id, _), grade in self._done.items() if query_id in mine]
        pools = {asked: self._marks.pool(asked, self._how) for asked in self._queries}
        finished = sum(
            pool is not None and not any(self._open(asked, each) for each in pool)
            for asked, pool in pools.items()
        )
        return Tally(
            finished, len(self._queries), grades.count("yes"), grades.count("no"), grades.count("skip")
        )

    def _pool(self, asked: Asked) -> tuple[str, ...]:
        known = self._marks.pool(asked, self._how)
        if known is None:
            known = tuple(passage.id for passage in self._find(asked))
            self._marks.keep_pool(asked, self._how, known)
        return known

    def _open(self, asked: Asked, passage_id: str) -> bool:
        return (asked.id, passage_id) not in self._done and passage_id not in self._gone
