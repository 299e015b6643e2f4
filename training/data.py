"""The texts: which sets train, which validate, and how their lines become queries, passages and pairs."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secondpass.tuning.alike import WORD

__all__ = ["WORD", "WORK", "Pool", "rows", "shippable", "training_pool", "validation_pool"]

WORK = Path("training/work")
"""What runs write: one folder each, and one for the data they share."""


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
        key = " ".join(WORD.findall(row["query"].lower()))
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


def shippable(folder: Path) -> set[str]:
    """Names of the sets that weights which ship may be trained on, as SOURCES.txt marks them."""
    lines = (folder / "train" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0] for line in lines if "\tship: yes\t" in line}


def rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The lines of one training set."""
    with gzip.open(folder / "train" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def training_pool(folder: Path, caps: dict[str, int], seed: int) -> Pool:
    """One pool of all training sets, each cut to its cap (0 = all), as one corpus would hold them."""
    refused = set(caps) - shippable(folder)
    if refused:
        raise ValueError(f"not marked 'ship: yes' in SOURCES.txt: {', '.join(sorted(refused))}")
    pool = Pool()
    for name, cap in caps.items():
        lines = list(rows(folder, name))
        random.Random(seed).shuffle(lines)
        for row in lines[: cap or None]:
            pool.add(row, name)
    return pool


def validation_pool(folder: Path, name: str, passages: int, seed: int) -> Pool:
    """A set that is not trained on, as a small collection of its own of about that many passages."""
    pool = Pool()
    lines = list(rows(folder, name))
    random.Random(seed).shuffle(lines)
    for row in lines:
        if len(pool.passages) >= passages:
            break
        pool.add(row, name)
    return pool
