"""The LangChain adapter, over real stores: in memory, Chroma on disk, and one that gives no numbers."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from pydantic import ValidationError

import tiny_models
from secondpass.errors import InputError, ModelInvalidError, ModelNotFoundError, QueryError
from secondpass.ext.langchain import (
    MiniLMEmbeddings,
    RerankedRetriever,
    RetrievalComparison,
    compare_retrieval,
)
from secondpass.reranking import load_reranker

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


class WordOverlap:
    """A re-ranker that can be checked by hand: how many of the query's words a passage has."""

    name = "word-overlap"

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self.threads: list[int] = []

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.seen.append((query, list(passages)))
        self.threads.append(threading.get_ident())
        wanted = _words(query)
        return np.array([len(wanted & _words(text)) for text in passages], dtype=np.float32)


class ListStore(VectorStore):
    """A store that gives documents in the order they were added, and no numbers, as some do."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents
        self.asked: list[dict[str, Any]] = []

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        self.asked.append({"query": query, "k": k, **kwargs})
        return self.documents[:k]

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Any, **kwargs: Any) -> ListStore:  # type: ignore[override]
        return cls([Document(page_content=text) for text in texts])


class AsyncStore(ListStore):
    """A store that can only be searched in an event loop, and whose numbers are numpy's, as FAISS's are."""

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        raise RuntimeError("this store has no synchronous search")

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        await asyncio.sleep(0)
        distances = np.linspace(0.5, 1.5, k, dtype=np.float32)
        return list(zip(self.documents[:k], distances, strict=False))


def _words(text: str) -> set[str]:
    return {word.strip(".,?").lower() for word in text.split()}


@pytest.fixture(scope="module")
def embeddings() -> MiniLMEmbeddings:
    return MiniLMEmbeddings()


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(page_content=text, metadata={"number": number, "odd": number % 2 == 1}, id=f"d{number}")
        for number, text in enumerate(TEXTS)
    ]


@pytest.fixture
def in_memory(embeddings: MiniLMEmbeddings, documents: list[Document]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(embeddings)
    store.add_documents(documents)
    return store


@pytest.fixture
def chroma(embeddings: MiniLMEmbeddings, documents: list[Document], tmp_path: Path) -> Chroma:
    return Chroma.from_documents(documents, embeddings, persist_directory=str(tmp_path / "db"))


@pytest.fixture
def small_ranker(tmp_path: Path) -> Path:
    return tiny_models.checkpoint(tmp_path / "small-ranker", "bert", positions=256)


class TestEmbeddings:
    def test_vectors_have_unit_length_and_384_numbers(self, embeddings: MiniLMEmbeddings) -> None:
        vectors = embeddings.embed_documents(TEXTS[:3])
        assert [len(vector) for vector in vectors] == [384] * 3
        assert all(type(number) is float for number in vectors[0])
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)

    def test_a_query_is_nearest_to_what_it_asks_for(self, embeddings: MiniLMEmbeddings) -> None:
        query = np.array(embeddings.embed_query("What does membership cost each year?"))
        cosines = np.array(embeddings.embed_documents(TEXTS)) @ query
        assert TEXTS[int(cosines.argmax())].startswith("The annual fee")

    def test_no_text_gives_no_vector(self, embeddings: MiniLMEmbeddings) -> None:
        assert embeddings.embed_documents([]) == []

    def test_async_gives_the_same(self, embeddings: MiniLMEmbeddings) -> None:
        assert asyncio.run(embeddings.aembed_query(QUERY)) == embeddings.embed_query(QUERY)

    def test_another_embedder_of_ours_may_be_given(self) -> None:
        class Letters:
            name = "letters"
            dimension = 2

            def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
                return self.embed_passages(texts)

            def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
                angles = np.array([text.count("e") for text in texts], dtype=np.float32)
                return np.stack([np.cos(angles), np.sin(angles)], axis=1)

        given = MiniLMEmbeddings(Letters())
        assert given.embed_query("see") == pytest.approx([math.cos(2), math.sin(2)])
        assert given.embed_documents(["x", "e"])[1] == pytest.approx([math.cos(1), math.sin(1)])


class TestOrder:
    def test_best_first_with_scores_and_places(self, documents: list[Document]) -> None:
        retriever = RerankedRetriever(
            vectorstore=ListStore(documents), reranker_model=WordOverlap(), k_candidates=8, k_final=3
        )
        hits = retriever.retrieve("the injuries involved an angle grinder")
        assert [hit.id for hit in hits] == ["d1", "d4", "d0"]  # d2 also has one word, and stood after d0
        assert [hit.metadata["relevance_score"] for hit in hits] == [6.0, 2.0, 1.0]
        assert [hit.metadata["rerank_rank"] for hit in hits] == [1, 2, 3]
        assert [hit.metadata["candidate_rank"] for hit in hits] == [2, 5, 1]
        assert {hit.metadata["reranker"] for hit in hits} == {"word-overlap"}

    def test_only_the_candidates_are_read(self, documents: list[Document]) -> None:
        reranker = WordOverlap()
        RerankedRetriever(
            vectorstore=ListStore(documents), reranker_model=reranker, k_candidates=4, k_final=1
        ).retrieve("the fee")
        assert reranker.seen == [("the fee", TEXTS[:4])]

    def test_a_small_store_gives_what_it_has(self, documents: list[Document]) -> None:
        store = ListStore(documents[:2])
        hits = RerankedRetriever(vectorstore=store, reranker_model=WordOverlap()).retrieve("injuries")
        assert [hit.id for hit in hits] == ["d1", "d0"]

    def test_other_metadata_id_and_text_stay(self, in_memory: InMemoryVectorStore) -> None:
        [hit] = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap(), k_final=1).retrieve(
            "angle grinder or a circular saw"
        )
        assert (hit.id, hit.page_content) == ("d1", TEXTS[1])
        assert (hit.metadata["number"], hit.metadata["odd"]) == (1, True)

    def test_the_stores_documents_are_never_touched(self, documents: list[Document]) -> None:
        before = copy.deepcopy(documents)
        hits = RerankedRetriever(vectorstore=ListStore(documents), reranker_model=WordOverlap()).retrieve(
            "fee"
        )
        hits[0].metadata["mine"] = True
        assert documents == before

    def test_a_store_in_memory_keeps_its_metadata(self, in_memory: InMemoryVectorStore) -> None:
        before = copy.deepcopy(in_memory.store)
        RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap()).retrieve("fee")
        assert in_memory.store == before

    def test_search_kwargs_reach_the_store(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(
            vectorstore=in_memory,
            reranker_model=WordOverlap(),
            k_final=8,
            search_kwargs={"filter": lambda document: document.metadata["odd"]},
        )
        assert {hit.id for hit in retriever.retrieve("tools")} == {"d1", "d3", "d5", "d7"}

    def test_k_candidates_decides_over_search_kwargs(self, documents: list[Document]) -> None:
        store = ListStore(documents)
        RerankedRetriever(
            vectorstore=store,
            reranker_model=WordOverlap(),
            k_candidates=5,
            search_kwargs={"k": 2, "lang": "en"},
        ).retrieve("fee")
        assert store.asked == [{"query": "fee", "k": 5, "lang": "en"}]


class TestCandidateValue:
    def test_in_memory_it_is_the_cosine(
        self, in_memory: InMemoryVectorStore, embeddings: MiniLMEmbeddings
    ) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap(), k_final=8)
        query = np.array(embeddings.embed_query(QUERY))
        for hit in retriever.retrieve(QUERY):
            cosine = float(np.array(embeddings.embed_documents([hit.page_content])[0]) @ query)
            assert hit.metadata["candidate_value"] == pytest.approx(cosine, abs=1e-4)

    def test_chroma_gives_a_distance_which_rises_with_the_rank(self, chroma: Chroma) -> None:
        hits = RerankedRetriever(vectorstore=chroma, reranker_model=WordOverlap(), k_final=8).retrieve(QUERY)
        by_candidate_rank = sorted(hits, key=lambda hit: hit.metadata["candidate_rank"])
        values = [hit.metadata["candidate_value"] for hit in by_candidate_rank]
        assert values == sorted(values)
        assert values[0] < values[-1]
        raw = {document.id: value for document, value in chroma.similarity_search_with_score(QUERY, k=8)}
        assert {hit.id: hit.metadata["candidate_value"] for hit in hits} == pytest.approx(raw)

    def test_a_store_without_numbers_gives_none_at_all(self, documents: list[Document]) -> None:
        [hit] = RerankedRetriever(
            vectorstore=ListStore(documents), reranker_model=WordOverlap(), k_final=1
        ).retrieve("fee")
        assert "candidate_value" not in hit.metadata
        assert hit.metadata["candidate_rank"] == 6

    def test_metadata_is_plain_and_can_be_written_as_json(self, in_memory: InMemoryVectorStore) -> None:
        hits = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction").retrieve(QUERY)
        assert [json.loads(json.dumps(hit.metadata)) for hit in hits] == [hit.metadata for hit in hits]


class TestRunnable:
    def test_it_is_a_retriever_and_goes_into_a_chain(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap(), k_final=1)
        assert isinstance(retriever, BaseRetriever)
        chain = retriever | RunnableLambda(lambda hits: [hit.id for hit in hits])
        assert chain.invoke("annual fee") == ["d5"]

    def test_invoke_ainvoke_batch_and_retrieve_agree(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction")
        expected = retriever.retrieve(QUERY)
        assert len(expected) == 3
        assert retriever.invoke(QUERY) == expected
        assert asyncio.run(retriever.ainvoke(QUERY)) == expected
        assert asyncio.run(retriever.aretrieve(QUERY)) == expected
        assert retriever.batch([QUERY, QUERY]) == [expected, expected]
        assert asyncio.run(retriever.abatch([QUERY])) == [expected]

    def test_async_works_on_a_store_without_numbers(self, documents: list[Document]) -> None:
        retriever = RerankedRetriever(vectorstore=ListStore(documents), reranker_model=WordOverlap())
        assert asyncio.run(retriever.ainvoke("annual fee")) == retriever.invoke("annual fee")

    def test_a_store_that_is_only_asynchronous_works(self, documents: list[Document]) -> None:
        retriever = RerankedRetriever(
            vectorstore=AsyncStore(documents), reranker_model=WordOverlap(), k_candidates=5, k_final=1
        )
        [hit] = asyncio.run(retriever.ainvoke("injuries book"))
        assert hit.id == "d4"
        assert json.loads(json.dumps(hit.metadata))["candidate_value"] == 1.5

    def test_async_leaves_the_event_loop_free(self, in_memory: InMemoryVectorStore) -> None:
        reranker = WordOverlap()
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=reranker)
        asyncio.run(retriever.ainvoke(QUERY))
        assert reranker.threads != [threading.get_ident()]
        assert len(reranker.threads) == 1

    def test_callbacks_see_the_start_and_the_end(self, in_memory: InMemoryVectorStore) -> None:
        class Recorder(BaseCallbackHandler):
            def __init__(self) -> None:
                self.events: list[Any] = []

            def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
                self.events.append(query)

            def on_retriever_end(self, documents: Sequence[Document], **kwargs: Any) -> None:
                self.events.append([document.id for document in documents])

        recorder = Recorder()
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap(), k_final=1)
        retriever.invoke("annual fee", config={"callbacks": [recorder]})
        assert recorder.events == ["annual fee", ["d5"]]

    def test_retrieve_is_traced_like_invoke(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap(), k_final=1)
        with collect_runs() as collected:
            retriever.retrieve("annual fee")
        [traced] = collected.traced_runs
        assert (traced.run_type, traced.inputs) == ("retriever", {"query": "annual fee"})


class TestRerankerChoice:
    @pytest.mark.parametrize("choice", [None, "auto"])
    def test_the_default_is_auto(self, in_memory: InMemoryVectorStore, choice: str | None) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=choice)
        assert retriever.reranker.name == load_reranker("auto").name

    @pytest.mark.parametrize("name", ["late-interaction", "minilm-l6"])
    def test_scores_are_the_rerankers_own(self, in_memory: InMemoryVectorStore, name: str) -> None:
        hits = RerankedRetriever(vectorstore=in_memory, reranker_model=name, k_final=8).retrieve(QUERY)
        own = dict(zip(TEXTS, load_reranker(name).score(QUERY, TEXTS).tolist(), strict=True))
        scores = {hit.page_content: hit.metadata["relevance_score"] for hit in hits}
        assert scores == pytest.approx(own, abs=1e-4)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert {hit.metadata["reranker"] for hit in hits} == {name}

    def test_the_answer_comes_first(self, in_memory: InMemoryVectorStore) -> None:
        assert RerankedRetriever(vectorstore=in_memory).retrieve(QUERY)[0].id == "d1"

    def test_a_model_that_is_not_here_is_named(self, in_memory: InMemoryVectorStore) -> None:
        with pytest.raises(ModelNotFoundError, match="no-such-model"):
            RerankedRetriever(vectorstore=in_memory, reranker_model="no-such-model")

    def test_assigning_another_reranker_takes_effect(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction")
        retriever.reranker_model = WordOverlap()
        assert retriever.retrieve("fee")[0].metadata["reranker"] == "word-overlap"
        assert (
            retriever.model_copy(update={"reranker_model": "late-interaction"}).reranker.name
            == "late-interaction"
        )

    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (lambda scores: scores[1:], "'word-overlap' gave 7 scores for 8 passages"),
            (lambda scores: [*scores[1:], math.nan], "'word-overlap' gave the score nan to passage number 8"),
        ],
        ids=["too few", "NaN"],
    )
    def test_scores_that_cannot_be_ranked_are_refused(
        self, in_memory: InMemoryVectorStore, spoil: Any, says: str
    ) -> None:
        class Spoiled(WordOverlap):
            def score(self, query: str, passages: Sequence[str]) -> Any:
                return spoil(super().score(query, passages))

        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=Spoiled())
        with pytest.raises(ModelInvalidError, match=says):
            retriever.retrieve(QUERY)


class TestModelFolder:
    def test_a_folder_of_safetensors_gives_transformers_logits(
        self, in_memory: InMemoryVectorStore, small_ranker: Path
    ) -> None:
        logits = tiny_models.reference(small_ranker, QUERY, TEXTS).tolist()
        expected = dict(zip(TEXTS, logits, strict=True))
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=small_ranker, k_final=8)
        hits = retriever.retrieve(QUERY)
        shown = {hit.page_content: hit.metadata["relevance_score"] for hit in hits}
        assert shown == pytest.approx(expected, abs=1e-4)
        assert len(set(shown.values())) == 8
        assert [hit.page_content for hit in hits] == sorted(TEXTS, key=lambda text: -expected[text])
        by_name = RerankedRetriever(vectorstore=in_memory, reranker_model=str(small_ranker), k_final=8)
        assert by_name.retrieve(QUERY) == hits

    def test_a_damaged_folder_is_refused_at_construction(
        self, in_memory: InMemoryVectorStore, small_ranker: Path
    ) -> None:
        (small_ranker / "config.json").unlink()
        with pytest.raises(ModelInvalidError, match=r"config\.json"):
            RerankedRetriever(vectorstore=in_memory, reranker_model=small_ranker)


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"k_final": 0}, "k_final must be at least 1, got 0"),
            ({"k_final": -3}, "k_final must be at least 1, got -3"),
            ({"k_candidates": 0}, "k_candidates must be at least 1, got 0"),
            ({"k_final": 21}, r"k_final \(21\) is more than k_candidates \(20\)"),
            ({"reranker_model": 7}, "reranker_model must be a name, a folder, or an object .* not int"),
            ({"reranker_model": "none"}, r"'none' is not a re-ranker; .*as_retriever\(\)"),
            ({"vectorstore": "a string"}, "instance of VectorStore"),
            ({"search_kwargs": "k=3"}, "valid dictionary"),
        ],
    )
    def test_wrong_settings_are_refused_at_the_door(
        self, in_memory: InMemoryVectorStore, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            RerankedRetriever(**{"vectorstore": in_memory, "reranker_model": WordOverlap(), **settings})

    def test_settings_changed_later_are_checked_when_used(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap())
        retriever.k_final = 30
        with pytest.raises(InputError, match="raise k_candidates"):
            retriever.retrieve("fee")
        with pytest.raises(InputError, match="raise k_candidates"):
            asyncio.run(retriever.ainvoke("fee"))

    @pytest.mark.parametrize("query", ["", "  \n\t ", None, 5])
    def test_a_query_must_be_text(self, in_memory: InMemoryVectorStore, query: Any) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap())
        with pytest.raises(QueryError, match="query"):
            retriever.retrieve(query)
        with pytest.raises(QueryError, match="query"):
            asyncio.run(retriever.ainvoke(query))
        with pytest.raises(QueryError, match="query"):
            compare_retrieval(retriever, query)

    @pytest.mark.parametrize("query", ["fee \x00 card", "fee \ud800 card"])
    def test_odd_characters_are_handled(self, in_memory: InMemoryVectorStore, query: str) -> None:
        hits = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction").retrieve(query)
        assert hits[0].id == "d5"

    def test_an_empty_store_gives_nothing_and_asks_nobody(self, embeddings: MiniLMEmbeddings) -> None:
        reranker = WordOverlap()
        retriever = RerankedRetriever(vectorstore=InMemoryVectorStore(embeddings), reranker_model=reranker)
        assert retriever.retrieve(QUERY) == []
        assert asyncio.run(retriever.ainvoke(QUERY)) == []
        assert reranker.seen == []


class TestCompare:
    def test_both_lists_and_the_moves(self, documents: list[Document]) -> None:
        comparison = compare_retrieval(
            ListStore(documents),
            "an injuries circular saw grinder angle fee annual tools board",
            reranker_model=WordOverlap(),
            k_candidates=8,
            k_final=3,
        )
        assert isinstance(comparison, RetrievalComparison)
        assert [document.id for document in comparison.before] == ["d0", "d1", "d2"]
        assert [document.id for document in comparison.after] == ["d1", "d4", "d5"]
        assert comparison.moves == ("up 1", "new", "new")
        assert (comparison.changed, comparison.candidates, comparison.reranker) == (2, 8, "word-overlap")

    def test_down_and_same(self, documents: list[Document]) -> None:
        comparison = compare_retrieval(ListStore(documents[:3]), "nine hundred", reranker_model=WordOverlap())
        assert [document.id for document in comparison.after] == ["d2", "d1", "d0"]
        assert comparison.moves == ("up 2", "same", "down 2")
        assert comparison.changed == 0
        assert str(comparison).endswith("Re-ranking changed 0 of 3: the same 3 in another order.")

    def test_it_reads_as_two_columns(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction", k_final=2)
        comparison = compare_retrieval(retriever, QUERY)
        table = str(comparison)
        lines = table.splitlines()
        assert lines[0] == f"Query: {QUERY}"
        assert lines[1] == "Stage 2: late-interaction, read 8 candidates"
        assert lines[-1].startswith(f"Re-ranking changed {comparison.changed} of 2")
        assert max(map(len, lines)) <= 106
        for place in (1, 2):
            [head] = [line for line in lines if line.startswith(f"{place} ")]
            left, right = head.split(" | ")
            assert f"value {comparison.before[place - 1].metadata['candidate_value']:.3f}" in left
            assert f"score {comparison.after[place - 1].metadata['relevance_score']:.3f}" in right
            assert comparison.moves[place - 1] in right

    def test_it_prints_nothing(
        self, in_memory: InMemoryVectorStore, capfd: pytest.CaptureFixture[str]
    ) -> None:
        str(compare_retrieval(in_memory, QUERY, reranker_model=WordOverlap()))
        assert capfd.readouterr() == ("", "")

    def test_its_after_is_what_the_retriever_returns(self, in_memory: InMemoryVectorStore) -> None:
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model="late-interaction", k_final=4)
        assert list(compare_retrieval(retriever, QUERY).after) == retriever.retrieve(QUERY)
        assert list(compare_retrieval(retriever, QUERY, k_final=2).after) == retriever.retrieve(QUERY)[:2]
        assert retriever.k_final == 4

    def test_its_before_is_what_the_store_returns(self, chroma: Chroma) -> None:
        comparison = compare_retrieval(chroma, QUERY, reranker_model=WordOverlap(), k_candidates=6)
        assert [document.id for document in comparison.before] == [
            document.id for document in chroma.similarity_search(QUERY, k=3)
        ]

    def test_an_empty_store_says_so(self, embeddings: MiniLMEmbeddings) -> None:
        comparison = compare_retrieval(InMemoryVectorStore(embeddings), QUERY, reranker_model=WordOverlap())
        assert (comparison.before, comparison.after, comparison.changed) == ((), (), 0)
        assert str(comparison).endswith("The store gave no document.")

    def test_bad_input_is_refused(self, in_memory: InMemoryVectorStore) -> None:
        with pytest.raises(InputError, match="not list"):
            compare_retrieval([Document(page_content="x")], QUERY)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="k_final must be at least 1"):
            compare_retrieval(in_memory, QUERY, reranker_model=WordOverlap(), k_final=0)
        retriever = RerankedRetriever(vectorstore=in_memory, reranker_model=WordOverlap())
        with pytest.raises(InputError, match="more than k_candidates"):
            compare_retrieval(retriever, QUERY, k_candidates=2)


class TestProcesses:
    def test_a_chroma_store_of_another_process_is_reranked_as_it_is(self, tmp_path: Path) -> None:
        folder = tmp_path / "db"
        write = """
import json, sys
from langchain_chroma import Chroma
from langchain_core.documents import Document
from secondpass.ext.langchain import MiniLMEmbeddings
texts = json.loads(sys.argv[2])
documents = [Document(page_content=text, metadata={"number": n}) for n, text in enumerate(texts)]
Chroma.from_documents(documents, MiniLMEmbeddings(), persist_directory=sys.argv[1])
"""
        read = """
import json, sys
from langchain_chroma import Chroma
from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever
store = Chroma(persist_directory=sys.argv[1], embedding_function=MiniLMEmbeddings())
hits = RerankedRetriever(vectorstore=store, reranker_model="late-interaction").retrieve(sys.argv[2])
print(json.dumps([[hit.page_content, hit.metadata] for hit in hits]))
"""
        _python(write, str(folder), json.dumps(TEXTS))
        hits = json.loads(_python(read, str(folder), QUERY).stdout)
        assert len(hits) == 3
        assert hits[0][0] == TEXTS[1]
        own = load_reranker("late-interaction").score(QUERY, TEXTS)
        for text, metadata in hits:
            assert metadata["number"] == TEXTS.index(text)
            assert metadata["relevance_score"] == pytest.approx(float(own[TEXTS.index(text)]), abs=1e-4)

    @pytest.mark.parametrize("download", [False, True])
    def test_the_network_is_asked_only_on_request(self, tmp_path: Path, download: bool) -> None:
        code = """
import sys
asked = []
sys.addaudithook(lambda event, arguments: asked.append(arguments[1:]) if event == "socket.connect" else None)
from langchain_core.vectorstores import InMemoryVectorStore
from secondpass.errors import ModelError
from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever
try:
    RerankedRetriever(
        vectorstore=InMemoryVectorStore(MiniLMEmbeddings()),
        reranker_model="cross-encoder/ms-marco-MiniLM-L-6-v2",
        download=sys.argv[1] == "True",
    )
except ModelError as error:
    print(bool(asked), error)
"""
        absent = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        environment = os.environ | absent | {"SECONDPASS_MODELS": str(tmp_path / "models")}
        output = _python(code, str(download), env=environment).stdout
        assert output.startswith(f"{download} ")
        assert "ms-marco-MiniLM-L-6-v2" in output

    def test_without_langchain_core_the_pip_line_is_named(self) -> None:
        code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "langchain_core":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from secondpass.errors import MissingExtraError
try:
    import secondpass.ext.langchain
except MissingExtraError as error:
    print(error, isinstance(error, ImportError), error.extra)
"""
        output = _python(code).stdout
        assert "needs the package 'langchain-core'" in output
        assert "pip install 'secondpass[langchain]'" in output
        assert output.endswith("True langchain\n")

    def test_the_core_does_not_load_langchain(self) -> None:
        code = "import sys, secondpass.ext, secondpass.engine; print(sorted(sys.modules))"
        loaded = _python(code).stdout
        assert "'secondpass.engine'" in loaded
        assert "langchain" not in loaded


def _python(
    code: str, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
    )
