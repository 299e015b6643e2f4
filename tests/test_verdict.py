from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from secondpass import Document, Index
from secondpass.errors import InputError
from secondpass.evaluation.values import Judged, Setting
from secondpass.testing import HashEmbedder
from secondpass.verdict import Verdict, Wishes, worth_it
from secondpass.verdict.budget import Costs, plan, sample

TOPICS = ("kettle", "bridge", "violin", "orchard", "glacier", "lantern", "harbour", "saddle")
WORDS = ("steel", "morning", "river", "price", "maker", "winter", "paint", "letter")


class Knowing:
    """A re-ranker that knows the answer: the passage that says ``answer`` and the query's last word."""

    name = "knowing"

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        wanted = f"answer {query.split()[-1]}"
        return np.array([wanted in text for text in passages], dtype=np.float32) * 5 + self._luck(passages)

    def _luck(self, passages: Sequence[str]) -> np.ndarray:
        return np.array([sum(map(ord, text)) % 97 / 97 for text in passages], dtype=np.float32)


class Guessing(Knowing):
    """One that ranks by something that has nothing to do with the query."""

    name = "guessing"

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        return self._luck(passages)


class Missing(Knowing):
    """One that puts every answer last."""

    name = "missing"

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        return -super().score(query, passages)


class Agreeing(Knowing):
    """One that keeps stage 1's order, whatever it is."""

    name = "agreeing"

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        return -np.arange(len(passages), dtype=np.float32)


def documents() -> list[Document]:
    """For each topic and word one answer among near misses that repeat the query's words more often."""
    made = []
    for topic in TOPICS:
        for word in WORDS:
            made.append(Document(f"{topic}-{word}", f"answer {word} about the {topic} and much else besides"))
            made += [
                Document(f"{topic}-{word}-{other}", f"the {topic} {word} {topic} {word} note {other}")
                for other in range(3)
            ]
    return made


def judged(number: int = 40, synthetic: bool = False) -> Judged:
    pairs = [(topic, word) for topic in TOPICS for word in WORDS][:number]
    return Judged(
        {f"{topic}-{word}": f"the {topic} {word}" for topic, word in pairs},
        {f"{topic}-{word}": {f"{topic}-{word}": 1} for topic, word in pairs},
        "document",
        synthetic=synthetic,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    with Index.open(tmp_path_factory.mktemp("verdict") / "index", embedder=HashEmbedder()) as opened:
        opened.add(documents())
        yield opened


WISHES = Wishes(depths=(5, 10), reranker="knowing", candidates=10)


@pytest.fixture(scope="module")
def used(index: Index) -> Verdict:
    return worth_it(index, judged(), [Knowing(), Guessing()], WISHES)


def test_a_re_ranker_that_knows_is_used(used: Verdict) -> None:
    assert used.kind == "use"
    assert used.chosen == used.challenger
    assert used.chosen is not None
    assert used.chosen.reranker == "knowing"
    assert used.held_out is not None
    assert used.held_out.low > 0.2
    assert used.sentences[0].startswith(
        f"use knowing on {used.chosen.candidates} candidates ({used.chosen.stage1}): +0."
    )
    assert "nDCG@10" in used.sentences[0]


def test_every_setting_has_a_row_and_each_stage_1_comes_first(used: Verdict) -> None:
    names = [row.setting.name for row in used.rows]
    assert names[:5] == [
        "dense",
        "dense 5 > knowing",
        "dense 10 > knowing",
        "dense 5 > guessing",
        "dense 10 > guessing",
    ]
    assert len(names) == len(set(names)) == 15
    assert all(row.latency_ms > 0 for row in used.rows)
    assert [row.change is None for row in used.rows] == [row.setting.reranker == "none" for row in used.rows]
    assert [row.setting for row in used.rows if row.gain is None] == [used.baseline]
    assert any(row.pareto for row in used.rows)


def test_the_ceiling_and_the_counts(used: Verdict) -> None:
    assert [each.stage1 for each in used.ceilings] == ["dense", "lexical", "hybrid"]
    for each in used.ceilings:
        assert each.in_top + each.in_candidates + each.absent == pytest.approx(1)
    assert (used.queries, used.passages, used.unit) == (40, 256, "document")
    assert 0 < used.scored <= 2 * 40 * 20
    assert used.left_out == ""
    assert [each.rerankers for each in used.agreements] == [("knowing", "guessing")]


def test_a_re_ranker_that_misses_is_skipped(index: Index) -> None:
    found = worth_it(index, judged(), [Missing()], WISHES)
    assert found.kind == "skip"
    assert found.chosen == found.baseline
    assert found.sentences[0].startswith("skip stage 2: ")
    assert found.gate is None
    assert "not worth it" in found.gate_note


def test_few_queries_with_a_gain_that_may_be_luck_are_unclear(index: Index) -> None:
    class Sometimes(Knowing):
        name = "sometimes"

        def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
            return (
                super().score(query, passages) if "kettle st" in query else Agreeing().score(query, passages)
            )

    asked = judged(8)
    found = worth_it(
        index, asked, [Sometimes()], Wishes(depths=(10,), reranker="sometimes", stage1s=("dense",))
    )
    assert found.kind == "unclear", found.sentences
    assert found.chosen == found.baseline
    assert found.held_out is not None
    assert found.held_out.needed is not None
    assert found.held_out.needed > 8
    assert f"about {found.held_out.needed:,} judged queries" in " ".join(found.sentences)


def test_synthetic_queries_are_marked(index: Index) -> None:
    found = worth_it(index, judged(12, synthetic=True), [Knowing()], WISHES)
    assert found.synthetic
    assert any("synthetic" in sentence for sentence in found.sentences)
    plain = worth_it(index, list(judged(12).queries.values()), [Knowing()], WISHES, synthetic=True)
    assert plain.synthetic
    assert any("synthetic" in sentence for sentence in plain.sentences)


def test_without_judgments_nothing_is_chosen(index: Index) -> None:
    found = worth_it(
        index, list(judged().queries.values()), [Knowing(), Guessing()], WISHES, origin="mine.txt"
    )
    assert (found.kind, found.chosen, found.measure, found.held_out) == ("unjudged", None, None, None)
    assert found.challenger == Setting("dense", "knowing", 10)
    assert found.sentences[0].startswith("only judgments can tell: knowing on 10 candidates (dense)")
    said = " ".join(found.sentences)
    assert "secondpass judge" in said
    assert "secondpass queries" in said
    assert "share" in said
    assert all(row.quality is None and row.gain is None and not row.pareto for row in found.rows)
    assert found.origin == "mine.txt"


def test_without_judgments_what_changes_nothing_is_skipped(index: Index) -> None:
    queries = list(judged(60).queries.values())
    found = worth_it(
        index, queries, [Agreeing()], Wishes(depths=(5,), stage1s=("dense",), reranker="agreeing")
    )
    assert found.kind == "skip"
    assert found.sentences[0].startswith("skip stage 2: agreeing on 5 candidates (dense) leaves the first 3")


def test_the_same_scores_give_the_same_verdict(index: Index, used: Verdict) -> None:
    again = worth_it(index, judged(), [Knowing(), Guessing()], WISHES)
    assert [row.quality for row in again.rows] == [row.quality for row in used.rows]
    assert again.kind == used.kind


def test_depths_are_bound_by_the_index_and_by_k(tmp_path: Path) -> None:
    with Index.open(tmp_path / "small", embedder=HashEmbedder()) as small:
        small.add(documents()[:8])
        found = worth_it(
            small, ["the kettle steel"], [Knowing()], Wishes(depths=(1, 5, 100), reranker="knowing")
        )
    assert sorted({row.setting.candidates for row in found.rows}) == [3, 5, 8]


def test_bad_input_is_refused_at_the_door(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no query"):
        worth_it(index, [], [Knowing()])
    with pytest.raises(InputError, match="no re-ranker"):
        worth_it(index, ["which"], [])
    with pytest.raises(InputError, match="different names"):
        worth_it(index, ["which"], [Knowing(), Knowing()])
    with pytest.raises(InputError, match="at least 4 judged queries"):
        worth_it(index, judged(3), [Knowing()])
    with pytest.raises(InputError, match="least gain"):
        Wishes(least_gain=0.0)
    with pytest.raises(InputError, match="budget"):
        Wishes(budget=0.0)
    with pytest.raises(InputError, match="among the ways"):
        Wishes(stage1s=("lexical",))
    with (
        Index.open(tmp_path / "empty", embedder=HashEmbedder()) as empty,
        pytest.raises(InputError, match="holds no passage"),
    ):
        worth_it(empty, ["which"], [Knowing()])


COSTS = Costs({"fast": 1.0, "slow": 10.0}, lists=3, passages=10_000, samples=5)


def test_a_budget_lowers_depths_before_anything_else() -> None:
    free = plan(COSTS, (5, 10, 20, 50, 100), 50, None)
    assert (free.rerankers, free.depths, free.queries, free.left_out) == (
        ("fast", "slow"),
        (5, 10, 20, 50, 100),
        50,
        "",
    )
    bound = plan(COSTS, (5, 10, 20, 50, 100), 50, 60)
    assert (bound.rerankers, bound.depths, bound.queries) == (("fast", "slow"), (5, 10, 20, 50), 50)
    assert bound.left_out == "depths 100"
    assert bound.seconds <= 60 < free.seconds


def test_then_queries_then_the_slowest_re_ranker_then_the_rest() -> None:
    fewer = plan(COSTS, (5, 10, 20, 50), 400, 30)
    assert fewer.depths == (5, 10, 20)
    assert 50 <= fewer.queries < 400
    assert "random sample" in fewer.left_out
    tight = plan(COSTS, (5, 10, 20, 50), 50, 10)
    assert (tight.rerankers, tight.depths) == (("fast",), (5, 10, 20))
    assert tight.left_out.endswith("slow")
    tighter = plan(COSTS, (5, 10, 20, 50), 50, 0.001)
    assert (tighter.rerankers, tighter.depths) == (("fast",), (5,))


def test_a_small_index_is_no_more_work_than_its_passages() -> None:
    small = Costs({"fast": 1.0}, lists=3, passages=30, samples=5)
    assert small.seconds(("fast",), (5, 100), 10) == pytest.approx((10 * 30 + 5 * 35) / 1000)


def test_a_sample_keeps_the_order() -> None:
    keys = [str(number) for number in range(30)]
    some = sample(keys, 10, 1)
    assert some == sorted(some, key=int)
    assert len(set(some)) == 10
    assert sample(keys, 30, 1) == keys
