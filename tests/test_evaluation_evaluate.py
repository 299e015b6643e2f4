"""Rows, ceilings and copies of trials and runs, on lists whose figures can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secondpass.errors import InputError
from secondpass.evaluation.baseline import check, judgments_digest, read_earlier
from secondpass.evaluation.ceiling import ceiling
from secondpass.evaluation.evaluate import evaluate, evaluate_runs, settings_of
from secondpass.evaluation.measures import evaluate_run
from secondpass.evaluation.trials import Trials, collect
from secondpass.evaluation.values import Judged, Setting
from secondpass.types import Hit, Passage

QUERIES = {"a": "first", "b": "second", "c": "third"}
ORDER = {"a": [0, 1, 2, 3], "b": [3, 2, 1, 0], "c": [1, 0, 3, 2]}


class Shelf:
    """Passages p0 to p3 of documents d0 to d3; the text of p1 stands in the document d9, too."""

    def embed_query(self, query: str) -> np.ndarray:
        return np.ones(4, dtype=np.float32) / 2

    def candidates(self, query, vector, k, stage1, where) -> list[Hit]:
        key = next(key for key, text in QUERIES.items() if text == query)
        return [self._hit(number, place) for place, number in enumerate(ORDER[key][:k], start=1)]

    def _hit(self, number: int, place: int) -> Hit:
        text = "x" * (number + 1)
        also = (Passage("p9", "d9", text, 0, len(text)),) if number == 1 else ()
        passage = Passage(f"p{number}", f"d{number}", text, 0, len(text))
        return Hit(passage, 1 - place / 10, place, also_in=also)


class Long:
    name = "long"

    def __init__(self) -> None:
        self.read: list[str] = []

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.read += passages
        return np.array([len(passage) for passage in passages], dtype=np.float32)


def judged(grades: dict[str, dict[str, int]], unit="document", **more) -> Judged:
    return Judged({key: QUERIES[key] for key in grades}, grades, unit, "by hand", **more)


@pytest.fixture
def trials() -> Trials:
    return collect(Shelf(), QUERIES, rerankers=[Long()], depth=4)


BOTH = (Setting("dense", "none", 4), Setting("dense", "long", 4))
ALL = judged({"a": {"d3": 1}, "b": {"d3": 1}, "c": {"d1": 1}})


def test_rows_differences_and_queries(trials: Trials) -> None:
    found = evaluate(trials, ALL, BOTH, ("RR", "P@1"), k=1, latencies={BOTH[1]: 7.0})
    alone, long = found.rows
    # Stage 1 has the relevant one at 5 (d9 stands at 3), 1 and 1; by length d3 is first, d1 third.
    assert found.per_query[0].values["RR"] == (1 / 5, 1.0)
    assert [each.values["RR"] for each in found.per_query[1:]] == [(1.0, 1.0), (1.0, 1 / 3)]
    assert alone.means["RR"] == pytest.approx((1 / 5 + 1 + 1) / 3)
    assert (alone.against, alone.latency_ms, long.latency_ms) == ({}, None, 7.0)
    gain = long.against["RR"]
    assert (gain.wins, gain.losses, gain.ties) == (1, 1, 1)
    assert gain.difference == pytest.approx(long.means["RR"] - alone.means["RR"])
    assert (found.measures, found.queries, found.origin, found.unit) == (
        ("RR", "P@1"),
        3,
        "by hand",
        "document",
    )
    assert [each.in_top for each in found.ceilings] == [pytest.approx(2 / 3)]


def test_stage_1_alone_comes_first_even_where_it_was_not_named(trials: Trials) -> None:
    found = evaluate(trials, ALL, [Setting("dense", "long", 2)], ("RR",))
    assert [row.setting for row in found.rows] == [Setting("dense", "none", 4), Setting("dense", "long", 2)]
    assert found.ceilings[0].candidates == 2
    assert found.ceilings[0].absent == pytest.approx(1 / 3)


def test_settings_of_every_way() -> None:
    names = [each.name for each in settings_of(["dense", "lexical"], ["long"], 20, 100)]
    assert names == ["dense", "dense 20 > long", "lexical", "lexical 20 > long"]


def test_a_candidate_counts_for_each_document_with_its_text(trials: Trials) -> None:
    assert list(trials.run(BOTH[0], "document")["a"]) == ["d0", "d1", "d9", "d2", "d3"]
    copy = judged({"c": {"d9": 1}})
    assert evaluate(trials, copy, BOTH[:1], ("RR",)).rows[0].means["RR"] == 0.5
    assert ceiling(trials, copy, "dense", k=1).in_top == 1.0


def test_a_judged_copy_of_a_passage_is_found_as_the_first_with_its_text(trials: Trials) -> None:
    copy = judged({"c": {"p9": 2, "p1": 1}}, "passage")
    assert trials.qrels(copy) == {"c": {"p1": 2}}
    assert evaluate(trials, copy, BOTH[:1], ("RR", "R@4")).rows[0].means == {"RR": 1.0, "R@4": 1.0}
    assert ceiling(trials, judged({"c": {"p9": 1}}, "passage"), "dense", k=1).in_top == 1.0


def test_scores_of_a_run_fall_strictly_in_the_order_of_the_ranking(trials: Trials) -> None:
    for setting in BOTH:
        for query_id, scores in trials.run(setting, "document").items():
            values = list(scores.values())
            assert values == sorted(set(values), reverse=True), (setting, query_id)


def test_only_what_is_handed_over_is_read() -> None:
    long = Long()
    trials = collect(Shelf(), QUERIES, rerankers=[long], depth=4, read=2)
    assert len(long.read) == 6
    assert [key for key, _ in trials.ranking("b", Setting("dense", "long", 2))] == ["p3", "p2", "p1", "p0"]
    with pytest.raises(InputError, match="read 2 candidates"):
        trials.ranking("b", Setting("dense", "long", 3))


def test_what_is_missing_in_the_index_counts_as_not_found(trials: Trials) -> None:
    missing = judged({"b": {"d3": 1, "gone": 1}}, missing={"b": ("gone",)})
    found = evaluate(trials, missing, BOTH[:1], ("R@4", "RR"))
    assert found.rows[0].means == {"R@4": 0.5, "RR": 1.0}


def test_wrong_questions_are_refused(trials: Trials) -> None:
    with pytest.raises(InputError, match="no setting"):
        evaluate(trials, ALL, [])
    with pytest.raises(InputError, match="not tried"):
        evaluate(trials, ALL, [Setting("hybrid")])
    with pytest.raises(InputError, match="niceness"):
        evaluate(trials, ALL, BOTH, ("niceness@3",))
    with pytest.raises(InputError, match="none of the judged queries"):
        evaluate_runs({"other.txt": {"z": {"d1": 1.0}}}, ALL)
    with pytest.raises(InputError, match="no run"):
        evaluate_runs({}, ALL)


def test_finished_runs_are_measured_like_trials(trials: Trials) -> None:
    runs = {"one.txt": trials.run(BOTH[0], "document"), "two.txt": trials.run(BOTH[1], "document")}
    ours, theirs = evaluate(trials, ALL, BOTH, k=1), evaluate_runs(runs, ALL, k=1)
    assert [row.means for row in ours.rows] == [row.means for row in theirs.rows]
    assert [row.against for row in ours.rows] == [row.against for row in theirs.rows]
    assert theirs.rows[0].means["nDCG@10"] == pytest.approx(
        float(np.mean(list(evaluate_run(ALL.qrels, runs["one.txt"], ["nDCG@10"])["nDCG@10"].values())))
    )
    assert [(each.in_top, each.absent) for each in theirs.ceilings] == [
        (pytest.approx(2 / 3), 0.0),
        (pytest.approx(2 / 3), 0.0),
    ]


def written(path: Path, trials: Trials, what: Judged, measures=("RR", "P@1")) -> Path:
    """Write what ``eval --json`` would, as far as a baseline reads it."""
    found = evaluate(trials, what, BOTH, measures)
    value = {
        "measures": list(found.measures),
        "judgments": judgments_digest(what),
        "rows": [
            {
                "stage1": row.setting.stage1,
                "reranker": row.setting.reranker,
                "candidates": row.setting.candidates,
                "means": dict(row.means),
            }
            for row in found.rows
        ],
        "per_query": [
            {"id": each.query_id, "query": each.query, "values": {k: list(v) for k, v in each.values.items()}}
            for each in found.per_query
        ],
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_a_baseline_says_what_fell(trials: Trials, tmp_path: Path) -> None:
    earlier = read_earlier(written(tmp_path / "old.json", trials, ALL))
    same = check(earlier, evaluate(trials, ALL, BOTH, ("RR", "P@1")), ALL, 0.0)
    assert same.failed == ()
    # The same queries, judged alike, but the relevant documents are others: some settings fall.
    worse = judged({"a": {"d3": 1}, "b": {"d0": 1}, "c": {"d1": 1}})
    assert judgments_digest(worse) == judgments_digest(ALL)
    checked = check(earlier, evaluate(trials, worse, BOTH, ("RR", "P@1")), worse, -0.3)
    assert [(row.setting, round(row.paired.difference, 4)) for row in checked.rows] == [
        (BOTH[0], round((1 / 5 - 1) / 3, 4)),
        (BOTH[1], round((1 / 5 - 1) / 3, 4)),
    ]
    assert checked.failed == ()
    stricter = check(earlier, evaluate(trials, worse, BOTH, ("RR", "P@1")), worse, -0.2)
    assert stricter.failed == stricter.rows


@pytest.mark.parametrize(
    ("other", "measures", "settings", "told"),
    [
        (ALL, ("P@1",), BOTH, "decided by RR"),
        (judged({"a": {"d3": 1}}), ("RR",), BOTH, "2 only there"),
        (replace(ALL, queries={**ALL.queries, "a": "changed"}), ("RR",), BOTH, "1 with another text"),
        (judged({"a": {"d3": 2}, "b": {"d3": 1}, "c": {"d1": 1}}), ("RR",), BOTH, "other judgments"),
        (ALL, ("RR",), BOTH[:1], "only there: dense 4 > long"),
        (ALL, ("RR",), (*BOTH, Setting("dense", "long", 2)), "only here: dense 2 > long"),
    ],
)
def test_a_baseline_of_something_else_is_refused(
    trials: Trials, tmp_path: Path, other: Judged, measures, settings, told: str
) -> None:
    earlier = read_earlier(written(tmp_path / "old.json", trials, ALL))
    now = evaluate(trials, other, settings, measures)
    with pytest.raises(InputError, match=told):
        check(earlier, now, other, -0.01)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "3", '{"measures": [], "rows": []}', "\x00"])
def test_a_baseline_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="baseline"):
        read_earlier(tmp_path / "old.json")
    with pytest.raises(InputError, match="no baseline"):
        read_earlier(tmp_path / "nowhere.json")
