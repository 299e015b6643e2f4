"""Two-stage retrieval over your own documents, on your own machine.

    from secondpass import Engine, Index, load_reranker

    index = Index.open("my_index")
    index.add(["notes.txt"])
    result = Engine(index, load_reranker("auto")).search("What are the key benefits?", k=3)

Names are imported when first used, so that ``import secondpass`` costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedding import MiniLMEmbedder
    from .engine import Candidate, Engine, rerank
    from .errors import SecondpassError
    from .index import Index
    from .loading import load
    from .reranking import CrossEncoder, LateInteraction, load_reranker
    from .splitting import RecursiveSplitter
    from .types import Document, Hit, Passage, SearchResult

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "CrossEncoder",
    "Document",
    "Engine",
    "Hit",
    "Index",
    "LateInteraction",
    "MiniLMEmbedder",
    "Passage",
    "RecursiveSplitter",
    "SearchResult",
    "SecondpassError",
    "load",
    "load_reranker",
    "rerank",
]

_HOME = {
    "Candidate": "engine",
    "CrossEncoder": "reranking",
    "Document": "types",
    "Engine": "engine",
    "Hit": "types",
    "Index": "index",
    "LateInteraction": "reranking",
    "MiniLMEmbedder": "embedding",
    "Passage": "types",
    "RecursiveSplitter": "splitting",
    "SearchResult": "types",
    "SecondpassError": "errors",
    "load": "loading",
    "load_reranker": "reranking",
    "rerank": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
