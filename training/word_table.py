"""How rare words are in the training passages: the table beside the weights (``reranking/rare_words.py``).

    python -m training.word_table --config training/configs/sixteenth.toml

Writes ``rare_words.npz`` beside the prepared data. Words are those of the tokenizer: a first piece and what
goes on with it.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from secondpass.models import resolve
from secondpass.reranking.rare_words import (
    BEGINS,
    CONTINUES,
    NO_WORD,
    RARE_WORDS_FILE,
    WordTable,
)
from training.data import WORK
from training.states import States

RARE = 0.6  # share of the highest rarity in a query; chosen on validation, see RESULTS.md
PLACES = 1 << 20  # one of eleven words that were never met shares the place of one that was


def word_table(texts: Sequence[Iterable[int]], kinds: np.ndarray) -> WordTable:
    """Count in how many texts each word stands; of words that share a place the commonest counts.

    Args:
        texts: token ids.
        kinds: (vocabulary,) see `WordTable`.
    """
    table = WordTable(np.full(PLACES, 255, np.uint8), kinds)
    count = Counter(word for text in texts for word in set(table.words(text)))
    highest = np.log((len(texts) + 1) / 0.5)
    for word, texts_with in count.items():
        value = round(255 * float(np.log((len(texts) + 1) / (texts_with + 0.5)) / highest))
        place = table.place(word)
        table.rarity[place] = min(int(table.rarity[place]), value)
    return table


def kinds_of(tokenizer: Tokenizer) -> np.ndarray:
    """What each token of a WordPiece vocabulary is, (vocabulary,): see `WordTable`."""
    vocabulary = tokenizer.get_vocab()
    found = np.full(max(vocabulary.values()) + 1, NO_WORD, np.uint8)
    for token, at in vocabulary.items():
        piece = token.removeprefix("##")
        if any(map(str.isalnum, piece)) and not (piece.startswith("[") and piece.endswith("]")):
            found[at] = BEGINS if piece == token else CONTINUES
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    folder = WORK / tomllib.loads(options.config.read_text())["data"]["name"]
    tokenizer = Tokenizer.from_file(str(resolve("minilm-l6").path / "tokenizer.json"))
    texts = [text.tolist() for text in States(folder / "passages").texts()]
    table = word_table(texts, kinds_of(tokenizer))
    table.save(folder / RARE_WORDS_FILE)
    size = (folder / RARE_WORDS_FILE).stat().st_size
    print(f"{(table.rarity < 255).sum()} of {PLACES} places, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
