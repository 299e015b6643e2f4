"""The LlamaIndex adapter, against the real package: postprocessor, retriever, events, callbacks, async."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document, MetadataMode, NodeRelationship, NodeWithScore, TextNode

from secondpass import Engine, Index, load_reranker
from secondpass.errors import InputError, ModelInvalidError, ModelNotFoundError, QueryError
from secondpass.ext.llamaindex import SecondpassRerank, SecondpassRetriever

QUERY = "Which tool caused most of the injuries?"
TEXTS = [
    "Two people stand at the counter, one at the repair bench.",
    "Seven of the nine injuries involved an angle grinder or a circular saw.",
    "Nine hundred tools are on the shelves, from tack hammers to a wood chipper.",
    "Injuries are written into the red book, tools into the blue one.",
    "The annual fee is forty, twenty with a family card.",
]


class WordOverlap:
    """A re-ranker that can be checked by hand: how many of the query's words a passage has."""

    name = "word-overlap"

    def __init__(self):
        self.seen = []
        self.threads = []

    def score(self, query, passages):
        self.seen.append(list(passages))
        self.threads.append(threading.get_ident())
        wanted = words(query)
        return np.array([len(wanted & words(text)) for text in passages], dtype=np.float32)


def words(text):
    return {word.strip(".,?").lower() for word in text.split()}


@pytest.fixture
def nodes():
    return [
        NodeWithScore(
            node=TextNode(id_=f"n{place}", text=text, metadata={"file": "handbook.txt"}),
            score=0.9 - place / 10,
        )
        for place, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    for place, text in enumerate(TEXTS):
        (folder / f"{place}.txt").write_text(text)
    with Index.open(folder / "index") as index:
        index.add([folder / f"{place}.txt" for place in range(len(TEXTS))])
        yield index


def test_the_best_come_first_with_both_stages_scores(nodes):
    reranker = WordOverlap()
    kept = SecondpassRerank(reranker=reranker, top_n=3).postprocess_nodes(nodes, query_str=QUERY)
    expected = sorted(range(len(TEXTS)), key=lambda place: -len(words(QUERY) & words(TEXTS[place])))[:3]
    assert [each.node.node_id for each in kept] == [f"n{place}" for place in expected]
    for rank, (each, place) in enumerate(zip(kept, expected, strict=True), start=1):
        overlap = len(words(QUERY) & words(TEXTS[place]))
        assert each.score == overlap
        assert each.node.metadata == {
            "file": "handbook.txt",
            "relevance_score": overlap,
            "rerank_rank": rank,
            "candidate_rank": place + 1,
            "candidate_score": pytest.approx(0.9 - place / 10),
            "reranker": "word-overlap",
        }
    assert reranker.seen == [TEXTS]


def test_what_was_retrieved_stays_as_it_was_and_prompts_stay_clean(nodes):
    before = [each.model_dump_json() for each in nodes]
    kept = SecondpassRerank(reranker=WordOverlap()).postprocess_nodes(nodes, query_str=QUERY)
    assert [each.model_dump_json() for each in nodes] == before
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert "relevance_score" not in kept[0].node.get_content(metadata_mode=mode)
        assert "handbook.txt" in kept[0].node.get_content(metadata_mode=mode)


def test_a_logit_gives_a_probability_and_a_cut_passage_says_so():
    found = [NodeWithScore(node=TextNode(text="injuries " * 20_000)), NodeWithScore(node=TextNode(text="x"))]
    kept = SecondpassRerank("minilm-l6", top_n=2).postprocess_nodes(found, query_str=QUERY)
    for each in kept:
        logit = each.node.metadata["relevance_score"]
        assert each.node.metadata["relevance_probability"] == pytest.approx(1 / (1 + np.exp(-logit)))
        assert "candidate_score" not in each.node.metadata  # the retriever gave none
        assert each.node.metadata.get("truncated", False) == (len(each.node.text) > 1)


def test_metadata_is_read_where_that_is_asked_for(nodes):
    reranker = WordOverlap()
    chosen = SecondpassRerank(reranker=reranker, metadata_mode=MetadataMode.EMBED)
    chosen.postprocess_nodes(nodes, query_str=QUERY)
    assert all("file: handbook.txt" in text for text in reranker.seen[0])


def test_events_and_callbacks_tell_of_the_second_pass(nodes):
    heard = []

    class Ear(BaseEventHandler):
        def handle(self, event, **kwargs):
            heard.append(event)

    ear, root, debug = Ear(), get_dispatcher(), LlamaDebugHandler(print_trace_on_end=False)
    root.add_event_handler(ear)
    try:
        manager = CallbackManager([debug])
        SecondpassRerank(reranker=WordOverlap(), top_n=2, callback_manager=manager).postprocess_nodes(
            nodes, query_str=QUERY
        )
    finally:
        root.event_handlers.remove(ear)
    start, end = heard
    assert (start.class_name(), start.model_name, start.top_n) == ("ReRankStartEvent", "word-overlap", 2)
    assert (end.class_name(), len(end.nodes)) == ("ReRankEndEvent", 2)
    [(begun, done)] = debug.get_event_pairs(CBEventType.RERANKING)
    assert begun.payload["query_str"] == QUERY
    assert len(done.payload["nodes"]) == 2


def test_async_works_in_a_thread(nodes):
    reranker = WordOverlap()
    chosen = SecondpassRerank(reranker=reranker)
    kept = asyncio.run(chosen.apostprocess_nodes(nodes, query_str=QUERY))
    assert [each.node.node_id for each in kept] == [
        each.node.node_id for each in chosen.postprocess_nodes(nodes, query_str=QUERY)
    ]
    assert reranker.threads[0] != threading.get_ident()


def test_it_is_serialised_and_comes_back(nodes):
    first = SecondpassRerank("minilm-l6", top_n=2)
    written = json.loads(first.to_json())
    assert (written["class_name"], written["model"], written["top_n"]) == ("SecondpassRerank", "minilm-l6", 2)
    again = SecondpassRerank.from_dict(written)
    one, two = (each.postprocess_nodes(nodes, query_str=QUERY) for each in (first, again))
    assert [each.score for each in one] == [each.score for each in two]


def test_wrong_input_is_refused(nodes):
    chosen = SecondpassRerank(reranker=WordOverlap())
    with pytest.raises(QueryError, match="needs the query"):
        chosen.postprocess_nodes(nodes)
    with pytest.raises(QueryError, match="empty"):
        chosen.postprocess_nodes(nodes, query_str=" ")
    assert chosen.postprocess_nodes([], query_str=QUERY) == []
    with pytest.raises(InputError, match="top_n must be at least 1"):
        SecondpassRerank(reranker=WordOverlap(), top_n=0)
    with pytest.raises(InputError, match="an object with name and score"):
        SecondpassRerank(reranker=object())
    with pytest.raises(ModelNotFoundError):
        SecondpassRerank("no-such-model")


@pytest.mark.parametrize("given", [[1.0], [float("nan")] * 5, [[1.0]] * 5])
def test_a_broken_reranker_is_named(nodes, given):
    class Broken:
        name = "broken"

        def score(self, query, passages):
            return np.array(given)

    with pytest.raises(ModelInvalidError, match="'broken'"):
        SecondpassRerank(reranker=Broken()).postprocess_nodes(nodes, query_str=QUERY)


def test_the_retriever_gives_what_the_engine_gives(index):
    engine = Engine(index, load_reranker("minilm-l6"))
    expected = engine.search(QUERY, 3)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    retriever = SecondpassRetriever(engine, 3, callback_manager=CallbackManager([debug]))
    for found in (retriever.retrieve(QUERY), asyncio.run(retriever.aretrieve(QUERY))):
        assert [each.node.node_id for each in found] == [hit.passage.id for hit in expected.hits]
        for each, hit in zip(found, expected.hits, strict=True):
            assert each.score == pytest.approx(hit.score, abs=1e-4)
            node = each.node
            assert node.text == hit.passage.text
            assert (node.start_char_idx, node.end_char_idx) == (hit.passage.start, hit.passage.end)
            assert node.relationships[NodeRelationship.SOURCE].node_id == hit.passage.document_id
            assert node.metadata["candidate_rank"] == hit.candidate.rank
            assert node.metadata["candidate_score"] == pytest.approx(hit.candidate.score, abs=1e-5)
            assert node.metadata["relevance_probability"] == pytest.approx(hit.probability, abs=1e-4)
            assert node.metadata["reranker"] == "minilm-l6"
            assert "candidate_rank" not in node.get_content(metadata_mode=MetadataMode.LLM)
            assert hit.passage.source in node.get_content(metadata_mode=MetadataMode.LLM)
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 2


def test_stage_1_alone_and_a_deadline_that_has_passed(index):
    [first, *_] = SecondpassRetriever(Engine(index), 2).retrieve(QUERY)
    assert "relevance_score" not in first.node.metadata
    assert first.score == first.node.metadata["candidate_score"]
    late = SecondpassRetriever(Engine(index, WordOverlap()), 2, deadline_ms=0).retrieve(QUERY)
    assert [each.score for each in late] == [None, None]
    assert all(each.node.metadata["unread"] for each in late)


def test_a_query_engine_answers_from_both(index):
    engine = RetrieverQueryEngine.from_args(
        SecondpassRetriever(Engine(index), 5),
        llm=MockLLM(),
        node_postprocessors=[SecondpassRerank("minilm-l6", top_n=1)],
    )
    answer = engine.query(QUERY)
    [source] = answer.source_nodes
    assert source.node.text == TEXTS[1]
    assert TEXTS[1] in str(answer)  # MockLLM repeats its prompt


def test_a_retriever_needs_an_engine(index):
    with pytest.raises(InputError, match="searches an Engine, got Index"):
        SecondpassRetriever(index)
    with pytest.raises(InputError, match="k must be at least 1"):
        SecondpassRetriever(Engine(index), 0)
    with pytest.raises(QueryError):
        SecondpassRetriever(Engine(index)).retrieve("")


def test_without_the_package_the_error_names_the_extra():
    code = (
        "import sys\nsys.modules['llama_index'] = None\nsys.modules['llama_index.core'] = None\n"
        "try: import secondpass.ext.llamaindex\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError")
    assert "pip install 'secondpass[llamaindex]'" in done.stdout


def test_documents_are_nodes_too():
    kept = SecondpassRerank(reranker=WordOverlap(), top_n=1).postprocess_nodes(
        [NodeWithScore(node=Document(text=text)) for text in TEXTS], query_str="nine injuries"
    )
    assert kept[0].node.text == TEXTS[1]
