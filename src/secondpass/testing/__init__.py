"""For your own tests: an embedder without weights, and the suites that our own parts pass.

    from secondpass.testing import VectorStoreContract

    class TestMyStore(VectorStoreContract):
        def make_store(self, folder, dimension):
            return MyStore(folder, dimension)

The suites are plain classes with plain asserts; pytest finds and runs them.
"""

from __future__ import annotations

from .embedder import EmbedderContract
from .hashing import HashEmbedder
from .reranker import RerankerContract
from .vector_store import VectorStoreContract

__all__ = ["EmbedderContract", "HashEmbedder", "RerankerContract", "VectorStoreContract"]
