"""Documents, passages and vectors on disk: one SQLite file, safe against kills, searched three ways.

``core`` is the class; ``schema`` the tables; ``writer`` one transaction, ``adding`` one run of them;
``searching``, ``lexical``, ``filters`` and ``reader`` the way back; ``trouble`` turns what SQLite raises into
errors of ours.
"""

from __future__ import annotations

from .agreement import Splitter
from .core import Index
from .values import AddReport, DocumentSummary, IndexStatus, Progress

__all__ = ["AddReport", "DocumentSummary", "Index", "IndexStatus", "Progress", "Splitter"]
