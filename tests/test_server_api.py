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


def test_documents_are_listed_page_by_page_and_read(served):
    client, _ = served
    first = client.get("/v1/documents", params={"limit": 1}).json()
    assert [each["id"] for each in first["documents"]] == ["deposit"]
    assert first["total"] == 2
    second = client.get("/v1/documents", params={"limit": 1, "after": first["next"]}).json()
    assert [each["id"] for each in second["documents"]] == ["kitchen"]
    assert second["next"] is None
    assert client.get("/v1/documents/deposit").json()["text"] == "The deposit is returned after two weeks."


def test_a_passage_of_a_search_is_read_with_its_document(served):
    client, _ = served
    hit = client.post("/v1/search", json={"query": "deposit", "k": 1}).json()["hits"][0]
    told = client.get(f"/v1/passages/{hit['passage']['id']}").json()
    assert told["passage"] == hit["passage"]
    assert told["before"] == told["after"] == ""
    assert told["document"]["id"] == "deposit"


@pytest.mark.parametrize("kind", ["documents", "passages"])
@pytest.mark.parametrize(
    "asked", ["none", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2Findex.db", "%00", "%ff", "a/b"]
)
def test_what_is_not_in_the_index_is_not_found(served, kind, asked):
    told = served[0].get(f"/v1/{kind}/{asked}")
    assert told.status_code == 404
    assert told.json()["error"]["code"] == "not_found"


def test_models_and_health(served):
    client, _ = served
    assert client.get("/v1/models").json()["data"][0]["id"] == "minilm-l6"
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_a_server_whose_index_is_gone_is_alive_and_not_ready(tmp_path):
    with serving(ServerSettings(index=tmp_path / "none", reranker="none")) as server:
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.url}/readyz").status_code == 503
