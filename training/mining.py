"""Hard negatives: what first stages find for a question beside its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from secondpass.ranking import fuse
from secondpass.tuning.alike import NEAR_COPY, overlap, words
from secondpass.tuning.mining import FAR_ABOVE, HEADING_SHARE
from training.data import Pool

WEAK = ("win32_docs", "python_peps", "powershell_docs", "freecodecamp_guides")
K1, B = 0.9, 0.4  # of BM25, as Anserini sets them
COMMON = 0.2  # a token in more of the passages than this tells nothing apart

Groups = dict[str, np.ndarray]


def read_groups(folder: Path, name: str) -> Groups:
    """Groups as they were written: which query, its positive, its negatives, the number of its set."""
    saved = np.load(folder / f"groups-{name}.npz")
    return {key: saved[key] for key in ("query", "positive", "negatives", "source")}


@dataclass(frozen=True, slots=True)
class Side:
    """Queries, or passages: the vector of each (n, width), its tokens, and the number of its corpus (n,)."""

    vectors: np.ndarray
    ids: Sequence[np.ndarray]
    corpus: np.ndarray


def mine(
    pool: Pool, queries: Side, passages: Side, depth: int, keep: int, stages: tuple[str, ...]
) -> tuple[Groups, np.ndarray]:
    """Return groups, and for each the rank at which dense search finds its positive, -1 where it does not.

    Negatives are what the first stages find in the query's corpus, fused by reciprocal rank where they are
    two, less what may be a positive nobody labelled. A pair whose positive is not among those is dropped: no
    re-ranker would ever see it.

    Args:
        pool: the texts, and which answers which.
        queries: of the pool.
        passages: of the pool.
        depth: of each first stage.
        keep: most negatives of a pair; one with less than half of them is dropped.
        stages: ``dense``, ``bm25`` or both.
    """
    bags = [words(text) for text in pool.passages]
    found: list[tuple[int, int, list[int], int]] = []
    for corpus in np.unique(passages.corpus):
        here = np.flatnonzero(passages.corpus == corpus)
        bm25 = Bm25([passages.ids[each] for each in here]) if "bm25" in stages else None
        for query, cosines in _asked(queries, corpus, passages.vectors[here]):
            dense = best(cosines, depth)
            found_by = [dense] if "dense" in stages else []
            if bm25 is not None:
                found_by.append(best(bm25.scores(queries.ids[query]), depth))
            order = fused(*found_by)
            near = dict(zip(here[order].tolist(), cosines[order].tolist(), strict=True))
            for positive in sorted(near.keys() & set(pool.positives[query])):
                negatives = plausible(pool, query, positive, near, bags)[:keep]
                if len(negatives) >= keep // 2:
                    place = np.flatnonzero(here[dense] == positive)
                    found.append((query, positive, negatives, int(place[0]) if len(place) else -1))
    found.sort(key=lambda each: each[:2])
    table = np.full((len(found), keep), -1, np.int32)
    for row, (_, _, negatives, _) in enumerate(found):
        table[row, : len(negatives)] = negatives
    query, positive, ranks = (np.array([each[at] for each in found], np.int32) for at in (0, 1, 3))
    return {"query": query, "positive": positive, "negatives": table}, ranks


def _asked(queries: Side, corpus: int, vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each query of a corpus with its cosines to the passages there."""
    asked = np.flatnonzero(queries.corpus == corpus)
    for start in range(0, len(asked), 1000):
        some = asked[start : start + 1000]
        yield from zip(some.tolist(), queries.vectors[some] @ vectors.T, strict=True)


def best(scores: np.ndarray, depth: int) -> list[int]:
    """The places of the highest scores, best first."""
    depth = min(depth, len(scores))
    top = np.argpartition(-scores, depth - 1)[:depth]
    return top[np.argsort(-scores[top], kind="stable")].tolist()


def fused(*orders: list[int]) -> list[int]:
    """Reciprocal rank fusion of several orders, best first; of equal ones that of the earlier order."""
    scores = dict(fuse(orders))
    return sorted(dict.fromkeys(chain(*orders)), key=lambda each: -scores[each])


class Bm25:
    """BM25 of all passages of a corpus for one query after the other, over WordPiece tokens."""

    def __init__(self, passages: Sequence[np.ndarray]) -> None:
        lengths = np.array([len(each) for each in passages])
        norms = K1 * (1 - B + B * lengths / lengths.mean())
        postings: dict[int, tuple[list[int], list[float]]] = {}
        for place, ids in enumerate(passages):
            for token, count in Counter(ids[1:-1].tolist()).items():
                places, weights = postings.setdefault(token, ([], []))
                places.append(place)
                weights.append(count * (K1 + 1) / (count + norms[place]))
        self._size = len(passages)
        self._postings = {
            token: (np.array(places), self._rarity(len(places)) * np.array(weights))
            for token, (places, weights) in postings.items()
            if len(places) <= max(2, COMMON * self._size)
        }

    def scores(self, query: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` for the tokens of a query."""
        rows = [self._postings[token] for token in set(query[1:-1].tolist()) if token in self._postings]
        if not rows:
            return np.zeros(self._size)
        places, weights = (np.concatenate(column) for column in zip(*rows, strict=True))
        return np.bincount(places, weights, self._size)

    def _rarity(self, holders: int) -> float:
        return float(np.log(1 + (self._size - holders + 0.5) / (holders + 0.5)))


def plausible(
    pool: Pool, query: int, positive: int, near: dict[int, float], bags: list[frozenset[str]]
) -> list[int]:
    """Those of ``near`` (passages with their cosines) that may serve as negatives for this pair.

    Passages above the positive stay (they are what a re-ranker is for), unless far above it, and save in the
    weak heading sets, where many sections answer the same heading.
    """
    nearest = near[positive]
    limit = nearest * HEADING_SHARE if pool.source[query] in WEAK else nearest + FAR_ABOVE
    return [
        each
        for each, cosine in near.items()
        if each not in pool.positives[query]
        and cosine <= limit
        and (each in pool.negatives[query] or overlap(bags[each], bags[positive]) < NEAR_COPY)
    ]
