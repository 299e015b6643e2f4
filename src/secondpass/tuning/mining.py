"""Hard negatives: what stage 1 finds for a query and is not relevant to it, less what may well be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..evaluation.values import Judged
from .alike import NEAR_COPY, overlap, words
from .values import Example, Progress

if TYPE_CHECKING:
    from ..index import Index
    from ..types import Hit

__all__ = ["DEPTH", "mine"]

DEPTH = 60
"""Of stage 1's first so many. A positive further down is dropped: no re-ranker would ever see it."""
KEPT = 30
"""Most hard negatives a query."""
FAR_ABOVE = 0.15
"""A passage whose cosine exceeds the positive's by more may be a positive that nobody marked."""
HEADING_SHARE = 0.97
"""Many sections answer the same heading: there a negative must be so much less like the query."""


def mine(
    index: Index, judged: Judged, progress: Progress | None = None, *, depth: int = DEPTH
) -> tuple[list[Example], int]:
    """Return what can be learnt from, and how many queries gave nothing.

    Args:
        index: dense and hybrid search give the candidates.
        judged: the training queries.
        progress: told of each query.
        depth: see ``DEPTH``.
    """
    found = []
    for done, (key, query) in enumerate(judged.queries.items(), start=1):
        example = _Mining(index, judged, key, query, depth).example()
        if example is not None:
            found.append(example)
        if progress is not None:
            progress("searching", done, len(judged.queries))
    return found, len(judged.queries) - len(found)


@dataclass(frozen=True)
class _Mining:
    """One query."""

    index: Index
    judged: Judged
    key: str
    query: str
    depth: int

    def example(self) -> Example | None:
        vector = self.index.embed_query(self.query)
        dense = self.index.candidates(self.query, vector, self.depth, "dense")
        hits = self.index.candidates(self.query, vector, self.depth, "hybrid")
        cosines = {hit.passage.id: hit.score for hit in dense}
        relevant = [hit for hit in [*dense, *hits] if self._grade(hit) > 0]
        if not relevant:
            return None
        positives = self._positives(relevant)
        lowest = dense[-1].score
        nearest = max(cosines.get(hit.passage.id, lowest) for hit in positives)
        bound = nearest * HEADING_SHARE if self.judged.synthetic else nearest + FAR_ABOVE
        texts = tuple(dict.fromkeys(hit.passage.text for hit in positives))
        bags = [words(text) for text in texts]
        negatives = self._marked()
        for hit in hits:
            text = hit.passage.text
            if self._grade(hit) > 0 or text in negatives:
                continue
            plausible = cosines.get(hit.passage.id, lowest) <= bound and not _copies(text, bags)
            if self._is_marked(hit) or plausible:
                negatives.append(text)
        if not negatives:
            return None
        known = frozenset(hit.passage.text for hit in relevant)
        return Example(self.query, texts, tuple(negatives[:KEPT]), known)

    def _positives(self, relevant: Sequence[Hit]) -> list[Hit]:
        """Return the relevant passages; of a relevant document the passage most like the query."""
        if self.judged.unit == "passage":
            return list({hit.passage.id: hit for hit in relevant}.values())
        best: dict[str, Hit] = {}
        for hit in relevant:  # the dense ones come first, best first
            best.setdefault(hit.passage.document_id, hit)
        return list(best.values())

    def _names(self, hit: Hit) -> list[str]:
        places = (hit.passage, *hit.also_in)
        return [each.id if self.judged.unit == "passage" else each.document_id for each in places]

    def _grade(self, hit: Hit) -> int:
        grades = self.judged.qrels[self.key]
        return max(grades.get(name, 0) for name in self._names(hit))

    def _is_marked(self, hit: Hit) -> bool:
        """Whether somebody said that it is not relevant."""
        grades = self.judged.qrels[self.key]
        return any(grades.get(name, 1) <= 0 for name in self._names(hit))

    def _marked(self) -> list[str]:
        """Return the passages that were judged not relevant, whether stage 1 finds them or not."""
        if self.judged.unit != "passage":
            return []
        marked = [name for name, grade in self.judged.qrels[self.key].items() if grade <= 0]
        found = []
        for name in marked:
            try:
                found.append(self.index.passage(name).text)
            except ValueError:  # an InputError: judged once, and gone from the index since
                continue
        return list(dict.fromkeys(found))


def _copies(text: str, bags: Sequence[frozenset[str]]) -> bool:
    own = words(text)
    return any(overlap(own, bag) >= NEAR_COPY for bag in bags)
