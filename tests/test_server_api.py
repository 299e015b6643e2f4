import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from secondpass.ext.server import ServerSettings
from secondpass.index import Index
from secondpass.types import Document
from serving import serving


def _cli(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "secondpass", *arguments, "--json", "--quiet"], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def _untimed(value):
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if k not in ("timings_ms", "rerank_ms", "cached")}
    return [_untimed(each) for each in value] if isinstance(value, list) else value


def _built(folder: Path, text: str) -> Path:
    with Index.open(folder) as index:
        index.add([Document("deposit", text), Document("kitchen", "The kitchen is cleaned on Fridays.")])
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = _built(tmp_path_factory.mktemp("api") / "index", "The deposit is returned after two weeks.")
    with (
        serving(ServerSettings(index=folder, reranker="minilm-l6")) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client, folder


def test_search_answers_what_the_command_prints(served):
    client, folder = served
    told = client.post("/v1/search", json={"query": "When is the deposit returned?"})
    assert told.status_code == 200
    printed = _cli(
        "search", "When is the deposit returned?", "--index", str(folder), "--reranker", "minilm-l6"
    )
    assert _untimed(told.json()) == _untimed(printed)


def test_compare_answers_what_the_command_prints(served):
    client, folder = served
    told = client.post("/v1/compare", json={"query": "deposit", "rerankers": ["minilm-l6"], "k": 2})
    assert told.status_code == 200
    printed = _cli("compare", "deposit", "--index", str(folder), "--reranker", "minilm-l6", "-k", "2")
    assert _untimed(told.json()) == _untimed(printed)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": ""}, 422),
        ({"query": "x", "k": 0}, 422),
        ({"query": "x", "k": 9, "candidates": 3}, 422),
        ({"query": "x", "candidates": 10**6}, 422),
        ({"query": "x" * 20_001}, 422),
        ({"query": "x", "stage1": "magic"}, 422),
        ({"query": "x", "unknown": 1}, 422),
    ],
)
def test_bad_bodies_are_refused(served, body, status):
    for path in ("/v1/search", "/v1/compare"):
        told = served[0].post(path, json=body)
        assert told.status_code == status
        assert told.json()["error"]["code"]


def test_an_index_that_is_added_to_or_replaced_is_seen_by_the_next_request(tmp_path):
    folder = _built(tmp_path / "index", "The deposit is returned after two weeks.")
    other = _built(tmp_path / "other", "The deposit is returned after nine years.")
    with serving(ServerSettings(index=folder, reranker="none")) as server:

        def texts(query):
            told = httpx.post(f"{server.url}/v1/search", json={"query": query, "k": 3}, timeout=60)
            assert told.status_code == 200
            return {hit["passage"]["text"] for hit in told.json()["hits"]}

        assert "The deposit is returned after two weeks." in texts("deposit")
        with Index.open(folder) as index:
            index.add([Document("yard", "Bicycles stand in the yard.")])
        assert "Bicycles stand in the yard." in texts("bicycles")
        folder.rename(tmp_path / "before")
        other.rename(folder)
        assert "The deposit is returned after nine years." in texts("deposit")
        shutil.rmtree(tmp_path / "before")
        assert "The deposit is returned after nine years." in texts("deposit again")
