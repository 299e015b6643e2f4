"""The text that the speed benchmarks read: real passages, questions put to them, and more made of them."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path

from secondpass import Document, Passage, RecursiveSplitter, load
from secondpass.cli.corpus import build_corpus

SEED = 20261123
BLOCK = 1000
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def documents(corpus: Path | None, work: Path) -> list[Document]:
    """Return the documents below a folder, or the standard library's documentation; shuffled, seeded."""
    found = [each for each in load(corpus or build_corpus(work / "corpus")) if isinstance(each, Document)]
    found.sort(key=lambda each: each.id)
    random.Random(SEED).shuffle(found)
    return found


def first_with(found: Sequence[Document], passages: int) -> list[Document]:
    """Return the first documents that have so many passages together; all, where they have fewer."""
    splitter, kept, count = RecursiveSplitter(), [], 0
    for each in found:
        if count >= passages:
            break
        kept.append(each)
        count += len(splitter.split(each))
    return kept


def passages_of(found: Sequence[Document]) -> list[Passage]:
    """Return the passages of documents, each text once."""
    splitter, seen = RecursiveSplitter(), {}
    for document in found:
        for passage in splitter.split(document):
            seen.setdefault(passage.text, passage)
    return list(seen.values())


def questions(found: Sequence[Document], count: int) -> list[str]:
    """Return sentences of 5 to 16 words from the text, one a passage, as what is searched for."""
    generator = random.Random(SEED)
    texts = [passage.text for passage in passages_of(found)]
    generator.shuffle(texts)
    chosen: dict[str, None] = {}
    for text in texts:
        for sentence in _SENTENCE.split(" ".join(text.split()))[1:-1]:
            words = re.findall(r"[A-Za-z][a-z'-]*", sentence)
            if 5 <= len(words) <= 16 and len(words) * 2 > len(sentence.split()):
                chosen.setdefault(" ".join(words).lower())
                break
        if len(chosen) == count:
            break
    return list(chosen)


def mixed(texts: Sequence[str], block: int) -> list[tuple[str, int, int]]:
    """Return ``BLOCK`` texts, each made of halves of two real ones, with the places of the two.

    A block depends on its number and the texts alone, so that any stretch can be made again. No pair comes
    twice before all have come: they are visited in steps of the golden section, prime to their number.
    """
    pairs = len(texts) ** 2
    step = next(each for each in range(int(pairs * 0.618034), 2 * pairs) if math.gcd(each, pairs) == 1)
    made = []
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        one, other = divmod(number * step % pairs, len(texts))
        made.append((f"{_half(texts[one], 0)} {_half(texts[other], 1)}", one, other))
    return made


def _half(text: str, which: int) -> str:
    words = text.split(" ")
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle] if which == 0 else words[middle:])
