"""Judgments, embeddings and answers over HTTP."""

import base64
import json
import re
import subprocess
import sys
import threading

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")

from secondpass.embedding import load_embedder
from secondpass.ext.server import ServerSettings
from secondpass.index import Index
from secondpass.judging.asking import Asked
from secondpass.judging.saving import Marks
from secondpass.types import Document
from serving import serving

TEXTS = {
    "deposit": "The deposit is returned after two weeks.",
    "kitchen": "The kitchen is cleaned on Fridays.",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more") / "index"
    with Index.open(folder) as index:
        index.add([Document(key, text) for key, text in TEXTS.items()])
        passages = {key: index.passages(key)[0].id for key in TEXTS}
    with (
        serving(ServerSettings(index=folder, reranker="minilm-l6")) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client, folder, passages


def _marks(client, query):
    told = client.get("/v1/judgments", params={"query": query})
    assert told.status_code == 200
    return told.json()


def _mark(client, query, passage, relevant):
    return client.post("/v1/judgments", json={"query": query, "passage_id": passage, "relevant": relevant})


def test_judgments_are_kept_as_the_command_keeps_them(served):
    client, folder, passages = served
    query = "When is the deposit returned?"
    assert _marks(client, query) == {"query": query, "judgments": []}
    assert _mark(client, query, passages["deposit"], True).json()["relevant"] is True
    assert _mark(client, query, passages["kitchen"], False).status_code == 200
    assert _marks(client, query)["judgments"] == [
        {"passage_id": passages["deposit"], "relevant": True},
        {"passage_id": passages["kitchen"], "relevant": False},
    ]
    kept = folder / "judgments"
    rows = [line.split() for line in (kept / "qrels.txt").read_text().splitlines()]
    assert [(row[2], row[3]) for row in rows] == [(passages["deposit"], "1"), (passages["kitchen"], "0")]
    assert json.loads((kept / "queries.jsonl").read_text())["text"] == query
    done = subprocess.run(
        [
            *(sys.executable, "-m", "secondpass", "judge", query, "--index", str(folder)),
            *("--out", str(kept), "--reranker", "none", "--json"),
        ],
        input=b"",
        capture_output=True,
        check=True,
    )
    tally = json.loads(done.stdout)
    assert (tally["done"], tally["relevant"], tally["not_relevant"]) == (1, 1, 1)


def test_a_mark_is_changed_and_taken_away(served):
    client, folder, passages = served
    query = "Who cleans the kitchen?"
    for relevant, standing in ((True, [True]), (False, [False]), (None, []), (None, [])):
        told = _mark(client, query, passages["kitchen"], relevant)
        # What is not marked has nothing to take away; the passage is there, so that is no error.
        assert told.status_code == 200
        assert [each["relevant"] for each in _marks(client, query)["judgments"]] == standing
    assert query not in (folder / "judgments" / "queries.jsonl").read_text()


def test_marks_at_the_same_time_are_all_kept(served):
    client, _, passages = served
    queries = [f"question {number}" for number in range(12)]
    codes = []
    threads = [
        threading.Thread(
            target=lambda q=query: codes.append(_mark(client, q, passages["deposit"], True).status_code)
        )
        for query in queries
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert codes == [200] * 12
    assert all(len(_marks(client, query)["judgments"]) == 1 for query in queries)


def test_a_query_keeps_the_id_that_a_file_gave_it(served):
    client, folder, passages = served
    with Index.open(folder) as index, Marks(folder / "judgments") as marks:
        marks.add(Asked("own-1", "where is it"), index.passage(passages["kitchen"]), "yes")
    assert _mark(client, "where is  it", passages["deposit"], False).status_code == 200
    rows = (folder / "judgments" / "qrels.txt").read_text().splitlines()
    assert f"own-1 0 {passages['deposit']} 0" in rows
    assert len(_marks(client, "where is it")["judgments"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "x", "passage_id": "nothing", "relevant": True}, 404),
        ({"query": "x", "passage_id": "nothing", "relevant": None}, 404),
        ({"query": " ", "passage_id": "nothing", "relevant": True}, 422),
        ({"query": "x" * 20_001, "passage_id": "nothing", "relevant": True}, 422),
        ({"query": "x", "passage_id": "nothing", "relevant": "yes"}, 422),
        ({"query": "x", "passage_id": "nothing"}, 422),
    ],
)
def test_bad_judgments_are_refused(served, body, status):
    told = served[0].post("/v1/judgments", json=body)
    assert told.status_code == status
    assert told.json()["error"]["code"]


def test_judgments_that_somebody_else_writes_are_not_written(served):
    client, folder, passages = served
    with Marks(folder / "judgments"):
        told = _mark(client, "locked", passages["deposit"], True)
    assert told.status_code == 503
    assert told.headers["Retry-After"]
    assert str(folder) not in told.text
    assert _mark(client, "locked", passages["deposit"], True).status_code == 200


def test_embeddings_are_those_of_the_index(served):
    client, _, _ = served
    texts = list(TEXTS.values())
    told = client.post("/v1/embeddings", json={"input": texts, "model": "text-embedding-3-small"})
    assert told.status_code == 200
    body = told.json()
    assert body["object"] == "list"
    assert [each["index"] for each in body["data"]] == [0, 1]
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 8
    want = load_embedder(body["model"]).embed_passages(texts)
    got = np.array([each["embedding"] for each in body["data"]], dtype=np.float32)
    assert np.allclose(got, want, atol=1e-5)


def test_embeddings_in_base64_are_the_same_numbers(served):
    client, _, _ = served
    asked = {"input": "a text", "input_type": "query", "dimensions": 384}
    plain = client.post("/v1/embeddings", json=asked).json()["data"][0]["embedding"]
    coded = client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json()
    read = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), dtype="<f4")
    assert np.allclose(read, plain, atol=1e-6)
    assert read.shape == (384,)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": ""}, 422),
        ({"input": []}, 422),
        ({"input": ["a", " "]}, 422),
        ({"input": [1, 2]}, 422),
        ({"input": ["a"] * 1001}, 422),
        ({"input": "x" * 200_001}, 422),
        ({"input": "a", "dimensions": 7}, 422),
        ({"input": "a", "encoding_format": "hex"}, 422),
        ({"input": "a", "model": "minilm-l6"}, 404),
        ({}, 422),
    ],
)
def test_bad_embedding_requests_are_refused(served, body, status):
    told = served[0].post("/v1/embeddings", json=body)
    assert told.status_code == status
    assert told.json()["error"]["code"]


def _untimed(answer):
    return {key: value for key, value in answer.items() if key not in ("timings_ms", "threshold")}


def test_an_answer_is_what_the_command_prints(served):
    client, folder, _ = served
    query = "When is the deposit returned?"
    told = client.post("/v1/answer", json={"query": query, "k": 2})
    assert told.status_code == 200
    done = subprocess.run(
        [
            *(sys.executable, "-m", "secondpass", "ask", query, "--index", str(folder), "-k", "2"),
            *("--reranker", "minilm-l6", "--json", "--quiet"),
        ],
        capture_output=True,
        check=True,
    )
    assert _untimed(told.json()) == _untimed(json.loads(done.stdout))
    assert "two weeks" in told.json()["answer"]


def test_a_streamed_answer_ends_with_the_whole(served):
    client, _, _ = served
    query = "When is the deposit returned?"
    whole = client.post("/v1/answer", json={"query": query}).json()
    told = client.post("/v1/answer", json={"query": query, "stream": True})
    assert told.headers["content-type"].startswith("text/event-stream")
    events = [each.split("\n") for each in told.text.strip().split("\n\n")]
    names = [event[0].removeprefix("event: ") for event in events]
    data = [json.loads(event[1].removeprefix("data: ")) for event in events]
    assert names == ["text"] * (len(names) - 1) + ["answer"]
    assert "".join(each["text"] for each in data[:-1]) == whole["answer"]
    assert _untimed(data[-1]) == _untimed(whole)


@pytest.mark.parametrize("stream", [False, True])
def test_a_language_model_that_cannot_be_reached_is_told(served, stream):
    _, folder, _ = served
    settings = ServerSettings(
        index=folder, reranker="none", llm_url="http://127.0.0.1:9/v1", llm_model="absent"
    )
    with serving(settings) as server:
        told = httpx.post(f"{server.url}/v1/answer", json={"query": "deposit", "stream": stream}, timeout=60)
    if stream:
        name, data = told.text.strip().split("\n\n")[-1].split("\n")
        assert name == "event: error"
        error = json.loads(data.removeprefix("data: "))["error"]
    else:
        assert told.status_code == 502
        error = told.json()["error"]
    assert error["code"] == "llm_failed"
    assert error["request_id"] == told.headers["X-Request-ID"]


@pytest.mark.parametrize("body", [{}, {"query": " "}, {"query": "x", "k": 0}, {"query": "x", "stream": 3}])
def test_bad_questions_are_refused(served, body):
    assert served[0].post("/v1/answer", json=body).status_code == 422


def test_a_missing_index_is_told_without_its_folder(tmp_path):
    with serving(ServerSettings(index=tmp_path / "none", reranker="none")) as server:
        for path, body in (
            ("search", {"query": "x"}),
            ("answer", {"query": "x"}),
            ("judgments", {"query": "x", "passage_id": "y", "relevant": True}),
        ):
            told = httpx.post(f"{server.url}/v1/{path}", json=body, timeout=60)
            assert told.status_code == 503
            assert told.json()["error"]["code"] == "index_missing"
            assert str(tmp_path) not in told.text
    assert not (tmp_path / "none").exists()


def test_the_page_of_the_api_asks_no_other_server(served):
    client, _, _ = served
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(named) == 5
    for path in named:
        assert path.startswith("/")
        assert client.get(path).status_code == 200
    for name in ("docs.js", "docs.css"):
        assert "//" not in re.sub(r"^//.*", "", client.get(f"/assets/{name}").text, flags=re.MULTILINE)
