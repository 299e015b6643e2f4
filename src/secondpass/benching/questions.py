"""Questions to put to an index when nobody gave any: words in a row from its own documents."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..index import Index

__all__ = ["questions_from"]

WORDS = 9
"""As long as people's questions are."""
LONGEST = 200
_TRIES = 10


def questions_from(index: Index, count: int, seed: int = 0) -> list[str]:
    """Return at most ``count`` different stretches of some words from documents all over the index.

    The time a search takes hardly depends on what is asked, but on how long question and passages are. The
    same index and seed give the same questions.

    Raises:
        InputError: the index holds nothing that could be asked for.
    """
    generator = random.Random(seed)  # noqa: S311  a sample, no secret
    documents = [each.id for each in index.documents() if each.passages]
    picked = generator.choices(documents, k=_TRIES * count) if documents else []
    questions: dict[str, None] = {}
    texts: dict[str, list[str]] = {}
    for key in picked:
        if key not in texts:
            texts[key] = index.document(key).text.split()
        words = texts[key]
        start = generator.randrange(max(1, len(words) - WORDS + 1))
        asked = " ".join(words[start : start + WORDS])[:LONGEST].strip()
        if any(char.isalnum() for char in asked):
            questions.setdefault(asked)
        if len(questions) == count:
            break
    if not questions:
        raise InputError(f"the index in {index.path} holds no words to ask for; index some text first")
    return list(questions)
