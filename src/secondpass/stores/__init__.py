"""Where vectors are kept and searched: one module for each kind of store, all with the contract of
``VectorStore``.
"""

from __future__ import annotations

from .chroma import ChromaStore
from .matrix import VectorCache
from .numpy_store import NumpyStore
from .sqlite_store import SqliteStore

__all__ = ["ChromaStore", "NumpyStore", "SqliteStore", "VectorCache"]
