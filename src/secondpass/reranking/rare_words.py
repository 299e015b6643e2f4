"""How many of a query's rare words stand in a passage: a term beside the logit of a residual cross-encoder.

Where no passage meets a query whole, a cross-encoder may put what fits all but the name before what fits the
name alone: its training never showed it such a case. Rare are the query's words whose inverse document
frequency is at least ``threshold`` times the highest in the query; a word counts by it. The frequencies are a
table that comes with the weights, so a score is a matter of two texts, whatever the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ..architectures import own_settings
from ..batching import Row
from ..errors import ModelInvalidError
from ..inference import Floats
from ..models import ModelFolder

__all__ = [
    "BEGINS",
    "CONTINUES",
    "NO_WORD",
    "RARE_WORDS_FILE",
    "RareWords",
    "Word",
    "WordTable",
    "rare_words_of",
]

RARE_WORDS_FILE = "rare_words.npz"
Word = tuple[int, ...]
"""The ids of a word's pieces."""
BEGINS, CONTINUES, NO_WORD = range(3)
_MOST = 255


@dataclass(frozen=True)
class WordTable:
    """How rare words are; words that share a place by chance share its value.

    Attributes:
        rarity: ``(places,)`` uint8, inverse document frequency, 255 for a word that was never met.
        kinds: ``(vocabulary,)`` uint8, what a token is: BEGINS, CONTINUES or NO_WORD.
    """

    rarity: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.uint8]

    @cached_property
    def _kinds(self) -> list[int]:
        found: list[int] = self.kinds.tolist()
        return found

    def words(self, ids: Iterable[int]) -> list[Word]:
        """Return the words of a text, in order; special tokens and marks are none."""
        found: list[list[int]] = []
        kinds = self._kinds
        for token in ids:
            kind = kinds[token]
            if kind == CONTINUES and found:
                found[-1].append(token)
            elif kind != NO_WORD:
                found.append([token])
        return [tuple(word) for word in found]

    def place(self, word: Word) -> int:
        """Return where a word's value stands."""
        return crc32(np.array(word, dtype="<u4").tobytes()) % len(self.rarity)

    def __getitem__(self, word: Word) -> float:
        return float(self.rarity[self.place(word)]) / _MOST

    def save(self, path: Path) -> None:
        """Write the table."""
        np.savez_compressed(path, rarity=self.rarity, kinds=self.kinds)

    @classmethod
    def load(cls, path: Path) -> WordTable:
        """Read what ``save`` wrote.

        Raises:
            ModelInvalidError: the file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                return cls(saved["rarity"], saved["kinds"])
        except (OSError, KeyError, ValueError, EOFError, BadZipFile) as exc:
            raise ModelInvalidError(f"{path} is damaged ({exc}); fetch the model again") from exc


@dataclass(frozen=True, slots=True)
class RareWords:
    """``weight`` times the share of a query's rare words that stand in a passage.

    Attributes:
        table: how rare words are.
        weight: in logits.
        threshold: words below this share of the query's highest rarity do not count; 0 to 1.
    """

    table: WordTable
    weight: float
    threshold: float

    def term(self, rows: Sequence[Row]) -> Floats:
        """Return what to add to the logits of framed pairs, ``(n,)``; in them the query has type 0."""
        asked: dict[tuple[int, ...], dict[Word, float]] = {}
        shares = np.empty(len(rows), dtype=np.float32)
        for line, row in enumerate(rows):
            length = row.types.count(0)
            query = tuple(row.ids[:length])
            if query not in asked:
                asked[query] = self.rare(query)
            shares[line] = self._share(asked[query], row.ids[length:])
        return np.float32(self.weight) * shares

    def rare(self, query: Iterable[int]) -> dict[Word, float]:
        """Return the rare words of a query, each with its share of all they count; empty without words."""
        rarity = {word: self.table[word] for word in self.table.words(query)}
        least = self.threshold * max(rarity.values(), default=0.0)
        rare = {word: value for word, value in rarity.items() if value >= least and value > 0}
        total = sum(rare.values())
        return {word: value / total for word, value in rare.items()}

    def _share(self, rare: dict[Word, float], passage: Iterable[int]) -> float:
        if not rare:
            return 0.0
        met = set(self.table.words(passage))
        return sum(value for word, value in rare.items() if word in met)


def rare_words_of(folder: ModelFolder, config: dict[str, Any]) -> RareWords | None:
    """Return the term of a model, or None where it has none.

    Raises:
        ModelInvalidError: its table is missing or damaged.
    """
    said = own_settings(config).get("rare_words")
    if said is None:
        return None
    try:
        weight, threshold = float(said["weight"]), float(said["threshold"])
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelInvalidError(
            f"config.json of {folder.name}: rare_words holds a weight and a threshold, both numbers"
        ) from exc
    return RareWords(WordTable.load(folder.path / RARE_WORDS_FILE), weight, threshold)
