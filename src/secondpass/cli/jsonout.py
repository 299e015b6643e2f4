"""The JSON of the command line: the shapes of ``shapes``, printed."""

from __future__ import annotations

import json
import sys

from ..shapes import (
    Shape,
    add_report,
    comparison,
    comparisons,
    hit,
    passage,
    search_result,
    status,
    summary,
)

__all__ = [
    "Shape",
    "add_report",
    "comparison",
    "comparisons",
    "emit",
    "hit",
    "passage",
    "search_result",
    "status",
    "summary",
]


def emit(value: Shape) -> None:
    """Print one JSON document; characters that stdout cannot carry are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)
