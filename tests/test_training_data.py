"""Which lines train and which validate (training/data.py), on small sets written here."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1]))  # the recipe is no part of the package

from training.data import held_out, rows, training_pool, validation_pool

ANSWER = "Bread is baked in an oven. It needs flour, water and yeast. Yes."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "SOURCES.txt").write_text(
        "kitchen\tship: yes\tpairs=41\nforum\tship: no\tpairs=1\n"
    )
    lines = [
        {"query": f"What is dish {place}?", "positive": f"Dish {place} is a soup."} for place in range(40)
    ]
    for name, found in (
        ("kitchen", [{"query": "How is bread made?", "positive": ANSWER}, *lines]),
        ("forum", lines[:1]),
    ):
        with gzip.open(tmp_path / "train" / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in found)
    return tmp_path


def test_each_sentence_of_an_answer_becomes_an_answer(data: Path) -> None:
    cut = list(rows(data, "kitchen-sentences"))
    assert [(row["query"], row["positive"].strip()) for row in cut] == [
        ("How is bread made?", "Bread is baked in an oven."),
        ("How is bread made?", "It needs flour, water and yeast."),
    ], "neither its shortest sentence nor an answer of one sentence"
    assert len(list(rows(data, "kitchen"))) == 41


@pytest.mark.parametrize("name", ["forum", "forum-sentences"])
def test_a_set_that_may_not_ship_does_not_train(data: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"not marked 'ship: yes'.*: {name.split('-')[0]}$"):
        training_pool(data, {"kitchen": 0, name: 0}, seed=7)


def test_a_query_trains_or_validates_and_never_both(data: Path) -> None:
    trained = training_pool(data, {"kitchen": 0, "kitchen-sentences": 0}, seed=7, kept={"kitchen": 0.5})
    pool, asked = validation_pool(data, "kitchen", passages=100, seed=7, share=0.5)
    questions = {pool.queries[place] for place in asked}
    assert questions, "half of 41"
    assert not questions & set(trained.queries)
    assert questions | set(trained.queries) == set(pool.queries)
    assert len(pool.passages) == 41, "what is not asked about still stands in the collection"


def test_what_is_kept_does_not_depend_on_how_a_question_is_written() -> None:
    for place in range(50):
        assert held_out(f"What is dish {place}?", 0.5) == held_out(f"what is DISH {place}", 0.5)
    assert all(held_out(str(place), 1.0) for place in range(50))
    assert not any(held_out(str(place), 0.0) for place in range(50))
