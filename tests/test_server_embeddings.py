"""``POST /v1/embeddings`` of a server whose index was built with another embedder than our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("transformers")

import tiny_architectures
from secondpass.embedding import load_embedder
from secondpass.ext.server import ServerSettings
from secondpass.index import Index
from secondpass.types import Document
from serving import serving

TEXTS = ["sort a list of numbers", "the capital of France"]
OURS = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_architectures.encoder(tmp_path_factory.mktemp("models") / "own-encoder", "bert")


@pytest.fixture(scope="module")
def index(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded") / "index"
    with Index.open(folder, embedder=load_embedder(str(encoder))) as index:
        index.add([Document(str(number), text) for number, text in enumerate(TEXTS)])
    return folder


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    with serving(ServerSettings(index=index, reranker="none")) as server:
        yield server.url


def told(url: str, **body: object) -> tuple[str, np.ndarray, dict[str, Any]]:
    answer = httpx.post(f"{url}/v1/embeddings", json={"input": TEXTS, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    shape = answer.json()
    vectors = [each["embedding"] for each in shape["data"]]
    return shape["model"], np.array(vectors, dtype=np.float32), shape["usage"]


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": " "}, {"model": "text-embedding-3-small"}])
@pytest.mark.parametrize("kind", ["document", "query"])
def test_without_a_model_of_ours_it_is_that_of_the_index(
    url: str, encoder: Path, model: dict[str, str | None], kind: str
) -> None:
    name, vectors, usage = told(url, **model, input_type=kind)
    known = load_embedder(str(encoder))
    want = known.embed_queries(TEXTS) if kind == "query" else known.embed_passages(TEXTS)
    np.testing.assert_allclose(vectors, want, atol=1e-5)
    assert name == "own-encoder"  # and not where it lies
    assert usage["prompt_tokens"] > 4


def test_its_vectors_find_what_the_index_holds(url: str, index: Path) -> None:
    _, vectors, _ = told(url)
    with Index.open(index, create=False) as opened:
        for text, vector in zip(TEXTS, vectors, strict=True):
            hit = opened.candidates(text, vector, 1)[0]
            assert hit.passage.text == text
            assert hit.score == pytest.approx(1, abs=1e-4)


def test_a_model_that_is_named_is_taken(url: str, encoder: Path) -> None:
    name, vectors, _ = told(url, model=OURS)
    assert name == OURS
    np.testing.assert_allclose(vectors, load_embedder(OURS).embed_passages(TEXTS), atol=1e-5)
    wrong = {"input": TEXTS, "dimensions": 384}  # those of our own, not of the index's
    refused = httpx.post(f"{url}/v1/embeddings", json=wrong, timeout=60)
    assert refused.status_code == 422
    assert str(encoder.parent) not in refused.text


def test_a_path_is_never_taken_from_a_request(url: str, encoder: Path) -> None:
    name, vectors, _ = told(url, model=str(encoder.parent / "nothing"))
    assert (name, len(vectors)) == ("own-encoder", 2)


@pytest.mark.parametrize("index_folder", ["none", None])
def test_without_an_index_it_is_our_own(tmp_path: Path, index_folder: str | None) -> None:
    folder = None if index_folder is None else tmp_path / index_folder
    with serving(ServerSettings(index=folder, reranker="none")) as server:
        name, vectors, _ = told(server.url)
        assert (name, vectors.shape) == (OURS, (2, 384))


def test_an_index_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"no database" * 100)
    with serving(ServerSettings(index=tmp_path, reranker="none")) as server:
        answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": TEXTS}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "index_unusable")
