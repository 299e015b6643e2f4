"""The comparison of LangChain documents before and after the second pass, and its table."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from ...comparison import move
from ...types import Hit, Passage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.documents import Document

__all__ = ["RetrievalComparison", "compared"]

_COLUMN = 50
"""Characters of one column of the table: two of them and the place fill a line of 106."""


@dataclass(frozen=True, slots=True)
class RetrievalComparison:
    """What stage 1 would have returned beside what stage 2 made of it; ``str()`` gives the table.

    Attributes:
        query: what was asked.
        reranker: name of the re-ranker.
        candidates: how many documents stage 2 read.
        before: the store's first ``k_final``, in its order.
        after: the re-ranked first ``k_final``.
        moves: for each of ``after``: ``new`` (it was outside the first ``k_final``), ``up 2``,
            ``down 1`` or ``same``.
    """

    query: str
    reranker: str
    candidates: int
    before: tuple[Document, ...]
    after: tuple[Document, ...]
    moves: tuple[str, ...]

    @property
    def changed(self) -> int:
        """How many of ``after`` were not among the store's first ``k_final``."""
        return self.moves.count("new")

    def __str__(self) -> str:
        if not self.after:
            return f"Query: {self.query}\nThe store gave no document."
        lines = [
            f"Query: {self.query}",
            f"Stage 2: {self.reranker}, read {self.candidates} candidates",
            "",
            _row("", "stage 1: the store's order", "stage 2: re-ranked"),
            _row("--", "-" * _COLUMN, "-" * _COLUMN),
        ]
        places = zip(self.before, self.after, self.moves, strict=True)
        for place, (old, new, how) in enumerate(places, start=1):
            left = _cell(_head_of_candidate(old), old.page_content)
            right = _cell(_head_of_hit(new, how), new.page_content)
            numbers = [str(place)]
            lines += [_row(*cells) for cells in zip_longest(numbers, left, right, fillvalue="")]
            lines.append("")
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        shown = len(self.after)
        reordered = not self.changed and any(how != "same" for how in self.moves)
        more = f": the same {shown} in another order" if reordered else ""
        return f"Re-ranking changed {self.changed} of {shown}{more}."


def compared(query: str, reranker: str, ranked: Sequence[Document], k: int) -> RetrievalComparison:
    """Return the first ``k`` before and after, from all candidates, annotated by ``RerankedRetriever``."""
    before = sorted(ranked, key=lambda document: int(document.metadata["candidate_rank"]))
    moves = tuple(move(_as_hit(document), k) for document in ranked[:k])
    return RetrievalComparison(query, reranker, len(ranked), tuple(before[:k]), tuple(ranked[:k]), moves)


def _as_hit(document: Document) -> Hit:
    text, places = document.page_content, document.metadata
    passage = Passage(document.id or "", document.id or "", text, 0, len(text))
    candidate = Hit(passage, -places["candidate_rank"], places["candidate_rank"])
    return Hit(passage, places["relevance_score"], places["rerank_rank"], candidate)


def _head_of_candidate(document: Document) -> str:
    if "candidate_value" not in document.metadata:
        return "(this store gives no number)"
    return f"value {document.metadata['candidate_value']:.3f}"


def _head_of_hit(document: Document, how: str) -> str:
    was = f", was {document.metadata['candidate_rank']}" if how != "same" else ""
    return f"score {document.metadata['relevance_score']:.3f} ({how}{was})"


def _cell(head: str, text: str) -> list[str]:
    return [head, *textwrap.wrap(text, _COLUMN, max_lines=4, placeholder=" ...")]


def _row(place: str, left: str, right: str) -> str:
    return f"{place:<3}{left:<{_COLUMN}} | {right}".rstrip()
