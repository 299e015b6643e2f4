"""The recipe's hard negatives (training/mining.py), on texts whose order is plain to see."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1]))  # the recipe is no part of the package

from training.data import Pool
from training.mining import Bm25, Side, best, fused, mine

WORDS = ["[CLS]", "bread", "oven", "flour", "river", "boat", "water", "the", "[SEP]"]


def ids(text: str) -> np.ndarray:
    return np.array([WORDS.index(word) for word in ["[CLS]", *text.split(), "[SEP]"]])


def test_bm25_prefers_rare_words_and_short_passages() -> None:
    bm25 = Bm25([ids(text) for text in ("the bread", "the bread oven flour water", "the river", "the boat")])
    scores = bm25.scores(ids("the bread"))
    assert best(scores, 2) == [0, 1]
    assert scores[2] == scores[3] == 0, "a word of every passage tells nothing apart"
    assert not bm25.scores(ids("the")).any()


def test_what_both_stages_find_comes_first() -> None:
    assert fused([1, 2, 3], [4, 2]) == [2, 1, 4, 3]
    assert fused([3, 1]) == [3, 1]


def of(*texts: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Tokens, and a vector that counts the words."""
    tokens = [ids(text) for text in texts]
    counts = np.array([np.bincount(each[1:-1], minlength=len(WORDS)) for each in tokens], dtype=np.float32)
    return tokens, counts / np.linalg.norm(counts, axis=1, keepdims=True)


def pool_and_sides() -> tuple[Pool, Side, Side]:
    pool = Pool()
    pool.add({"query": "bread oven", "positive": "bread oven flour"}, "kitchen")
    pool.add({"query": "flour", "positive": "bread oven flour"}, "kitchen")
    for text in ("bread flour", "oven water", "bread river boat"):
        pool.add({"query": "water", "positive": text}, "kitchen")
    pool.add({"query": "boat", "positive": "bread oven boat"}, "harbour")
    sides = []
    for texts, sets in ((pool.queries, pool.source), (pool.passages, pool.passage_source)):
        tokens, vectors = of(*texts)
        sides.append(Side(vectors, tokens, np.array([each == "harbour" for each in sets], dtype=int)))
    return pool, sides[0], sides[1]


@pytest.mark.parametrize("stages", [("dense",), ("bm25",), ("dense", "bm25")])
def test_negatives_are_of_the_same_corpus_and_no_answers(stages: tuple[str, ...]) -> None:
    pool, queries, passages = pool_and_sides()
    groups, ranks = mine(pool, queries, passages, depth=4, keep=3, stages=stages)
    assert len(groups["query"]) == len(ranks) > 0
    for query, positive, negatives in zip(
        *(groups[key] for key in ("query", "positive", "negatives")), strict=True
    ):
        assert positive in pool.positives[query]
        kept = negatives[negatives >= 0].tolist()
        assert kept
        assert not set(kept) & set(pool.positives[query])
        assert all(pool.passage_source[each] == pool.source[query] for each in kept)


def test_a_near_copy_of_the_answer_is_no_negative() -> None:
    pool, queries, passages = pool_and_sides()
    groups, _ = mine(pool, queries, passages, depth=4, keep=3, stages=("dense",))
    (row,) = np.flatnonzero(groups["query"] == 0)
    copy = pool.passages.index("bread flour")  # all its words stand in the answer
    assert copy not in groups["negatives"][row]


def test_the_rank_is_that_of_dense_search() -> None:
    pool, queries, passages = pool_and_sides()
    groups, ranks = mine(pool, queries, passages, depth=4, keep=3, stages=("bm25",))
    for query, positive, rank in zip(groups["query"], groups["positive"], ranks, strict=True):
        here = np.flatnonzero(passages.corpus == queries.corpus[query])
        order = here[best(passages.vectors[here] @ queries.vectors[query], 4)].tolist()
        assert order[rank] == positive
