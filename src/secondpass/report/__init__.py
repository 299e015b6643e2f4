"""Reports as one self-contained HTML file each: what changed, how good it was, whether it is worth it."""

from __future__ import annotations

from .compare import compare_page
from .page import Stamp
from .sentences import Highlights, best_sentences

__all__ = ["Highlights", "Stamp", "best_sentences", "compare_page"]
