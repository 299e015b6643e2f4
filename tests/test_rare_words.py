"""The term for rare words (reranking/rare_words.py) and its table (training/word_table.py)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from secondpass import CrossEncoder, models
from secondpass.batching import Row
from secondpass.drift import built_in_text
from secondpass.errors import ModelInvalidError
from secondpass.reranking.rare_words import (
    BEGINS,
    CONTINUES,
    NO_WORD,
    RARE_WORDS_FILE,
    RareWords,
    WordTable,
    rare_words_of,
)

# a vocabulary: 0..3 special and marks, 4 "the", 5 "leader", 6 "bu", 7 "##yen", 8 "##de", 9 "river"
KINDS = np.array([NO_WORD] * 4 + [BEGINS] * 3 + [CONTINUES] * 2 + [BEGINS], np.uint8)
NAME = (6, 7, 8)


def table() -> WordTable:
    found = WordTable(np.full(1 << 16, 255, np.uint8), KINDS)
    for word, value in {(4,): 10, (5,): 120}.items():
        found.rarity[found.place(word)] = value
    return found


def pair(query: list[int], passage: list[int]) -> Row:
    return Row([1, *query, 2, 1, *passage, 2], [0] * (len(query) + 2) + [1] * (len(passage) + 2))


def test_pieces_make_words_and_marks_are_none() -> None:
    assert table().words([1, 4, 6, 7, 8, 3, 9, 2]) == [(4,), NAME, (9,)]
    assert table().words([7, 8]) == [(7, 8)]  # a text cut within a word
    assert table().words([0, 1, 2, 3]) == []


def test_a_passage_gets_the_share_of_the_rare_words_that_it_holds() -> None:
    rare = RareWords(table(), weight=2.0, threshold=0.4)
    query = [4, 5, *NAME]  # "leader" has 120 of 255, above .4 of the highest; "the" has not
    shares = rare.rare(query)
    assert shares == pytest.approx({(5,): 120 / 375, NAME: 255 / 375})
    terms = rare.term(
        [
            pair(query, [4, 9, 5, *NAME]),
            pair(query, [4, *NAME]),
            pair(query, [5, 5, 5]),
            pair(query, [4, 9]),
            pair(query, [6, 8, 7]),  # the pieces, but not the word
        ]
    )
    np.testing.assert_allclose(terms, [2.0, 2 * 255 / 375, 2 * 120 / 375, 0, 0], rtol=1e-6)
    high = RareWords(table(), weight=1.0, threshold=0.6)
    assert high.rare(query) == {NAME: 1.0}


def test_a_query_without_words_adds_nothing() -> None:
    rare = RareWords(table(), weight=2.0, threshold=0.6)
    assert rare.term([pair([3, 3], [4, 9]), pair([4], [])]).tolist() == [0.0, 0.0]


def test_a_term_does_not_depend_on_the_other_pairs() -> None:
    rare = RareWords(table(), weight=1.0, threshold=0.2)
    rows = [pair([5, *NAME], [5]), pair([9, 5], [9]), pair([5, *NAME], list(NAME))]
    alone = np.concatenate([rare.term([row]) for row in rows])
    np.testing.assert_array_equal(rare.term(rows), alone)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    table().save(tmp_path / "words.npz")
    read = WordTable.load(tmp_path / "words.npz")
    np.testing.assert_array_equal(read.rarity, table().rarity)
    np.testing.assert_array_equal(read.kinds, KINDS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(models.resolve("minilm-l6").path, tmp_path / "copy"))


def test_a_damaged_or_missing_table_is_one_clear_error(copy: Path) -> None:
    (copy / RARE_WORDS_FILE).write_bytes(b"no table")
    with pytest.raises(ModelInvalidError, match=r"rare_words\.npz is damaged"):
        CrossEncoder(copy)
    (copy / RARE_WORDS_FILE).unlink()
    with pytest.raises(ModelInvalidError, match="rare_words"):
        CrossEncoder(copy)


@pytest.mark.parametrize("said", [{"weight": 1.0}, {"weight": "much", "threshold": 0.5}, 3])
def test_settings_that_cannot_be_are_refused(copy: Path, said: object) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["secondpass"]["rare_words"] = said
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelInvalidError, match="a weight and a threshold"):
        CrossEncoder(copy)


@pytest.mark.parametrize("native", ["1", "0"])
def test_the_term_is_all_that_it_adds(copy: Path, monkeypatch: pytest.MonkeyPatch, native: str) -> None:
    monkeypatch.setenv("SECONDPASS_NATIVE", native)
    folder = models.resolve("minilm-l6")
    rare = rare_words_of(folder, folder.json("config.json"))
    assert rare is not None
    assert 0.1 < rare.weight < 2
    config = json.loads((copy / "config.json").read_text())
    del config["secondpass"]["rare_words"]
    (copy / "config.json").write_text(json.dumps(config))
    with_term, without = CrossEncoder("minilm-l6"), CrossEncoder(copy)
    assert with_term.fingerprint != without.fingerprint
    added = []
    for query, texts in built_in_text(8, 6):
        added.append(with_term.score(query, texts) - without.score(query, texts))
    assert np.min(added) > -1e-4
    assert np.max(added) < rare.weight + 1e-4
    assert np.ptp(added) > rare.weight / 2


def test_the_passage_about_the_name_comes_nearer(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["secondpass"]["rare_words"]
    (copy / "config.json").write_text(json.dumps(config))
    query = "Who is the current opposition leader in the country where Buyende is located?"
    about_the_name = "Buyende is a town in the Eastern Region of Uganda, the seat of Buyende District."
    all_but_the_name = "The current opposition leader in the country is the head of the largest party."

    def lead(reranker: CrossEncoder) -> float:
        name, rest = reranker.score(query, [about_the_name, all_but_the_name])
        return float(name - rest)

    assert lead(CrossEncoder("minilm-l6")) > lead(CrossEncoder(copy)) + 0.2


def test_the_table_counts_texts_and_common_words_win_a_shared_place() -> None:
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the recipe is no part of the package
    from training.word_table import word_table

    texts = [[1, 4, 5, 2], [1, 4, 4, *NAME, 2], [1, 4, 9, 2]]
    found = word_table(texts, KINDS)
    assert found[(4,)] < found[(5,)] == found[NAME] == found[(9,)] < 1.0
    assert found[(5, 7)] == 1.0  # never met
    assert found[(4,)] == pytest.approx(round(255 * np.log(4 / 3.5) / np.log(8)) / 255)
