"""The texts: which sets train, which validate, and how their lines become queries, passages and pairs."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from secondpass.sentences import sentences
from secondpass.tuning.alike import WORD

__all__ = [
    "SENTENCES",
    "WORD",
    "WORK",
    "Pool",
    "rows",
    "set_of",
    "shippable",
    "training_pool",
    "validation_pool",
]

WORK = Path("training/work")
"""What runs write: one folder each, and one for the data they share."""
SENTENCES = "-sentences"
"""Behind a set's name: each sentence of an answer is a passage of its own, which gives a part of it."""
SHORTEST = 5  # words of such a sentence


@dataclass(slots=True)
class Pool:
    """Queries and passages by position, and which passages answer which query.

    Attributes:
        queries: the texts, unique.
        passages: the texts, unique.
        positives: for each query the positions of its passages.
        negatives: for each query the positions of passages labelled as not answering it.
        source: for each query the set it comes from.
        passage_source: for each passage the set it comes from.
    """

    queries: list[str] = field(default_factory=list)
    passages: list[str] = field(default_factory=list)
    positives: list[list[int]] = field(default_factory=list)
    negatives: list[list[int]] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    passage_source: list[str] = field(default_factory=list)
    _query_at: dict[str, int] = field(default_factory=dict)
    _passage_at: dict[str, int] = field(default_factory=dict)

    def add(self, row: dict[str, Any], source: str) -> None:
        """Add one line of a set: its query, its positive, its labelled negatives if any."""
        key = query_key(row["query"])
        if not key or not row["positive"].strip():
            return
        if key not in self._query_at:
            self._query_at[key] = len(self.queries)
            self.queries.append(row["query"].strip())
            self.source.append(source)
            self.positives.append([])
            self.negatives.append([])
        query = self._query_at[key]
        for text, places in [
            (row["positive"], self.positives),
            *((n, self.negatives) for n in row.get("negatives", ())),
        ]:
            passage = self._passage(text, source)
            if passage not in places[query]:
                places[query].append(passage)

    def _passage(self, text: str, source: str) -> int:
        text = text.strip()
        if text not in self._passage_at:
            self._passage_at[text] = len(self.passages)
            self.passages.append(text)
            self.passage_source.append(source)
        return self._passage_at[text]


def query_key(text: str) -> str:
    """What makes two queries the same: their words in lower case."""
    return " ".join(WORD.findall(text.lower()))


def set_of(name: str) -> str:
    """The set that a name stands for, with its answers whole or cut into sentences."""
    return name.removesuffix(SENTENCES)


def held_out(query: str, share: float) -> bool:
    """Whether a query is kept from training, for validation: the same on every machine."""
    return crc32(query_key(query).encode()) % 1000 < 1000 * share


def shippable(folder: Path) -> set[str]:
    """Names of the sets that weights which ship may be trained on, as SOURCES.txt marks them."""
    lines = (folder / "train" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0] for line in lines if "\tship: yes\t" in line}


def rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The lines of one training set; with `SENTENCES` behind its name a line for each sentence of an answer.

    An answer of a single sentence then gives no line.
    """
    with gzip.open(folder / "train" / f"{set_of(name)}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield from in_sentences(row) if name.endswith(SENTENCES) else [row]


def in_sentences(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sentences of a row's answer, each as the answer of a row of its own."""
    text = row["positive"]
    parts = [text[start:end] for start, end in sentences(text)]
    parts = [part for part in parts if len(WORD.findall(part)) >= SHORTEST]
    if len(parts) > 1:
        yield from ({"query": row["query"], "positive": part} for part in parts)


def training_pool(
    folder: Path, caps: dict[str, int], seed: int, kept: dict[str, float] | None = None
) -> Pool:
    """One pool of all training sets, each cut to its cap (0 = all), as one corpus would hold them.

    Args:
        folder: of the data.
        caps: names of sets, each with the most lines that are taken of it.
        seed: of the lines that are taken.
        kept: shares of sets' queries that are kept for validation.
    """
    refused = {set_of(name) for name in caps} - shippable(folder)
    if refused:
        raise ValueError(f"not marked 'ship: yes' in SOURCES.txt: {', '.join(sorted(refused))}")
    pool = Pool()
    for name, cap in caps.items():
        lines = list(rows(folder, name))
        random.Random(seed).shuffle(lines)
        share = (kept or {}).get(set_of(name), 0.0)
        for row in [row for row in lines if not held_out(row["query"], share)][: cap or None]:
            pool.add(row, name)
    return pool


def validation_pool(
    folder: Path, name: str, passages: int, seed: int, share: float = 1.0
) -> tuple[Pool, list[int]]:
    """A small collection of its own of about that many passages, and the queries that may be asked.

    Where a set trains too, only the share of its queries that was kept from training is asked.
    """
    pool = Pool()
    lines = list(rows(folder, name))
    random.Random(seed).shuffle(lines)
    for row in sorted(lines, key=lambda row: not held_out(row["query"], share)):
        if len(pool.passages) >= passages:
            break
        pool.add(row, name)
    return pool, [place for place, query in enumerate(pool.queries) if held_out(query, share)]
