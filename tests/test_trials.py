from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from secondpass.errors import InputError, ModelInvalidError, QueryError
from secondpass.evaluation.ceiling import ceiling
from secondpass.evaluation.trials import Trials, collect
from secondpass.evaluation.values import Judged, Setting
from secondpass.types import Hit, Passage

LISTS = {"dense": [0, 1, 2, 3], "lexical": [3, 2], "hybrid": [3, 0, 2, 1]}


class Shelf:
    """Four passages of two documents, in an order that depends on the way to search."""

    def __init__(self) -> None:
        self.embedded = 0

    def embed_query(self, query: str) -> np.ndarray:
        self.embedded += 1
        return np.ones(4, dtype=np.float32) / 2

    def candidates(self, query, vector, k, stage1, where) -> list[Hit]:
        assert (vector is None) is (stage1 == "lexical")
        order = LISTS[stage1][:k]
        return [
            Hit(
                Passage(f"p{number}", f"d{number % 2}", "x" * (number + 1), 0, number + 1),
                1 - place / 10,
                place,
            )
            for place, number in enumerate(order, start=1)
        ]


class Lengths:
    """Prefers long passages, or short ones."""

    def __init__(self, name: str = "long", sign: float = 1.0) -> None:
        self.name = name
        self.sign = sign
        self.read: list[str] = []

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.read += passages
        return np.array([self.sign * len(passage) for passage in passages], dtype=np.float32)


@pytest.fixture
def tried() -> tuple[Trials, Shelf, Lengths]:
    shelf, long = Shelf(), Lengths()
    trials = collect(
        shelf,
        {"q": "which"},
        stage1s=("dense", "lexical", "hybrid"),
        rerankers=[long, Lengths("short", -1)],
        depth=4,
    )
    return trials, shelf, long


def ids(trials: Trials, setting: Setting) -> list[str]:
    return [key for key, _ in trials.ranking("q", setting)]


def test_each_query_is_embedded_and_each_passage_read_once(tried) -> None:
    trials, shelf, long = tried
    assert shelf.embedded == 1
    assert sorted(map(len, long.read)) == [1, 2, 3, 4]
    assert [(trial.stage1, len(trial.passages)) for trial in trials.trials] == [
        ("dense", 4),
        ("lexical", 2),
        ("hybrid", 4),
    ]


def test_shallower_settings_follow_without_searching_again(tried) -> None:
    trials, _, _ = tried
    assert ids(trials, Setting("dense", "none", 4)) == ["p0", "p1", "p2", "p3"]
    assert ids(trials, Setting("dense", "long", 4)) == ["p3", "p2", "p1", "p0"]
    assert ids(trials, Setting("dense", "long", 2)) == ["p1", "p0", "p2", "p3"]
    assert ids(trials, Setting("hybrid", "short", 3)) == ["p0", "p2", "p3", "p1"]
    scores = [score for _, score in trials.ranking("q", Setting("dense", "long", 2))]
    assert scores == sorted(set(scores), reverse=True)


def test_a_document_scores_as_its_best_passage(tried) -> None:
    trials, _, _ = tried
    assert trials.run(Setting("dense", "long", 4), "document") == {"q": {"d1": 4.0, "d0": 3.0}}
    assert list(trials.run(Setting("dense", "none", 4), "passage")["q"]) == ["p0", "p1", "p2", "p3"]


def test_progress_counts_queries() -> None:
    seen: list[tuple[int, int]] = []
    collect(Shelf(), {"a": "one", "b": "two"}, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_what_was_not_tried_is_refused(tried) -> None:
    trials, _, _ = tried
    with pytest.raises(InputError, match="not tried"):
        trials.ranking("other", Setting("dense"))
    with pytest.raises(InputError, match="'best' was not tried"):
        trials.ranking("q", Setting("dense", "best", 4))
    with pytest.raises(InputError, match="different names"):
        collect(Shelf(), {"q": "which"}, rerankers=[Lengths(), Lengths()])
    with pytest.raises(QueryError):
        collect(Shelf(), {"q": "  "})


def test_a_re_ranker_that_gives_no_number_is_refused() -> None:
    with pytest.raises(ModelInvalidError, match="finite score"):
        collect(Shelf(), {"q": "which"}, rerankers=[Lengths("broken", float("nan"))])


@pytest.mark.parametrize(
    ("relevant", "expected"), [("p0", (1, 0, 0)), ("p2", (0, 1, 0)), ("p3", (0, 0, 1)), ("p9", (0, 0, 1))]
)
def test_the_ceiling_says_where_the_first_relevant_one_stands(tried, relevant: str, expected) -> None:
    trials, _, _ = tried
    judged = Judged({"q": "which"}, {"q": {relevant: 1, "p1": 0}}, "passage")
    found = ceiling(trials, judged, "dense", k=2, candidates=3)
    assert (found.in_top, found.in_candidates, found.absent) == expected


def test_the_ceiling_of_documents(tried) -> None:
    trials, _, _ = tried
    judged = Judged({"q": "which"}, {"q": {"d0": 2}}, "document")
    assert ceiling(trials, judged, "lexical", k=1).in_candidates == 1.0
    assert ceiling(trials, judged, "lexical", k=2).in_top == 1.0
