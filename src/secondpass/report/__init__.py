"""Reports as one self-contained HTML file each: what changed, how good it was, whether it is worth it."""

from __future__ import annotations

from .compare import compare_page
from .drill import Sources
from .evaluation import evaluation_page, sources_for
from .page import Stamp
from .sentences import Highlights, best_sentences
from .verdict import verdict_page

__all__ = [
    "Highlights",
    "Sources",
    "Stamp",
    "best_sentences",
    "compare_page",
    "evaluation_page",
    "sources_for",
    "verdict_page",
]
