"""The Haystack components in real pipelines: run, async, to YAML and back."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import sys
import threading
from typing import ClassVar

import numpy as np
import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before the import, which asks for it

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from secondpass import Engine, Index, load_reranker
from secondpass.errors import (
    IndexMissingError,
    InputError,
    ModelNotFoundError,
    QueryError,
)
from secondpass.ext.haystack import SecondpassRanker, SecondpassRetriever

QUERY = "Which tool caused most of the injuries?"
TEXTS = [
    "Two people stand at the counter, one at the repair bench.",
    "Seven of the nine injuries involved an angle grinder or a circular saw.",
    "Nine hundred tools are on the shelves, from tack hammers to a wood chipper.",
    "Injuries are written into the red book, tools into the blue one.",
    "The annual fee is forty, twenty with a family card.",
]


@pytest.fixture
def documents():
    return [
        Document(id=f"d{place}", content=text, meta={"file": "handbook.txt"}, score=1 - place / 10)
        for place, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    docs = tmp_path_factory.mktemp("docs")
    for place, text in enumerate(TEXTS):
        (docs / f"{place}.txt").write_text(text)
    with Index.open(docs / "index") as index:
        index.add([docs / f"{place}.txt" for place in range(len(TEXTS))])
    return docs / "index"


@pytest.fixture(scope="module")
def expected():
    scores = load_reranker("minilm-l6").score(QUERY, TEXTS)
    return sorted(((float(score), place) for place, score in enumerate(scores)), reverse=True)


def test_the_best_come_first_with_both_stages_scores(documents, expected):
    ranker = SecondpassRanker("minilm-l6", top_k=3)
    kept = ranker.run(query=QUERY, documents=documents)["documents"]
    assert [each.id for each in kept] == [f"d{place}" for _, place in expected[:3]]
    for rank, (each, (score, place)) in enumerate(zip(kept, expected, strict=False), start=1):
        assert each.score == pytest.approx(score, abs=1e-4)
        assert each.meta == {
            "file": "handbook.txt",
            "relevance_score": each.score,
            "relevance_probability": pytest.approx(1 / (1 + np.exp(-score)), abs=1e-4),
            "rerank_rank": rank,
            "candidate_rank": place + 1,
            "candidate_score": pytest.approx(1 - place / 10),
            "reranker": "minilm-l6",
        }


def test_what_came_in_stays_as_it_was(documents):
    before = copy.deepcopy(documents)
    SecondpassRanker("minilm-l6").run(query=QUERY, documents=documents)
    assert documents == before


def test_a_threshold_twins_and_numbers_at_run_time(documents, expected):
    ranker = SecondpassRanker("minilm-l6", top_k=2)
    middle = (expected[1][0] + expected[2][0]) / 2
    assert len(ranker.run(query=QUERY, documents=documents, top_k=5)["documents"]) == 5
    kept = ranker.run(query=QUERY, documents=documents, top_k=5, score_threshold=middle)["documents"]
    assert [each.id for each in kept] == [f"d{place}" for _, place in expected[:2]]
    twice = ranker.run(query=QUERY, documents=[*documents, *reversed(documents)], top_k=10)["documents"]
    assert sorted(each.id for each in twice) == sorted(each.id for each in documents)
    assert {each.id: each.meta["candidate_rank"] for each in twice}["d0"] == 1
    assert ranker.run(query=QUERY, documents=[]) == {"documents": []}


@pytest.fixture
def pipeline(documents):
    store = InMemoryDocumentStore()
    store.write_documents(documents)
    made = Pipeline()
    made.add_component("retriever", InMemoryBM25Retriever(store, top_k=4))
    made.add_component("ranker", SecondpassRanker("minilm-l6", top_k=2))
    made.connect("retriever.documents", "ranker.documents")
    return made


ASK = {"retriever": {"query": QUERY}, "ranker": {"query": QUERY}}


def test_a_pipeline_runs_and_so_does_it_in_an_event_loop(pipeline, expected):
    kept = pipeline.run(ASK)["ranker"]["documents"]
    assert kept[0].content == TEXTS[expected[0][1]]
    assert len(kept) == 2
    later = asyncio.run(pipeline.run_async(ASK))["ranker"]["documents"]
    assert [each.id for each in later] == [each.id for each in kept]


def test_run_async_works_in_a_thread(documents):
    class Recording:
        name = "recording"
        threads: ClassVar[list[int]] = []

        def score(self, query, passages):
            self.threads.append(threading.get_ident())
            return np.zeros(len(passages), dtype=np.float32)

    ranker = SecondpassRanker("minilm-l6", top_k=9)
    ranker._reranker = Recording()  # a ranker takes names only: objects have no place in YAML
    kept = asyncio.run(ranker.run_async(query=QUERY, documents=documents))["documents"]
    assert [each.id for each in kept] == [each.id for each in documents]  # equals stay in their order
    assert Recording.threads[0] != threading.get_ident()


def test_a_pipeline_goes_to_yaml_and_comes_back(folder):
    made = Pipeline()
    made.add_component("retriever", SecondpassRetriever(folder, "none", top_k=5, stage1="hybrid"))
    made.add_component(
        "ranker", SecondpassRanker("minilm-l6", top_k=2, score_threshold=-50, backend="onnx", device="cpu")
    )
    made.connect("retriever.documents", "ranker.documents")
    written = made.dumps()
    assert "type: secondpass.ext.haystack.SecondpassRanker" in written
    again = Pipeline.loads(written, allowed_modules=["secondpass.ext.haystack"])
    assert again.to_dict() == made.to_dict()
    assert again.get_component("retriever").stage1 == "hybrid"
    try:
        one, two = (each.run(ASK)["ranker"]["documents"] for each in (made, again))
        assert one
        assert one == two
    finally:
        for each in (made, again):
            each.get_component("retriever").close()


def test_the_retriever_gives_what_the_engine_gives(folder):
    retriever = SecondpassRetriever(folder, "minilm-l6", top_k=3)
    retriever.warm_up()
    found = retriever.run(query=QUERY)["documents"]
    with Index.open(folder, create=False) as index:
        hits = Engine(index, load_reranker("minilm-l6")).search(QUERY, 3).hits
    for each, hit in zip(found, hits, strict=True):
        assert (each.id, each.content) == (hit.passage.id, hit.passage.text)
        assert each.score == pytest.approx(hit.score, abs=1e-4)
        assert each.meta["candidate_rank"] == hit.candidate.rank
        assert each.meta["source"] == hit.passage.source
        assert each.meta["relevance_probability"] == pytest.approx(hit.probability, abs=1e-4)
    later = asyncio.run(retriever.run_async(query=QUERY, top_k=1))["documents"]
    assert [each.id for each in later] == [found[0].id]
    retriever.close()
    assert len(retriever.run(query=QUERY)["documents"]) == 3  # it opens again
    retriever.close()


def test_wrong_input_is_refused(documents, folder, tmp_path):
    ranker = SecondpassRanker("minilm-l6")
    with pytest.raises(QueryError, match="empty"):
        ranker.run(query=" ", documents=documents)
    with pytest.raises(InputError, match="document d9 has no text"):
        ranker.run(query=QUERY, documents=[*documents, Document(id="d9")])
    with pytest.raises(InputError, match="top_k must be at least 1"):
        ranker.run(query=QUERY, documents=documents, top_k=0)
    with pytest.raises(InputError, match="score_threshold must be a finite number"):
        SecondpassRanker(score_threshold=float("nan"))
    with pytest.raises(InputError, match="model must be a name or a folder"):
        SecondpassRanker(model=7)
    with pytest.raises(ModelNotFoundError):
        SecondpassRanker("no-such-model").warm_up()
    with pytest.raises(IndexMissingError):
        SecondpassRetriever(tmp_path / "absent").warm_up()
    with pytest.raises(InputError, match="stage1 must be one of"):
        SecondpassRetriever(folder, stage1="sideways")
    retriever = SecondpassRetriever(folder, "none")
    with pytest.raises(InputError, match="filters must be names and texts"):
        retriever.run(query=QUERY, filters={"operator": "AND", "conditions": []})


def test_without_the_package_the_error_names_the_extra():
    code = (
        "import sys\nsys.modules['haystack'] = None\n"
        "try: import secondpass.ext.haystack\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError")
    assert "pip install 'secondpass[haystack]'" in done.stdout
