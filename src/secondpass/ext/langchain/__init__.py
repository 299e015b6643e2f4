"""LangChain: a second pass over any store, our index as a store, our models behind its interfaces.

    from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever, compare_retrieval

    store = Chroma(persist_directory="db", embedding_function=MiniLMEmbeddings())
    retriever = RerankedRetriever(vectorstore=store, k_candidates=20, k_final=3)
    documents = retriever.retrieve("What are the key benefits?")

Needs the extra ``langchain``; importing this package without langchain-core raises MissingExtraError.
"""

from __future__ import annotations

from ...errors import MissingExtraError

try:
    import langchain_core as _langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError("langchain-core", "langchain", "secondpass.ext.langchain") from error

from .candidates import LangChainCandidates
from .comparing import RetrievalComparison, compare_retrieval
from .compressor import CrossEncoderCompressor, SecondpassCrossEncoder
from .embeddings import MiniLMEmbeddings
from .retriever import RerankedRetriever
from .vectorstore import SecondpassVectorStore

__all__ = [
    "CrossEncoderCompressor",
    "LangChainCandidates",
    "MiniLMEmbeddings",
    "RerankedRetriever",
    "RetrievalComparison",
    "SecondpassCrossEncoder",
    "SecondpassVectorStore",
    "compare_retrieval",
]
