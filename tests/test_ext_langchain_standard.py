"""LangChain's own standard suites over our embeddings, vector store and retriever."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever, SecondpassVectorStore
from secondpass.ext.langchain.documents import OnePassage
from secondpass.ext.langchain.embeddings import as_embedder
from secondpass.index import Index

TEXTS = ["The annual fee is forty.", "Injuries are written into the red book.", "Tools are in the cellar."]

# The suites are written for asyncio_mode=auto; a mark on each asynchronous test says the same.
for suite in (EmbeddingsIntegrationTests, RetrieversIntegrationTests, VectorStoreIntegrationTests):
    for _name, asynchronous in inspect.getmembers(suite, inspect.iscoroutinefunction):
        pytest.mark.asyncio(asynchronous)


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MiniLMEmbeddings


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MiniLMEmbeddings


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:  # type: ignore[override]
        return SecondpassVectorStore(tmp_path / "index", self.get_embeddings())


class TestVectorStoreWithChroma(VectorStoreIntegrationTests):
    """The same over an index that keeps its vectors in Chroma."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        embedder = as_embedder(self.get_embeddings())
        with Index.open(
            tmp_path / "index", embedder=embedder, store="chroma", splitter=OnePassage()
        ) as index:
            yield SecondpassVectorStore(index)


@pytest.fixture(scope="module")
def filled() -> SecondpassVectorStore:
    return SecondpassVectorStore.from_texts(TEXTS)


class TestRetriever(RetrieversIntegrationTests):
    store: SecondpassVectorStore

    @pytest.fixture(autouse=True)
    def _filled(self, filled: SecondpassVectorStore) -> None:
        self.store = filled

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return RerankedRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "What does membership cost?"

    @property
    def num_results_arg_name(self) -> str:
        return "k_final"
