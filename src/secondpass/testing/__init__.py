"""For your own tests: an embedder without weights, and the suites our own stores, embedders and re-rankers pass."""

from __future__ import annotations

from .hashing import HashEmbedder

__all__ = ["HashEmbedder"]
