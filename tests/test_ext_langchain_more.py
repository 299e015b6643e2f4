"""The LangChain adapter's other doors: compressor, cross-encoder, our index as a store, stores as stage 1."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.tracers.context import collect_runs
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from pydantic import ValidationError

from secondpass import Engine, Index, load_reranker
from secondpass.embedding import MiniLMEmbedder
from secondpass.errors import (
    IndexMismatchError,
    InputError,
    ModelInvalidError,
    ModelNotFoundError,
    QueryError,
)
from secondpass.ext.langchain import (
    CrossEncoderCompressor,
    LangChainCandidates,
    MiniLMEmbeddings,
    RerankedRetriever,
    SecondpassCrossEncoder,
    SecondpassVectorStore,
)
from secondpass.scores import ScoreCache
from secondpass.types import Reranker

QUERY = "Which tool caused most of the injuries?"
TEXTS = [
    "Two people stand at the counter, one at the repair bench.",
    "Seven of the nine injuries involved an angle grinder or a circular saw.",
    "Nine hundred tools are on the shelves, from tack hammers to a wood chipper.",
    "A household that borrows instead of buying saves three hundred a year.",
    "Injuries are written into the red book, tools into the blue one.",
    "The annual fee is forty, twenty with a family card.",
    "Most of the tools were given by neighbours.",
    "The board meets on the first Monday of the month.",
]
IDS = [f"d{number}" for number in range(len(TEXTS))]
BOTH_STAGES = {
    "relevance_score",
    "relevance_probability",
    "rerank_rank",
    "candidate_rank",
    "candidate_value",
    "reranker",
}


def made() -> list[Document]:
    return [
        Document(text, metadata={"number": number, "odd": number % 2 == 1, "lang": "en"}, id=IDS[number])
        for number, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def embeddings() -> MiniLMEmbeddings:
    return MiniLMEmbeddings()


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return load_reranker("auto")


@pytest.fixture(scope="module")
def best(reranker: Reranker) -> list[str]:
    """The ids in the order of the re-ranker's own scores."""
    scores = reranker.score(QUERY, TEXTS).tolist()
    return [IDS[place] for place in sorted(range(len(TEXTS)), key=lambda place: -scores[place])]


@pytest.fixture(scope="module")
def in_memory(embeddings: MiniLMEmbeddings) -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings)
    store.add_documents(made())
    return store


@pytest.fixture(scope="module")
def chroma(embeddings: MiniLMEmbeddings, tmp_path_factory: pytest.TempPathFactory) -> Chroma:
    folder = tmp_path_factory.mktemp("chroma")
    return Chroma.from_documents(made(), embeddings, persist_directory=str(folder))


@pytest.fixture(scope="module")
def ours() -> SecondpassVectorStore:
    """A store of ours that tests only read."""
    store = SecondpassVectorStore(score_key="score")
    store.add_documents(made())
    return store


@pytest.fixture
def store(tmp_path: Path, embeddings: MiniLMEmbeddings) -> SecondpassVectorStore:
    """A store of ours that a test may change."""
    store = SecondpassVectorStore(tmp_path / "index", embeddings)
    store.add_documents(made())
    return store


class Recorder(BaseCallbackHandler):
    """Keeps what LangChain's callbacks say of retrievers."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.events.append(query)

    def on_retriever_end(self, documents: Sequence[Document], **kwargs: Any) -> None:
        self.events.append([document.id for document in documents])


class Numbered(VectorStore):
    """A store whose documents and numbers are given, in the order it answers with; None: no numbers."""

    def __init__(self, found: list[tuple[Document, Any]]) -> None:
        self.found = found
        self.asked: list[dict[str, Any]] = []

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        self.asked.append({"k": k, **kwargs})
        return [document for document, _ in self.found[:k]]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Any:
        if any(number is None for _, number in self.found):
            raise NotImplementedError
        self.asked.append({"k": k, **kwargs})
        return self.found[:k]

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Any, **kwargs: Any) -> Numbered:  # type: ignore[override]
        return cls([(Document(text), None) for text in texts])


class Letters(Embeddings):
    """LangChain embeddings that can be checked by hand, and are not of unit length."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0 + text.count("a"), 1.0 + text.count("b")] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class TestCompressor:
    def compression(self, retriever: BaseRetriever, **settings: Any) -> ContextualCompressionRetriever:
        compressor = CrossEncoderCompressor(**settings)
        return ContextualCompressionRetriever(base_compressor=compressor, base_retriever=retriever)

    @pytest.mark.parametrize("kind", ["chroma", "in_memory", "ours"])
    def test_in_a_compression_retriever_the_best_come_first(
        self, request: pytest.FixtureRequest, kind: str, best: list[str]
    ) -> None:
        store: VectorStore = request.getfixturevalue(kind)
        retriever = self.compression(store.as_retriever(search_kwargs={"k": 8}), top_n=4)
        found = retriever.invoke(QUERY)
        assert [each.id for each in found] == best[:4]
        assert asyncio.run(retriever.ainvoke(QUERY)) == found
        assert [each.metadata["rerank_rank"] for each in found] == [1, 2, 3, 4]
        stage1 = [each.id for each in store.similarity_search(QUERY, k=8)]
        assert [stage1[each.metadata["candidate_rank"] - 1] for each in found] == best[:4]
        assert [each.metadata["number"] for each in found] == [IDS.index(key) for key in best[:4]]

    def test_both_stages_numbers_are_kept(
        self, ours: SecondpassVectorStore, reranker: Reranker, embeddings: MiniLMEmbeddings
    ) -> None:
        retriever = self.compression(ours.as_retriever(search_kwargs={"k": 8}), top_n=8)
        query = np.array(embeddings.embed_query(QUERY))
        own = dict(zip(IDS, reranker.score(QUERY, TEXTS).tolist(), strict=True))
        for each in retriever.invoke(QUERY):
            numbers = each.metadata
            cosine = float(np.array(embeddings.embed_documents([each.page_content])[0]) @ query)
            assert numbers.keys() == BOTH_STAGES | {"number", "odd", "lang", "score"}
            assert numbers["candidate_value"] == numbers["score"] == pytest.approx(cosine, abs=1e-3)
            assert numbers["relevance_score"] == pytest.approx(own[str(each.id)], abs=1e-4)
            sigmoid = 1 / (1 + math.exp(-numbers["relevance_score"]))
            assert numbers["relevance_probability"] == pytest.approx(sigmoid)
            assert numbers["reranker"] == reranker.name

    def test_a_store_that_puts_no_number_into_metadata_gives_none(self, chroma: Chroma) -> None:
        [found] = self.compression(chroma.as_retriever(), top_n=1).invoke(QUERY)
        assert "candidate_value" not in found.metadata
        assert found.metadata.keys() >= BOTH_STAGES - {"candidate_value"}

    def test_a_second_reader_keeps_the_first_ones_score(self, in_memory: InMemoryVectorStore) -> None:
        first = RerankedRetriever(
            vectorstore=in_memory, reranker_model="late-interaction", k_candidates=8, k_final=5
        )
        before = {each.id: each.metadata for each in first.invoke(QUERY)}
        for each in self.compression(first, reranker_model="minilm-l6").invoke(QUERY):
            assert each.metadata["candidate_value"] == before[each.id]["relevance_score"]
            assert each.metadata["candidate_rank"] == before[each.id]["rerank_rank"]
            assert each.metadata["reranker"] == "minilm-l6"

    @pytest.mark.parametrize(
        ("value", "kept"),
        [(0.5, 0.5), (2, 2.0), (np.float32(0.25), 0.25), (True, None), ("0.5", None), (np.zeros(3), None)],
        ids=["float", "int", "numpy", "bool", "text", "array"],
    )
    def test_what_counts_as_stage_1s_number(self, value: Any, kept: float | None) -> None:
        compressor = CrossEncoderCompressor(score_key="value")
        [found] = compressor.compress_documents([Document("text", metadata={"value": value})], "query")
        assert found.metadata.get("candidate_value") == kept

    def test_equal_texts_stay_in_the_order_they_came(self) -> None:
        twins = [Document("The fee is forty.", id=key) for key in "cab"]
        found = CrossEncoderCompressor().compress_documents(twins, "What is the fee?")
        assert [each.id for each in found] == ["c", "a", "b"]

    def test_documents_that_are_given_stay_as_they_are(self) -> None:
        given = made()
        found = CrossEncoderCompressor().compress_documents(given, QUERY)
        found[0].metadata["mine"] = True
        assert given == made()

    def test_callbacks_and_traces_see_both_retrievers(
        self, in_memory: InMemoryVectorStore, best: list[str]
    ) -> None:
        retriever = self.compression(in_memory.as_retriever(search_kwargs={"k": 8}), top_n=2)
        recorder = Recorder()
        with collect_runs() as collected:
            retriever.invoke(QUERY, config={"callbacks": [recorder]})
        stage1 = [each.id for each in in_memory.similarity_search(QUERY, k=8)]
        assert recorder.events == [QUERY, QUERY, stage1, best[:2]]
        [traced] = collected.traced_runs
        assert (traced.run_type, traced.name) == ("retriever", "ContextualCompressionRetriever")
        assert [child.run_type for child in traced.child_runs] == ["retriever"]

    def test_batch_and_stream(self, in_memory: InMemoryVectorStore, best: list[str]) -> None:
        retriever = self.compression(in_memory.as_retriever(search_kwargs={"k": 8}), top_n=1)
        queries = [QUERY, "When does the board meet?"]
        assert [[each.id for each in found] for found in retriever.batch(queries)] == [[best[0]], ["d7"]]
        assert [[each.id for each in found] for found in retriever.stream(QUERY)] == [[best[0]]]

    def test_no_documents_give_none(self, embeddings: MiniLMEmbeddings) -> None:
        assert CrossEncoderCompressor().compress_documents([], QUERY) == []
        assert asyncio.run(CrossEncoderCompressor().acompress_documents([], QUERY)) == []
        empty = InMemoryVectorStore(embeddings).as_retriever()
        assert self.compression(empty).invoke(QUERY) == []

    @pytest.mark.parametrize("query", ["", " \n", None, 3])
    def test_a_query_must_be_text(self, query: Any) -> None:
        compressor = CrossEncoderCompressor()
        for documents in ([], made()):
            with pytest.raises(QueryError, match="query"):
                compressor.compress_documents(documents, query)
        with pytest.raises(QueryError, match="query"):
            asyncio.run(compressor.acompress_documents(made(), query))

    def test_an_empty_query_through_the_retriever(self, in_memory: InMemoryVectorStore) -> None:
        with pytest.raises(QueryError, match="the query is empty"):
            self.compression(in_memory.as_retriever()).invoke(" ")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"top_n": 0}, "top_n must be at least 1, got 0"),
            ({"top_n": "many"}, "top_n"),
            ({"model": "minilm-l6"}, "model\n.*not permitted"),
            ({"reranker_model": 7}, "reranker_model must be a name, a folder, or an object .* not int"),
            ({"reranker_model": "none"}, "'none' is not a re-ranker"),
            ({"score_key": 5}, "score_key"),
        ],
    )
    def test_wrong_fields_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            CrossEncoderCompressor(**settings)

    def test_a_field_that_is_assigned_later_counts(self) -> None:
        compressor = CrossEncoderCompressor(reranker_model="late-interaction")
        compressor.reranker_model = "minilm-l6"
        [first, *_] = compressor.compress_documents(made(), QUERY)
        assert first.metadata["reranker"] == "minilm-l6"
        compressor.top_n = 0
        with pytest.raises(InputError, match="top_n must be at least 1"):
            compressor.compress_documents(made(), QUERY)

    def test_a_model_that_is_not_here_is_named(self) -> None:
        with pytest.raises(ModelNotFoundError, match="no-such-model"):
            CrossEncoderCompressor(reranker_model="no-such-model")

    @pytest.mark.parametrize("documents", [["a text"], [Document("x"), None], Document("alone")])
    def test_what_is_no_document_is_refused(self, documents: Any) -> None:
        with pytest.raises(InputError, match="documents are LangChain Documents, got"):
            CrossEncoderCompressor().compress_documents(documents, QUERY)


class TestCrossEncoder:
    @pytest.mark.parametrize("name", ["minilm-l6", "late-interaction"])
    def test_in_langchains_own_reranker_the_order_is_ours(self, chroma: Chroma, name: str) -> None:
        theirs = CrossEncoderReranker(model=SecondpassCrossEncoder(name), top_n=5)
        base = chroma.as_retriever(search_kwargs={"k": 8})
        found = ContextualCompressionRetriever(base_compressor=theirs, base_retriever=base).invoke(QUERY)
        mine = CrossEncoderCompressor(reranker_model=name, top_n=5)
        expected = ContextualCompressionRetriever(base_compressor=mine, base_retriever=base).invoke(QUERY)
        assert [each.id for each in found] == [each.id for each in expected]
        assert len(found) == 5

    def test_several_queries_in_one_call(self, reranker: Reranker) -> None:
        other = "What does membership cost?"
        pairs = [(QUERY, TEXTS[1]), (other, TEXTS[5]), (QUERY, TEXTS[7]), (other, TEXTS[1])]
        scores = SecondpassCrossEncoder().score(pairs)
        alone = [float(reranker.score(query, [text])[0]) for query, text in pairs]
        assert scores == pytest.approx(alone, abs=1e-4)
        assert scores[0] > scores[2]
        assert scores[1] > scores[3]
        assert all(type(score) is float for score in scores)

    def test_each_query_is_read_once(self) -> None:
        seen: list[tuple[str, list[str]]] = []

        class Counted:
            name = "counted"

            def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
                seen.append((query, list(passages)))
                return np.array([len(text) for text in passages], dtype=np.float32)

        model = SecondpassCrossEncoder(Counted())
        assert model.score([("a", "x"), ("b", "yy"), ("a", "zzz")]) == [1.0, 2.0, 3.0]
        assert seen == [("a", ["x", "zzz"]), ("b", ["yy"])]
        assert model.model_name == "counted"

    def test_no_pairs_give_no_scores(self) -> None:
        assert SecondpassCrossEncoder().score([]) == []

    def test_an_empty_text_has_a_score(self) -> None:
        [empty, answer] = SecondpassCrossEncoder().score([(QUERY, ""), (QUERY, TEXTS[1])])
        assert empty < answer

    @pytest.mark.parametrize(
        ("pairs", "error", "message"),
        [
            ([("q", "t"), ("q",)], InputError, r"pair 2 must be a query and a text, got \('q',\)"),
            ([("q", 5)], InputError, "pair 1 must be a query and a text"),
            (["qt"], InputError, "pair 1 must be a query and a text, got 'qt'"),
            (("q", "t"), InputError, "pair 1 must be a query and a text, got 'q'"),
            ("qt", InputError, "come as a list, got str"),
            (None, InputError, "come as a list, got NoneType"),
            ([("q", "t"), (" ", "t")], QueryError, "the query is empty"),
            ([(5, "t")], QueryError, "a query is text, got int"),
        ],
    )
    def test_bad_pairs_are_refused(self, pairs: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            SecondpassCrossEncoder().score(pairs)

    def test_a_score_that_is_no_number_is_refused(self) -> None:
        class Broken:
            name = "broken"

            def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
                return np.array([math.nan if text == "bad" else 1.0 for text in passages])

        with pytest.raises(ModelInvalidError, match="'broken' gave the score nan to passage number 3"):
            SecondpassCrossEncoder(Broken()).score([("a", "x"), ("b", "y"), ("a", "bad")])

    @pytest.mark.parametrize(
        ("choice", "error", "message"),
        [
            (5, InputError, "not int"),
            ("none", InputError, "not a re-ranker"),
            ("no-such-model", ModelNotFoundError, "no-such-model"),
        ],
    )
    def test_a_wrong_model_is_refused(self, choice: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            SecondpassCrossEncoder(choice)


class TestStore:
    def test_documents_come_back_with_ids_and_metadata(self, ours: SecondpassVectorStore) -> None:
        found = ours.get_by_ids(["d5", "nowhere", "d1"])
        assert found == [made()[5], made()[1]]
        assert ours.get_by_ids([]) == []

    def test_nested_metadata_come_back(self, store: SecondpassVectorStore) -> None:
        nested = {"tags": ["a", {"b": 1}], "loc": {"lines": {"from": 1}}, "none": None, "share": 0.5}
        [key] = store.add_documents([Document("A text.", metadata=nested)])
        assert store.get_by_ids([key])[0].metadata == nested
        assert store.similarity_search("A text.", k=1)[0].metadata == nested

    def test_scores_are_cosines_and_fall(
        self, ours: SecondpassVectorStore, embeddings: MiniLMEmbeddings
    ) -> None:
        found = ours.similarity_search_with_score(QUERY, k=8)
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        cosines = np.array(embeddings.embed_documents(TEXTS)) @ np.array(embeddings.embed_query(QUERY))
        assert {document.id: score for document, score in found} == pytest.approx(
            dict(zip(IDS, cosines.tolist(), strict=True)), abs=1e-3
        )
        assert [document for document, _ in found] == ours.similarity_search(QUERY, k=8)

    def test_relevance_scores_lie_between_0_and_1(self, ours: SecondpassVectorStore) -> None:
        found = ours.similarity_search_with_relevance_scores(QUERY, k=8)
        assert all(0 <= score <= 1 for _, score in found)
        assert found[0][1] == pytest.approx(ours.similarity_search_with_score(QUERY, k=1)[0][1])

    @pytest.mark.parametrize("stage1", ["lexical", "hybrid"])
    def test_words_count_where_they_are_asked_for(self, store: SecondpassVectorStore, stage1: str) -> None:
        store.add_texts(["Invoice QX-7731 is due."], ids=["invoice"])
        other = SecondpassVectorStore(store.index, stage1=stage1)
        assert other.similarity_search("QX-7731", k=1)[0].id == "invoice"
        with pytest.raises(InputError, match=f"{stage1} scores have no scale"):
            other.similarity_search_with_relevance_scores("QX-7731")

    def test_by_vector_it_finds_the_same(
        self, ours: SecondpassVectorStore, embeddings: MiniLMEmbeddings
    ) -> None:
        vector = embeddings.embed_query(QUERY)
        assert ours.similarity_search_by_vector(vector, k=3) == ours.similarity_search(QUERY, k=3)
        longer = [3 * number for number in vector]
        assert ours.similarity_search_by_vector(longer, k=3) == ours.similarity_search(QUERY, k=3)

    def test_a_filter_needs_all_its_values(self, ours: SecondpassVectorStore) -> None:
        assert {each.id for each in ours.similarity_search(QUERY, k=8, filter={"odd": True})} == {
            "d1",
            "d3",
            "d5",
            "d7",
        }
        assert [each.id for each in ours.similarity_search(QUERY, filter={"odd": True, "number": 3})] == [
            "d3"
        ]
        assert ours.similarity_search(QUERY, filter={"odd": False, "number": 3}) == []
        assert len(ours.similarity_search(QUERY, k=8, filter={})) == 8

    def test_diverse_hits_skip_the_twin(self, store: SecondpassVectorStore) -> None:
        store.add_texts(["Seven of nine injuries involved an angle grinder or a saw."], ids=["twin"])
        alike = {each.id for each in store.similarity_search(QUERY, k=3)}
        assert alike >= {"d1", "twin"}
        found = store.max_marginal_relevance_search(QUERY, k=3, fetch_k=9, lambda_mult=0.3)
        assert len({"d1", "twin"} & {each.id for each in found}) == 1
        vector = store.embeddings.embed_query(QUERY)
        by_vector = store.max_marginal_relevance_search_by_vector(vector, k=3, fetch_k=9, lambda_mult=0.3)
        assert by_vector == found
        plain = store.max_marginal_relevance_search(QUERY, k=3, fetch_k=9, lambda_mult=1.0)
        assert {each.id for each in plain} == alike

    def test_an_id_that_is_there_is_replaced(self, store: SecondpassVectorStore) -> None:
        assert store.add_texts(["The fee is fifty."], [{"year": 2}], ids=["d5"]) == ["d5"]
        assert len(store.index) == len(TEXTS)
        assert store.get_by_ids(["d5"]) == [Document("The fee is fifty.", metadata={"year": 2}, id="d5")]
        assert TEXTS[5] not in [each.page_content for each in store.similarity_search("fee", k=9)]

    def test_only_a_changed_text_is_embedded_again(self, tmp_path: Path) -> None:
        class Counting(Letters):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                asked.extend(texts)
                return super().embed_documents(texts)

        asked: list[str] = []
        store = SecondpassVectorStore(tmp_path / "counting", Counting())
        store.add_texts(["a", "b"], [{"year": 1}] * 2, ids=["x", "y"])
        asked.clear()
        store.add_texts(["a", "b"], [{"year": 1}, {"year": 2}], ids=["x", "y"])
        assert asked == []
        assert store.get_by_ids(["y"])[0].metadata == {"year": 2}
        store.add_texts(["a", "bb"], ids=["x", "y"])
        assert asked == ["bb"]

    def test_an_id_twice_in_a_call_changes_nothing(self, store: SecondpassVectorStore) -> None:
        with pytest.raises(InputError, match="the id 'x' is given twice in one call"):
            store.add_texts(["One.", "Two.", "Three."], ids=["new", "x", "x"])
        assert store.get_by_ids(["new", "x"]) == []
        assert len(store.index) == len(TEXTS)

    def test_equal_texts_under_several_ids_all_come_back(self, store: SecondpassVectorStore) -> None:
        store.add_texts([TEXTS[5]] * 2, [{"copy": 1}, {"copy": 2}], ids=["c1", "c2"])
        found = store.similarity_search_with_score("the annual fee", k=3)
        assert {document.id: document.metadata.get("copy") for document, _ in found} == {
            "d5": None,
            "c1": 1,
            "c2": 2,
        }
        assert len({score for _, score in found}) == 1
        assert len(store.similarity_search("the annual fee", k=2)) == 2

    def test_ids_are_those_given_the_documents_own_or_random(self, store: SecondpassVectorStore) -> None:
        documents = [Document("One.", id="own"), Document("Two.", id="own2"), Document("Three.")]
        given = store.add_documents(documents, ids=["given", None, None])
        assert given[:2] == ["given", "own2"]
        assert len(given[2]) == 36
        assert [each.page_content for each in store.get_by_ids(given)] == ["One.", "Two.", "Three."]

    def test_deleting(self, store: SecondpassVectorStore) -> None:
        assert store.delete(["d1", "nowhere"]) is True
        assert store.get_by_ids(["d1"]) == []
        assert "d1" not in {each.id for each in store.similarity_search(QUERY, k=9)}
        assert store.delete([]) is True
        assert len(store.index) == len(TEXTS) - 1
        assert store.delete() is True
        assert store.similarity_search(QUERY) == []
        assert store.similarity_search(QUERY, filter={"lang": "en"}) == []
        assert len(store.index) == 0

    def test_one_id_alone_is_one_id_not_its_letters(self, store: SecondpassVectorStore) -> None:
        store.add_texts(["Alpha.", "Beta.", "Both."], ids=["a", "b", "ab"])
        assert [each.id for each in store.get_by_ids("ab")] == ["ab"]
        store.delete("ab")  # type: ignore[arg-type]
        assert [each.id for each in store.get_by_ids(["a", "b", "ab"])] == ["a", "b"]

    def test_async_finds_adds_and_deletes(self, store: SecondpassVectorStore) -> None:
        async def all_of_it() -> None:
            assert await store.aadd_texts(["The ferry leaves at noon."], ids=["ferry"]) == ["ferry"]
            assert (await store.asimilarity_search("When does the ferry leave?", k=1))[0].id == "ferry"
            several = await asyncio.gather(*(store.asimilarity_search(text, k=1) for text in TEXTS))
            assert [found[0].id for found in several] == IDS
            assert await store.adelete(["ferry"]) is True
            assert await store.aget_by_ids(["ferry"]) == []

        asyncio.run(all_of_it())

    def test_several_may_add_at_once(self, store: SecondpassVectorStore) -> None:
        async def all_of_it() -> list[list[str]]:
            return await asyncio.gather(
                *(store.aadd_texts([f"Boat {place}."], ids=[f"b{place}"]) for place in range(8))
            )

        added = asyncio.run(all_of_it())
        assert added == [[f"b{place}"] for place in range(8)]
        assert len(store.index) == len(TEXTS) + 8
        assert len(store.get_by_ids([key for [key] in added])) == 8

    def test_as_a_retriever(self, ours: SecondpassVectorStore) -> None:
        retriever = ours.as_retriever(search_kwargs={"k": 2, "filter": {"odd": True}})
        found = retriever.invoke(QUERY)
        assert found == ours.similarity_search(QUERY, k=2, filter={"odd": True})
        assert asyncio.run(retriever.ainvoke(QUERY)) == found
        assert retriever.batch([QUERY] * 3) == [found] * 3
        assert asyncio.run(retriever.abatch([QUERY])) == [found]
        score = found[0].metadata["score"]
        threshold = {"k": 8, "score_threshold": score - 1e-4}
        by_score = ours.as_retriever(search_type="similarity_score_threshold", search_kwargs=threshold)
        assert all(each.metadata["score"] >= score - 1e-4 for each in by_score.invoke(QUERY))
        diverse = ours.as_retriever(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 8})
        assert diverse.invoke(QUERY) == ours.max_marginal_relevance_search(QUERY, k=3, fetch_k=8)

    def test_any_langchain_embeddings_fill_it(self, tmp_path: Path) -> None:
        store = SecondpassVectorStore.from_texts(["aaa", "bbb", "ab"], Letters(), folder=tmp_path / "letters")
        found = store.similarity_search_with_score("aa", k=3)
        assert [document.page_content for document, _ in found] == ["aaa", "ab", "bbb"]
        angle = math.atan2(1, 4) - math.atan2(1, 3)
        assert found[0][1] == pytest.approx(math.cos(angle), abs=1e-3)
        store.index.close()
        with pytest.raises(IndexMismatchError, match="Letters"):
            SecondpassVectorStore(tmp_path / "letters", MiniLMEmbeddings())

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (lambda store: store.add_texts("one text"), "put a single one into a list"),
            (lambda store: store.add_texts(["a", "b"], ids="xy"), "ids are several"),
            (lambda store: store.add_texts(["a"], ids=["x", "y"]), "1 documents need as many ids, got 2"),
            (lambda store: store.add_texts(["a"], [{}, {}]), "1 texts need as many metadatas, got 2"),
            (lambda store: store.add_texts(["a"], ids=[0]), "the id of a document must be a text.*got 0"),
            (lambda store: store.add_texts(["a"], ids=[""]), "the id of a document must be a text.*got ''"),
            (lambda store: store.add_texts(["a"], unknown=1), "unknown arguments: unknown"),
            (lambda store: store.add_texts(["a"], [{"x": math.nan}]), "'x' .* is nan"),
            (lambda store: store.add_texts(["a"], [{"x": [object()]}]), r"\(x\) cannot be written as JSON"),
            (lambda store: store.add_documents(["a"]), "documents are LangChain Documents, got str"),
            (lambda store: store.delete([5]), r"ids of documents are strings, got \[5\]"),
            (lambda store: store.similarity_search("fee", k=0), "k must be at least 1, got 0"),
            (lambda store: store.similarity_search("fee", k="2"), "k must be a whole number"),
            (lambda store: store.similarity_search("fee", where={}), "unknown arguments: where"),
            (lambda store: store.similarity_search("fee", filter="x=1"), "filter must map names"),
            (
                lambda store: store.similarity_search("fee", filter={"number": {"$gt": 1}}),
                "filter knows equality only: 'number'",
            ),
            (
                lambda store: store.similarity_search("fee", filter={"nowhere": 1}),
                "no document has the metadata 'nowhere'; there is: id, lang, number, odd, source",
            ),
            (lambda store: store.similarity_search_by_vector([1.0]), "vectors of 384 numbers"),
            (lambda store: store.similarity_search_by_vector([0.0] * 384), "zero or not finite"),
            (
                lambda store: store.max_marginal_relevance_search("fee", lambda_mult=7),
                "lambda_mult must be between 0 and 1, got 7",
            ),
            (
                lambda store: store.max_marginal_relevance_search("fee", fetch_k="9"),
                "fetch_k must be a whole",
            ),
            (lambda store: store.max_marginal_relevance_search("fee", k=0), "k must be at least 1"),
        ],
    )
    def test_bad_input_is_refused_and_nothing_is_lost(
        self, ours: SecondpassVectorStore, bad: Any, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            bad(ours)
        assert ours.get_by_ids(IDS) == made()
        assert len(ours.index) == len(TEXTS)

    @pytest.mark.parametrize("query", ["", " ", None, 5])
    def test_a_query_must_be_text(self, ours: SecondpassVectorStore, query: Any) -> None:
        for search in (ours.similarity_search, ours.max_marginal_relevance_search):
            with pytest.raises(QueryError, match="query"):
                search(query)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"stage1": "cosine"}, "stage1 must be one of dense, lexical, hybrid"),
            ({"embedding": "minilm"}, "embedding must be a LangChain Embeddings or an embedder, got str"),
            ({"folder": 5}, "the folder of an index must be a path, got 5"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            SecondpassVectorStore(**settings)

    def test_an_open_index_brings_its_embedder(self, ours: SecondpassVectorStore) -> None:
        with pytest.raises(InputError, match="an open Index has its embedder"):
            SecondpassVectorStore(ours.index, MiniLMEmbeddings())


class TestOnDisk:
    def test_another_process_reads_and_adds(self, store: SecondpassVectorStore) -> None:
        code = """
import json, sys
from secondpass.ext.langchain import SecondpassVectorStore
store = SecondpassVectorStore(sys.argv[1])
found = store.similarity_search_with_score(sys.argv[2], k=3)
store.add_texts(["The ferry leaves at noon."], [{"number": 9}], ids=["ferry"])
store.delete(["d7"])
print(json.dumps([[each.id, each.page_content, each.metadata, score] for each, score in found]))
"""
        expected = store.similarity_search_with_score(QUERY, k=3)
        found = json.loads(_run(sys.executable, "-c", code, str(store.index.path), QUERY))
        for (key, text, metadata, score), (document, value) in zip(found, expected, strict=True):
            assert Document(text, metadata=metadata, id=key) == document
            assert score == pytest.approx(value, abs=1e-6)
        # The store that was open all along sees what the other process did.
        assert store.similarity_search("When does the ferry leave?", k=1)[0].id == "ferry"
        assert store.get_by_ids(["d7"]) == []
        again = SecondpassVectorStore(store.index.path)
        assert len(again.index) == len(TEXTS)

    def test_secondpass_search_finds_what_langchain_added(
        self, store: SecondpassVectorStore, best: list[str]
    ) -> None:
        folder = str(store.index.path)
        written = _run(
            *(sys.executable, "-m", "secondpass", "search", QUERY, "--index", folder),
            *("--where", "lang=en", "--json", "--quiet"),
        )
        hits = json.loads(written)["hits"]
        assert [hit["passage"]["document_id"] for hit in hits] == best[:3]
        assert hits[0]["passage"]["text"] == TEXTS[IDS.index(best[0])]

    def test_an_engine_searches_it(self, ours: SecondpassVectorStore, best: list[str]) -> None:
        result = Engine(ours.index, load_reranker()).search(QUERY, k=3, candidates=8)
        assert [hit.passage.document_id for hit in result.hits] == best[:3]

    @pytest.mark.parametrize("kept", [True, False])
    def test_its_index_outlives_the_store(self, tmp_path: Path, kept: bool) -> None:
        index = SecondpassVectorStore.from_texts(
            ["The fee is forty."], folder=tmp_path if kept else None
        ).index
        gc.collect()
        folder = index.path
        assert Engine(index).search("fee").hits[0].passage.text == "The fee is forty."
        del index
        gc.collect()
        assert folder.exists() is kept

    def test_an_index_of_files_is_searched_and_left_alone(self, tmp_path: Path) -> None:
        book = tmp_path / "book.txt"
        book.write_text("\n\n".join(TEXTS))
        with Index.open(tmp_path / "index") as index:
            index.add(book)
        store = SecondpassVectorStore(tmp_path / "index")
        [found] = store.similarity_search(QUERY, k=1)
        start = found.metadata["start_index"]
        assert book.read_text()[start : start + len(found.page_content)] == found.page_content
        assert found.metadata["source"] == str(book)
        assert store.get_by_ids([str(found.id)]) == [found]
        for change in (lambda: store.add_texts(["x"]), lambda: store.delete([str(found.id)]), store.delete):
            with pytest.raises(InputError, match="was built from files"):
                change()
        assert store.get_by_ids([str(found.id)]) == [found]

    def test_without_a_folder_nothing_is_left(self) -> None:
        code = """
from secondpass.ext.langchain import SecondpassVectorStore
store = SecondpassVectorStore.from_texts(["The fee is forty."])
print(store.index.path)
"""
        folder = Path(_run(sys.executable, "-c", code).strip())
        assert folder.name.startswith("secondpass-")
        assert not folder.exists()


class TestCandidates:
    def test_an_engine_reranks_what_a_store_found(
        self, request: pytest.FixtureRequest, best: list[str], reranker: Reranker
    ) -> None:
        for kind in ("chroma", "in_memory", "ours"):
            store: VectorStore = request.getfixturevalue(kind)
            result = Engine(LangChainCandidates(store), reranker, 8).search(QUERY, k=3)
            assert [hit.passage.id for hit in result.hits] == best[:3], kind
            assert [hit.passage.id for hit in result.candidates] == [
                document.id for document in store.similarity_search(QUERY, k=8)
            ]
            assert [hit.passage.metadata["number"] for hit in result.hits] == [
                IDS.index(key) for key in best[:3]
            ]

    def test_scores_of_stage_1_fall_and_the_stores_number_is_kept(
        self, chroma: Chroma, in_memory: InMemoryVectorStore
    ) -> None:
        for store, sign in ((chroma, -1), (in_memory, 1)):
            raw = {document.id: value for document, value in store.similarity_search_with_score(QUERY, k=8)}
            hits = LangChainCandidates(store).candidates(QUERY, None, 8)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert {hit.passage.id: sign * hit.score for hit in hits} == pytest.approx(raw)
            assert {hit.passage.id: hit.passage.metadata["candidate_value"] for hit in hits} == pytest.approx(
                raw
            )

    @pytest.mark.parametrize(
        ("numbers", "scores"),
        [
            ([0.9, 0.5, 0.1], [0.9, 0.5, 0.1]),
            ([0.1, 0.5, 0.5], [-0.1, -0.5, -0.5]),
            ([0.5, 0.9, 0.1], [-1.0, -2.0, -3.0]),
            ([0.5, 0.5, 0.5], [-1.0, -2.0, -3.0]),
            ([0.9, math.nan, 0.1], [-1.0, -2.0, -3.0]),
            ([np.float32(2), np.float32(1)], [2.0, 1.0]),
            ([None, None], [-1.0, -2.0]),
            ([0.7], [-1.0]),
            ([], []),
        ],
        ids=["falling", "rising", "neither", "equal", "NaN", "numpy", "none", "one", "empty"],
    )
    def test_what_a_stores_numbers_become(self, numbers: list[Any], scores: list[float]) -> None:
        found = [(Document(TEXTS[place], id=IDS[place]), number) for place, number in enumerate(numbers)]
        hits = LangChainCandidates(Numbered(found)).candidates(QUERY, None, 8)
        assert [hit.score for hit in hits] == pytest.approx(scores)
        assert all(type(hit.score) is float for hit in hits)
        assert [hit.passage.id for hit in hits] == IDS[: len(numbers)]  # in the store's own order
        assert [hit.rank for hit in hits] == list(range(1, len(numbers) + 1))

    def test_a_retriever_is_stage_1_too(self, in_memory: InMemoryVectorStore, best: list[str]) -> None:
        retriever = in_memory.as_retriever(search_kwargs={"k": 8})
        engine = Engine(LangChainCandidates(retriever), load_reranker())
        result = engine.search(QUERY, k=3)
        assert [hit.passage.id for hit in result.hits] == best[:3]
        assert [hit.score for hit in result.candidates] == [float(-rank) for rank in range(1, 9)]
        assert len(engine.search(QUERY, k=1, candidates=2).candidates) == 2
        with pytest.raises(InputError, match="a retriever takes no filter from outside"):
            engine.search(QUERY, where={"lang": "en"})
        assert engine.search(QUERY, where={}).hits == result.hits

    def test_compare_over_a_store(self, chroma: Chroma) -> None:
        rerankers = [load_reranker("minilm-l6"), load_reranker("late-interaction")]
        comparison = Engine(LangChainCandidates(chroma)).compare(QUERY, rerankers, k=3, candidates=8)
        assert [hit.passage.id for hit in comparison.stage1.hits] == [
            document.id for document in chroma.similarity_search(QUERY, k=3)
        ]
        assert [each.result.reranker for each in comparison.passes] == ["minilm-l6", "late-interaction"]
        for each in comparison.passes:
            assert {hit.passage.id for hit in each.result.ranked} == set(IDS)
            assert len(each.moves) == 3

    @pytest.mark.parametrize("kind", ["chroma", "in_memory", "ours"])
    @pytest.mark.parametrize(
        ("where", "ids"),
        [
            ({"odd": True}, {"d1", "d3", "d5", "d7"}),
            ({"odd": True, "lang": "en", "number": 3}, {"d3"}),
            ({"odd": True, "number": 2}, set()),
            ({}, set(IDS)),
        ],
    )
    def test_where_narrows(
        self, request: pytest.FixtureRequest, kind: str, where: dict[str, Any], ids: set[str]
    ) -> None:
        engine = Engine(LangChainCandidates(request.getfixturevalue(kind)), load_reranker("late-interaction"))
        assert {hit.passage.id for hit in engine.search(QUERY, where=where).candidates} == ids

    @pytest.mark.parametrize("kind", ["chroma", "in_memory", "ours"])
    def test_where_never_widens_a_fixed_filter(self, request: pytest.FixtureRequest, kind: str) -> None:
        store: VectorStore = request.getfixturevalue(kind)
        fixed: Any = {"odd": True}
        if kind == "in_memory":
            fixed = _is_odd
        source = LangChainCandidates(store, {"filter": fixed})
        odd = {"d1", "d3", "d5", "d7"}
        assert {hit.passage.id for hit in source.candidates(QUERY, None, 8)} == odd
        assert {hit.passage.id for hit in source.candidates(QUERY, None, 8, where={"lang": "en"})} == odd
        assert {hit.passage.id for hit in source.candidates(QUERY, None, 8, where={"number": 3})} == {"d3"}
        assert source.candidates(QUERY, None, 8, where={"number": 2}) == []

    def test_other_stores_get_one_mapping(self) -> None:
        store = Numbered([(made()[0], 0.5)])
        source = LangChainCandidates(store, {"filter": {"lang": "en"}, "probes": 3})
        source.candidates(QUERY, None, 5, where={"odd": False})
        assert store.asked == [{"k": 5, "probes": 3, "filter": {"lang": "en", "odd": False}}]

    @pytest.mark.parametrize(
        ("fixed", "where", "message"),
        [
            ({"lang": "en"}, {"lang": "de"}, "filters 'lang' by 'en' already, where asks for 'de'"),
            (len, {"lang": "de"}, "cannot be joined with where"),
            (None, "lang=en", "where must map names of metadata to values, got str"),
        ],
    )
    def test_filters_that_cannot_be_joined_are_refused(self, fixed: Any, where: Any, message: str) -> None:
        store = Numbered([(made()[0], 0.5)])
        with pytest.raises(InputError, match=message):
            LangChainCandidates(store, {"filter": fixed}).candidates(QUERY, None, 5, where=where)
        assert store.asked == []

    def test_a_document_twice_and_documents_without_ids(self) -> None:
        twice = [(Document("The fee.", id="a"), 0.9), (Document("The fee.", id="a"), 0.8)]
        nameless = [(Document("A saw."), 0.7), (Document("A drill."), 0.6)]
        source = LangChainCandidates(Numbered(twice + nameless))
        hits = source.candidates(QUERY, None, 8)
        assert len({hit.passage.id for hit in hits}) == 4
        assert hits[0].passage.id == "a"
        result = Engine(source, load_reranker("late-interaction")).search("What is the fee?", k=4)
        assert result.scored == 3  # the same text is read once
        assert [hit.passage.text for hit in result.hits[:2]] == ["The fee."] * 2

    def test_places_become_the_passages(self) -> None:
        document = Document("A saw.", metadata={"source": "tools.txt", "start_index": 40}, id="x")
        [hit] = LangChainCandidates(Numbered([(document, 1.0)])).candidates(QUERY, None, 1)
        assert (hit.passage.source, hit.passage.start, hit.passage.end) == ("tools.txt", 40, 46)
        assert document.metadata == {"source": "tools.txt", "start_index": 40}
        odd = Document("A saw.", metadata={"source": 5, "start_index": "40"}, id="x")
        [hit] = LangChainCandidates(Numbered([(odd, 1.0)])).candidates(QUERY, None, 1)
        assert (hit.passage.source, hit.passage.start) == ("x", 0)

    def test_scores_are_kept_and_a_deadline_may_be_given(self, chroma: Chroma, tmp_path: Path) -> None:
        cache = ScoreCache(tmp_path / "scores.sqlite")
        engine = Engine(LangChainCandidates(chroma), load_reranker(), 8, cache=cache)
        first = engine.search(QUERY, deadline_ms=60_000)
        again = engine.search(QUERY)
        assert (first.cached, again.cached) == (0, 8)
        assert [hit.score for hit in again.hits] == [hit.score for hit in first.hits]

    @pytest.mark.parametrize("source", [[Document("x")], "chroma", None, MiniLMEmbedder])
    def test_a_wrong_source_is_refused(self, source: Any) -> None:
        with pytest.raises(InputError, match="candidates come from a vector store or retriever, got"):
            LangChainCandidates(source)

    def test_bad_queries_and_ways_are_refused(self, in_memory: InMemoryVectorStore) -> None:
        source = LangChainCandidates(in_memory)
        for query in ("", None):
            with pytest.raises(QueryError, match="query"):
                Engine(source).search(query)  # type: ignore[arg-type]
            with pytest.raises(QueryError, match="query"):
                source.candidates(query, None, 3)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="searches its own way, not hybrid"):
            Engine(source, stage1="hybrid").search(QUERY)
        with pytest.raises(InputError, match="k must be at least 1"):
            source.candidates(QUERY, None, 0)


class TestPage:
    def test_each_line_of_code_runs(
        self,
        embeddings: MiniLMEmbeddings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Chroma.from_documents(made(), embeddings, persist_directory="db")
        page = (Path(__file__).parent.parent / "docs" / "langchain.md").read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        names: dict[str, Any] = {}
        shown = []
        for block in blocks:
            exec(block, names)
            shown.append(capsys.readouterr().out)
        first, compressor, cross_encoder, ours, engine = shown
        assert first.count("\n") > 6
        assert "Re-ranking changed" in first
        assert compressor.count("\n") == 3
        assert len(json.loads(cross_encoder)) == 2
        assert ours.splitlines()[0].startswith("[(Document(id='fee'")
        assert ours.splitlines()[1].startswith("[Document(id='book'")
        assert names["ours"].get_by_ids(["fee", "book"]) == [
            Document("The annual fee is forty.", metadata={"lang": "en"}, id="fee")
        ]
        assert [line.split()[0] for line in engine.splitlines()[3:]] == ["minilm-l6", "late-interaction"]


class TestOlderLangChain:
    def test_without_cores_class_of_cross_encoders_all_names_work(self) -> None:
        code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "langchain_core.cross_encoders":  # as before langchain-core 1.2.19
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from secondpass.ext.langchain import *
print(SecondpassCrossEncoder().score([("a fee", "The fee is forty."), ("a fee", "A boat.")]))
"""
        fee, boat = json.loads(_run(sys.executable, "-c", code))
        assert fee > boat


class TestRerankedRetrieverOverOurs:
    def test_batches(self, ours: SecondpassVectorStore, best: list[str]) -> None:
        retriever = RerankedRetriever(vectorstore=ours, k_candidates=8, k_final=2)
        queries = [QUERY, "When does the board meet?", "What does membership cost?"]
        alone = [retriever.invoke(query) for query in queries]
        assert [each.id for each in alone[0]] == best[:2]
        assert [found[0].id for found in alone[1:]] == ["d7", "d5"]
        assert retriever.batch(queries) == alone
        assert retriever.batch(queries, config={"max_concurrency": 1}) == alone
        assert asyncio.run(retriever.abatch(queries)) == alone
        assert retriever.batch([]) == []

    def test_one_bad_query_of_a_batch(self, ours: SecondpassVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=ours, k_candidates=8, k_final=1)
        with pytest.raises(QueryError, match="the query is empty"):
            retriever.batch([QUERY, ""])
        good, bad = asyncio.run(retriever.abatch([QUERY, ""], return_exceptions=True))
        assert (len(good), type(bad)) == (1, QueryError)

    def test_numbers_for_one_call(self, ours: SecondpassVectorStore, best: list[str]) -> None:
        retriever = RerankedRetriever(vectorstore=ours, k_candidates=8)
        assert [each.id for each in retriever.invoke(QUERY, k_final=1)] == best[:1]
        assert [len(found) for found in retriever.batch([QUERY] * 2, k_final=5)] == [5, 5]
        with pytest.raises(InputError, match="raise k_candidates"):
            retriever.invoke(QUERY, k_final=4, k_candidates=3)
        assert len(retriever.invoke(QUERY)) == 3


def _is_odd(document: Document) -> bool:
    return bool(document.metadata["odd"])


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout
