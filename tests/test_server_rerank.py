"""The re-rank endpoints with the clients that exist: each pointed at a real server."""

from __future__ import annotations

import asyncio
import gc
import math

import httpx
import pytest

pytest.importorskip("fastapi")

from secondpass import load_reranker
from secondpass.ext.server import ServerSettings
from secondpass.ext.server.rerank_bodies import OneBody, dialect_of
from serving import Served, serving

pytestmark = [  # clients of others leave their sockets to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]

QUERY = "What keeps answers of earlier requests?"
TEXTS = [
    "Bread is baked from flour, water and yeast.",
    "A cache keeps the answers of earlier requests, so that they need not be computed again.",
    "The river floods its banks in spring.",
    "Requests are answered in the order in which they come.",
]
LONG = "The committee met on Tuesday and adjourned without a decision. " * 3000


@pytest.fixture(scope="module")
def served():
    with serving() as server:
        yield server
    gc.collect()  # what clients left open is closed here, and not in the midst of another module's tests


@pytest.fixture(scope="module")
def expected() -> list[float]:
    """Return the probabilities of TEXTS, from the library alone."""
    return [1 / (1 + math.exp(-score)) for score in load_reranker().score(QUERY, TEXTS).tolist()]


def post(server: Served, path: str, **body) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=60)


def order(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda place: -scores[place])


def test_cohere_sdk_v2_and_v1(served, expected):
    import cohere

    two = cohere.ClientV2(api_key="any", base_url=served.url)
    answer = two.rerank(model="rerank-v3.5", query=QUERY, documents=TEXTS, top_n=3)
    assert [each.index for each in answer.results] == order(expected)[:3]
    assert [each.relevance_score for each in answer.results] == pytest.approx(
        [expected[place] for place in order(expected)[:3]], abs=1e-6
    )
    assert answer.meta.api_version.version == "2"
    assert answer.meta.billed_units.search_units == 1
    one = cohere.Client(api_key="any", base_url=served.url)
    documents = [{"text": text, "page": place} for place, text in enumerate(TEXTS)]
    answer = one.rerank(
        model="rerank-english-v3.0", query=QUERY, documents=documents, top_n=2, return_documents=True
    )
    assert [each.index for each in answer.results] == order(expected)[:2]
    assert [each.document.text for each in answer.results] == [TEXTS[place] for place in order(expected)[:2]]
    assert answer.results[0].document.page == order(expected)[0]
    assert one.rerank(query=QUERY, documents=TEXTS, model="rerank-v3.5").results[0].document is None


def test_cohere_v1_reads_the_fields_that_are_named(served):
    documents = [{"title": "Caching", "body": TEXTS[1]}, {"title": "Bread", "body": TEXTS[0]}]
    answer = post(served, "/v1/rerank", query=QUERY, documents=documents, rank_fields=["title", "body"])
    whole = post(
        served, "/v2/rerank", query=QUERY, documents=["\n".join(each.values()) for each in documents]
    )
    key = "relevance_score"
    assert [each[key] for each in answer.json()["results"]] == [each[key] for each in whole.json()["results"]]
    wrong = post(served, "/v1/rerank", query=QUERY, documents=documents)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "document_without_text")


def test_cohere_sdk_tells_what_is_wrong(served):
    import cohere

    client = cohere.ClientV2(api_key="any", base_url=served.url)
    with pytest.raises(cohere.errors.UnprocessableEntityError, match="documents is empty"):
        client.rerank(model="rerank-v3.5", query=QUERY, documents=[])


def test_langchain_cohere(served, expected):
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    ranker = CohereRerank(model="rerank-v3.5", cohere_api_key="any", base_url=served.url, top_n=2)
    found = ranker.compress_documents([Document(page_content=text) for text in TEXTS], QUERY)
    assert [each.page_content for each in found] == [TEXTS[place] for place in order(expected)[:2]]
    assert found[0].metadata["relevance_score"] == pytest.approx(max(expected), abs=1e-6)


def test_haystack_cohere_and_jina(served, expected):
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker
    from haystack_integrations.components.rankers.jina import JinaRanker

    documents = [Document(content=text) for text in TEXTS]
    key = Secret.from_token("any")
    cohere = CohereRanker(api_key=key, api_base_url=served.url, top_k=2).run(query=QUERY, documents=documents)
    jina = JinaRanker(api_key=key, base_url=f"{served.url}/v1/rerank", top_k=2)
    answer = jina.run(query=QUERY, documents=documents)
    for found in (cohere["documents"], answer["documents"]):
        assert [each.content for each in found] == [TEXTS[place] for place in order(expected)[:2]]
    assert answer["meta"]["model"] == "minilm-l6"
    assert answer["meta"]["usage"]["total_tokens"] > 0
    with pytest.raises(RuntimeError, match="the query is empty"):
        jina.run(query=" ", documents=documents)
    asynchronous = asyncio.run(jina.run_async(query=QUERY, documents=documents))
    assert asynchronous["documents"] == answer["documents"]


def test_llama_index_cohere_jina_and_tei(served, expected):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank
    from llama_index.postprocessor.jinaai_rerank import JinaRerank
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    for ranker in (
        CohereRerank(api_key="any", base_url=served.url, top_n=3),
        JinaRerank(api_key="any", base_url=f"{served.url}/v1", top_n=3),
        TextEmbeddingInference(base_url=served.url, top_n=3),
    ):
        nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in TEXTS]
        found = ranker.postprocess_nodes(nodes, query_str=QUERY)
        assert [each.node.get_content() for each in found] == [TEXTS[place] for place in order(expected)[:3]]
        assert found[0].score == pytest.approx(max(expected), abs=1e-6)


def test_jina_gives_documents_unless_told_not_to(served):
    answer = post(
        served, "/v1/rerank", model="jina-reranker-v2", query=QUERY, documents=TEXTS, top_n=1
    ).json()
    assert set(answer) == {"id", "model", "usage", "results", "meta"}
    assert answer["results"][0]["document"] == {"text": TEXTS[1]}
    bare = post(served, "/v1/rerank", query=QUERY, documents=TEXTS, return_documents=False).json()
    assert "document" not in bare["results"][0]


def test_tei_is_a_bare_array_best_first(served, expected):
    answer = post(served, "/rerank", query=QUERY, texts=TEXTS, raw_scores=False, return_text=True).json()
    assert [each["index"] for each in answer] == order(expected)
    assert [each["text"] for each in answer] == [TEXTS[place] for place in order(expected)]
    bare = post(
        served, "/rerank", query=QUERY, texts=TEXTS, truncate=None, truncation_direction="Right"
    ).json()
    assert set(bare[0]) == {"index", "score", "truncated"}
    raw = post(served, "/rerank", query=QUERY, texts=TEXTS, raw_scores=True).json()
    assert [each["score"] for each in raw] == pytest.approx(
        sorted(load_reranker().score(QUERY, TEXTS).tolist(), reverse=True), abs=1e-6
    )
    wrong = post(served, "/rerank", query=QUERY, texts=[])
    assert (wrong.status_code, wrong.json()["error_type"]) == (422, "Validation")
    assert isinstance(wrong.json()["error"], str)


def test_infinity_has_plain_documents(served, expected):
    answer = post(served, "/rerank", model="any", query=QUERY, documents=TEXTS, top_n=2).json()
    assert answer["object"] == "rerank"
    assert answer["results"][0]["document"] is None
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0
    full = post(
        served, "/rerank", query=QUERY, documents=TEXTS, return_documents=True, raw_scores=True
    ).json()
    assert full["results"][0]["document"] == TEXTS[order(expected)[0]]
    assert full["id"].startswith("infinity-")
    both = post(served, "/rerank", query=QUERY, documents=TEXTS, texts=TEXTS)
    assert both.status_code == 422


def test_voyage_has_data_and_plain_documents(served, expected):
    answer = post(
        served, "/v1/rerank", model="rerank-2.5", query=QUERY, documents=TEXTS, top_k=2, return_documents=True
    ).json()
    assert answer["object"] == "list"
    assert [each["index"] for each in answer["data"]] == order(expected)[:2]
    assert answer["data"][0]["document"] == TEXTS[order(expected)[0]]
    assert answer["usage"]["total_tokens"] > 0
    refused = post(served, "/v1/rerank", query=QUERY, documents=[LONG], top_k=1, truncation=False)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "document_too_long")


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        ({"top_k": 2}, "voyage"),
        ({"model": "rerank-lite-1"}, "voyage"),
        ({"model": "rerank-2.5-lite"}, "voyage"),
        ({"model": "rerank-v3.5"}, "cohere"),
        ({"model": "rerank-multilingual-v3.0"}, "cohere"),
        ({"max_chunks_per_doc": 1}, "cohere"),
        ({"model": "jina-reranker-v2-base-multilingual"}, "jina"),
        ({}, "jina"),
    ],
)
def test_dialects_of_one_path_are_told_apart(fields, dialect):
    assert dialect_of(OneBody(query="q", documents=["d"], **fields)) == dialect


def test_what_was_not_read_whole_is_told(served):
    answer = post(served, "/v2/rerank", query=QUERY, documents=[LONG, TEXTS[1]]).json()
    assert {each["index"]: each["truncated"] for each in answer["results"]} == {0: True, 1: False}
    tei = post(served, "/rerank", query=QUERY, texts=[LONG], truncate=False)
    assert (tei.status_code, tei.json()["error_type"]) == (413, "Validation")
    short = post(served, "/v2/rerank", query=QUERY, documents=[TEXTS[1]], max_tokens_per_doc=3).json()
    head = post(served, "/v2/rerank", query=QUERY, documents=["A cache keeps"]).json()
    assert short["results"][0]["truncated"]
    assert short["results"][0]["relevance_score"] == head["results"][0]["relevance_score"]


def test_models_by_name_never_by_path(served, tmp_path):
    late = post(served, "/v1/rerank", model="late-interaction", query=QUERY, documents=TEXTS).json()
    assert late["model"] == "late-interaction"
    assert all(0 <= each["relevance_score"] <= 1 for each in late["results"])
    assert post(served, "/v1/rerank", model=str(tmp_path), query=QUERY, documents=TEXTS).json()["model"] == (
        "minilm-l6"
    )
    strict = ServerSettings(aliases=False, any_model=False, reranker="late-interaction")
    with serving(strict) as other:
        refused = post(other, "/v2/rerank", model="rerank-v3.5", query=QUERY, documents=TEXTS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert post(other, "/v2/rerank", query=QUERY, documents=TEXTS).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v2/rerank", b"{", 400, "json_invalid"),
        ("/v2/rerank", b"[]", 422, "request_invalid"),
        ("/v2/rerank", b'{"query": "q"}', 422, "request_invalid"),
        ("/v2/rerank", b'{"query": 3, "documents": ["d"]}', 422, "request_invalid"),
        ("/v2/rerank", b'{"query": "q", "documents": [null]}', 422, "request_invalid"),
        ("/v2/rerank", b'{"query": "", "documents": ["d"]}', 422, "query_empty"),
        ("/v1/rerank", b'{"query": "q", "documents": ["d"], "top_n": 0}', 422, "request_invalid"),
        ("/v1/rerank", b'{"query": "q", "documents": ["d"], "top_n": 1e999}', 422, "request_invalid"),
        ("/v1/rerank", b"[" * 100_000, 400, None),
        ("/v1/rerank", b"\xff\xfe{", 400, None),
    ],
)
def test_bad_bodies_are_told_apart(served, path, body, status, code):
    answer = httpx.post(served.url + path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert code in (None, error["code"])
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert answer.json()["message"] == answer.json()["detail"] == error["message"]


def test_an_empty_document_is_ranked_like_any_other(served):
    answer = post(served, "/v2/rerank", query=QUERY, documents=["", TEXTS[1]])
    assert [each["index"] for each in answer.json()["results"]] == [1, 0]


def test_half_a_surrogate_pair_comes_back_as_it_was(served):
    body = b'{"query": "bread \\ud800", "documents": ["bread \\udc00", "b\\u00f6ses Brot"]}'
    for path in ("/v1/rerank", "/rerank"):
        answer = httpx.post(
            served.url + path,
            content=body.replace(b"}", b', "return_documents": true}'),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 200
        assert b"\\udc00" in answer.content
