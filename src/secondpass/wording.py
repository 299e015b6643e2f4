"""Numbers, places and texts as people read them; shared by the terminal and the HTML reports."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .types import Passage

__all__ = [
    "STAGE1_SCORES",
    "UNREAD",
    "count",
    "document",
    "milliseconds",
    "percent",
    "place",
    "shown_path",
    "without_controls",
]

STAGE1_SCORES = {"dense": "cosine", "lexical": "BM25", "hybrid": "RRF"}
"""What stage 1's score is, by its way of searching."""

UNREAD = "not read: the deadline came first"
"""Said of a candidate in place of stage 2's score."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def without_controls(text: str) -> str:
    """Return the text with nothing left that would act on a terminal; newlines and tabs stay."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n"))


def shown_path(path: str, base: Path | None = None) -> str:
    """Return a path as a person reads it best: from the working directory, else from home, else whole."""
    here = Path.cwd() if base is None else base
    for start, prefix in ((here, ""), (Path.home(), "~/")):
        if path.startswith(f"{start}{os.sep}"):
            return _on_one_line(prefix + path[len(str(start)) + 1 :])
    return _on_one_line(path)


def _on_one_line(path: str) -> str:
    return without_controls(path).replace("\n", "\ufffd").replace("\t", "\ufffd")


def place(passage: Passage, base: Path | None = None) -> str:
    """Return where a passage stands: ``notes.txt:12-18``, ``faq.csv#12:1``; with the page if there is one."""
    lines = str(passage.line_start)
    if passage.line_end != passage.line_start:
        lines += f"-{passage.line_end}"
    page = "" if passage.page is None else f" (page {passage.page})"
    return f"{document(passage.source, passage.document_id, base)}:{lines}{page}"


def document(source: str, document_id: str, base: Path | None = None) -> str:
    """Return what a document is called: its path, with the row where a file holds many, ``faq.csv#12``."""
    row = document_id[len(source) :] if document_id.startswith(f"{source}#") else ""
    return f"{shown_path(source or document_id, base)}{_on_one_line(row)}"


def count(number: int, word: str) -> str:
    """Return ``1 passage``, ``2 queries``, ``1,204 passages``."""
    several = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else several}"


def milliseconds(value: float) -> str:
    """Return a time with the digits that mean something: ``0.4 ms``, ``12 ms``."""
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def percent(share: float) -> str:
    """Return a share in percent, never rounded to a certainty it is not."""
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "<0.1%" if share < 0.5 else ">99.9%"
    return f"{share:.1%}"
