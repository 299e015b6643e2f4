"""Places as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondpass.types import Passage
from secondpass.wording import document, place


@pytest.mark.parametrize(
    ("document_id", "source", "shown"),
    [
        ("/docs/notes.txt", "/docs/notes.txt", "notes.txt:3-4"),
        ("/docs/faq.csv#12", "/docs/faq.csv", "faq.csv#12:3-4"),
        ("ticket#7", "", "ticket#7:3-4"),
        ("seven", "/docs/notes.txt", "notes.txt:3-4"),
    ],
)
def test_a_row_of_a_file_is_told_from_the_others(document_id: str, source: str, shown: str) -> None:
    passage = Passage("p", document_id, "text", 0, 4, line_start=3, line_end=4, source=source)
    assert place(passage, Path("/docs")) == shown
    assert document(source, document_id, Path("/docs")) == shown.removesuffix(":3-4")
