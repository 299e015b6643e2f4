"""The suites that users run over their own parts: a sound part passes, a broken one does not."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from secondpass.embedding import MiniLMEmbedder
from secondpass.errors import InputError
from secondpass.reranking import load_reranker
from secondpass.stores import NumpyStore
from secondpass.testing import EmbedderContract, HashEmbedder, RerankerContract, VectorStoreContract
from secondpass.types import Reading


class WordReranker:
    """Scores a passage by the share of the query's words in it, in windows of 200 words."""

    name = "shared words"
    logits = False

    def read(self, query, passages):
        return [self._reading(set(re.findall(r"\w+", query.lower())), passage) for passage in passages]

    def score(self, query, passages):
        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def _reading(self, wanted, passage):
        words = list(re.finditer(r"\w+", passage))[:200]
        shared = sum(word.group().lower() in wanted for word in words)
        total = len(re.findall(r"\w+", passage))
        end = words[-1].end() if words else 0
        return Reading(shared / (len(words) + 1), len(words) + 1, total + 1, 0, end)


class TestHashEmbedder(EmbedderContract):
    def make_embedder(self):
        return HashEmbedder()


class TestWordReranker(RerankerContract):
    def make_reranker(self):
        return WordReranker()


@cache
def shipped(name):
    return MiniLMEmbedder() if name == "embedder" else load_reranker(name)


class TestMiniLMEmbedder(EmbedderContract):
    def make_embedder(self):
        return shipped("embedder")


class TestLateInteraction(RerankerContract):
    def make_reranker(self):
        return shipped("late-interaction")


class TestShippedCrossEncoder(RerankerContract):
    def make_reranker(self):
        return shipped("minilm-l6")


def test_texts_that_share_words_are_close():
    near, far = HashEmbedder().embed_passages(["a kettle of steel", "interest rates rose"])
    query = HashEmbedder().embed_queries(["steel kettle"])[0]
    assert near @ query > far @ query


def test_a_hashed_vector_is_the_same_everywhere():
    vector = HashEmbedder(8).embed_passages(["one two two"])[0]
    assert vector.tolist() == pytest.approx([0, -(0.2**0.5), 0, 0, 0, 0, 0, 2 * 0.2**0.5])


@pytest.mark.parametrize("dimension", [1, 0, -3])
def test_a_hash_embedder_needs_two_dimensions(dimension):
    with pytest.raises(InputError):
        HashEmbedder(dimension)


def failures(suite, folder) -> set[str]:
    """Run a suite by hand; return the names of its tests that fail."""
    failed = set()
    for name in dir(suite):
        if name.startswith("test_"):
            place = folder / name
            place.mkdir()
            test = getattr(suite(), name)
            try:
                test(place) if isinstance(suite(), VectorStoreContract) else test()
            except (AssertionError, ValueError, IndexError, KeyError):
                failed.add(name)
    return failed


class Distances(NumpyStore):
    """Gives distances for scores."""

    def search(self, vector, k, allowed=None):
        return [(key, 1 - score) for key, score in super().search(vector, k, allowed)]


class Unfiltered(NumpyStore):
    def search(self, vector, k, allowed=None):
        return super().search(vector, k)


class Trusting(NumpyStore):
    """Takes vectors of any length by scaling them in silence."""

    def add(self, ids, vectors):
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        super().add(ids, np.nan_to_num(vectors) / lengths)


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Distances, "test_a_vector_finds_itself_first_with_cosine_one"),
        (Unfiltered, "test_allowed_limits_the_search"),
        (Trusting, "test_refuses_what_is_no_vector"),
    ],
)
def test_a_broken_store_fails(tmp_path, store, test):
    class Suite(VectorStoreContract):
        def make_store(self, folder, dimension):
            return store(dimension)

    assert test in failures(Suite, tmp_path)


def test_a_broken_embedder_fails(tmp_path):
    class Unscaled(HashEmbedder):
        def embed_passages(self, texts):
            return 2 * super().embed_passages(texts)

    class Suite(EmbedderContract):
        def make_embedder(self):
            return Unscaled()

    assert "test_gives_one_unit_vector_a_text" in failures(Suite, tmp_path)


def test_a_broken_reranker_fails(tmp_path):
    class Sorted(WordReranker):
        def score(self, query, passages):
            return np.sort(super().score(query, passages))

    class Suite(RerankerContract):
        def make_reranker(self):
            return Sorted()

    failed = failures(Suite, tmp_path)
    assert {"test_scores_stand_in_input_order", "test_readings_agree_with_scores"} <= failed


def test_a_suite_says_what_it_needs():
    for suite, make in (
        (EmbedderContract(), "make_embedder"),
        (RerankerContract(), "make_reranker"),
    ):
        with pytest.raises(NotImplementedError, match="subclass"):
            getattr(suite, make)()
