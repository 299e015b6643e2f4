from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from secondpass import Document, Engine, Index, load_reranker
from secondpass.comparison import Comparison, move, summarize
from secondpass.errors import InputError, ModelInvalidError, QueryError
from secondpass.ranking import sigmoid
from secondpass.testing import HashEmbedder
from secondpass.types import Hit, Passage, Reading


class Shelf:
    """A stage 1 in memory: texts in a fixed order, filtered by a metadata value."""

    def __init__(self, texts: Sequence[str], metadata: Sequence[Mapping[str, str]] | None = None) -> None:
        metadata = metadata or [{}] * len(texts)
        self.passages = [
            Passage(f"{number:04x}", "doc", text, 0, len(text), metadata=each)
            for number, (text, each) in enumerate(zip(texts, metadata, strict=True))
        ]
        self.embedded: list[str] = []
        self.vectors: list[object] = []

    def embed_query(self, query: str) -> np.ndarray:
        self.embedded.append(query)
        return np.ones(4, dtype=np.float32) / 2

    def candidates(self, query, vector, k, stage1, where) -> list[Hit]:
        self.vectors.append(vector)
        kept = [
            passage
            for passage in self.passages
            if all(passage.metadata.get(key) == value for key, value in (where or {}).items())
        ]
        return [
            Hit(passage, 1 - rank / 100, rank, distance=rank / 100)
            for rank, passage in enumerate(kept[:k], start=1)
        ]


class Longest:
    """Scores a passage by its length."""

    name = "longest"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.calls.append(list(passages))
        return np.array([len(passage) for passage in passages], dtype=np.float32)


class Reader(Longest):
    """Longest with readings: reads at most five characters."""

    name = "reader"

    def __init__(self, logits: bool = True) -> None:
        super().__init__()
        self.logits = logits

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        return [
            Reading(len(text) - 4.0, min(len(text), 5), len(text), 0, min(len(text), 5)) for text in passages
        ]


class Gives:
    name = "gives"

    def __init__(self, scores: object) -> None:
        self.scores = scores

    def score(self, query: str, passages: Sequence[str]) -> object:
        return self.scores


TEXTS = ["aa", "bbbb", "c", "ddddddd", "eeee", "ffffff"]


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.text for hit in hits]


def test_stage_2_chooses_among_the_candidates() -> None:
    result = Engine(Shelf(TEXTS), Longest(), candidates=5).search("q", k=3)
    assert texts(result.hits) == ["ddddddd", "bbbb", "eeee"]
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    assert [hit.score for hit in result.hits] == [7, 4, 4]
    assert [hit.candidate.rank for hit in result.hits if hit.candidate] == [4, 2, 5]
    assert texts(result.candidates) == TEXTS[:5]
    assert texts(result.ranked) == ["ddddddd", "bbbb", "eeee", "aa", "c"]
    assert (result.stage1, result.reranker, result.k, result.scored) == ("dense", "longest", 3, 5)
    assert [hit.probability for hit in result.hits] == [None] * 3


def test_ties_keep_the_order_of_passage_ids_whatever_stage_1_says() -> None:
    shelf = Shelf(["bb", "aa", "cc"])
    shelf.passages.reverse()
    result = Engine(shelf, Longest()).search("q")
    assert [hit.passage.id for hit in result.candidates] == ["0002", "0001", "0000"]
    assert [hit.passage.id for hit in result.hits] == ["0000", "0001", "0002"]


def test_without_a_reranker_the_hits_are_stage_1s() -> None:
    result = Engine(Shelf(TEXTS)).search("q", k=2)
    assert texts(result.hits) == ["aa", "bbbb"]
    assert [hit.candidate for hit in result.hits] == [None, None]
    assert (result.reranker, result.scored, result.timings.rerank) == ("none", 0, 0.0)
    assert len(result.candidates) == 6


def test_readings_give_tokens_spans_and_probabilities() -> None:
    result = Engine(Shelf(TEXTS), Reader()).search("q", k=2)
    assert [hit.reading for hit in result.hits] == [Reading(3, 5, 7, 0, 5), Reading(2, 5, 6, 0, 5)]
    assert [hit.probability for hit in result.hits] == [sigmoid(3), sigmoid(2)]
    assert result.truncated == 2


def test_a_score_that_is_no_logit_has_no_probability() -> None:
    result = Engine(Shelf(TEXTS), Reader(logits=False)).search("q", k=1)
    assert result.hits[0].probability is None
    assert result.hits[0].reading is not None


def test_times_are_those_of_the_stages() -> None:
    timings = Engine(Shelf(TEXTS), Longest()).search("q").timings
    parts = (timings.embed, timings.search, timings.rerank)
    assert all(part > 0 for part in parts)
    assert timings.total >= sum(parts)


def test_lexical_search_embeds_nothing() -> None:
    shelf = Shelf(TEXTS)
    result = Engine(shelf, stage1="lexical").search("q")
    assert (shelf.embedded, shelf.vectors) == ([], [None])
    assert result.stage1 == "lexical"
    Engine(shelf, stage1="hybrid").search("q")
    assert shelf.embedded == ["q"]


def test_where_and_candidates_reach_stage_1() -> None:
    shelf = Shelf(TEXTS, [{"lang": "en" if number % 2 else "de"} for number in range(6)])
    engine = Engine(shelf, Longest())
    result = engine.search("q", k=2, candidates=2, where={"lang": "en"})
    assert texts(result.candidates) == ["bbbb", "ddddddd"]
    assert texts(result.hits) == ["ddddddd", "bbbb"]


def test_fewer_passages_than_k_are_fine() -> None:
    result = Engine(Shelf(TEXTS[:2]), Longest()).search("q", k=3)
    assert texts(result.hits) == ["bbbb", "aa"]


def test_an_empty_index_gives_no_hits_and_no_call() -> None:
    reranker = Longest()
    result = Engine(Shelf([]), reranker).search("q")
    assert (result.hits, result.candidates, result.scored, reranker.calls) == ((), (), 0, [])


@pytest.mark.parametrize(
    ("k", "candidates", "says"),
    [
        (0, 20, r"k must be at least 1 \(and at most candidates, 20\), got 0"),
        (-2, 20, "got -2"),
        (21, 20, "k is 21, but stage 1 hands on only 20"),
        (6, 5, "k is 6, but stage 1 hands on only 5"),
        (True, 20, "k must be a whole number, got True"),
        (2.0, 20, "k must be a whole number, got 2.0"),
        (3, 0, "candidates must be at least 1, got 0"),
        (3, "5", "candidates must be a whole number, got '5'"),
    ],
)
def test_k_and_candidates_are_checked(k: object, candidates: object, says: str) -> None:
    shelf = Shelf(TEXTS)
    for call in (
        Engine(shelf).search,
        lambda *a, **b: Engine(shelf, Longest()).compare("q", k=k, candidates=candidates),
    ):
        with pytest.raises(InputError, match=says):
            call("q", k=k, candidates=candidates)  # type: ignore[operator]
    assert shelf.embedded == []


@pytest.mark.parametrize("query", ["", "  \n\t", None, 3, b"bytes"])
def test_a_query_must_be_text(query: object) -> None:
    with pytest.raises(QueryError):
        Engine(Shelf(TEXTS), Longest()).search(query)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(5, dtype=np.float32),
        np.zeros((6, 1), dtype=np.float32),
        np.zeros((1, 6), dtype=np.float32),
        np.float32(1),
        [0.1] * 7,
        ["x"] * 6,
        None,
        np.array([0, 1, math.nan, 3, 4, 5], dtype=np.float32),
        np.array([0, 1, math.inf, 3, 4, 5], dtype=np.float32),
    ],
)
def test_what_a_reranker_gives_is_checked(scores: object) -> None:
    with pytest.raises(ModelInvalidError, match="the re-ranker 'gives' gave"):
        Engine(Shelf(TEXTS), Gives(scores)).search("q")  # type: ignore[arg-type]


def test_plain_numbers_are_scores_too() -> None:
    result = Engine(Shelf(TEXTS), Gives([0, 5, 1, 2, 3, 4])).search("q", k=2)  # type: ignore[arg-type]
    assert texts(result.hits) == ["bbbb", "ffffff"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reranker": "minilm-l6"}, "a re-ranker has a name"),
        ({"reranker": object()}, "a re-ranker has a name"),
        ({"stage1": "sparse"}, "dense, lexical, hybrid, got 'sparse'"),
        ({"candidates": 0}, "candidates must be at least 1"),
    ],
)
def test_an_engine_checks_its_parts(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Engine(Shelf(TEXTS), **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="an engine searches an Index, got str"):
        Engine("my_index")  # type: ignore[arg-type]


# Comparing


def compared(k: int = 3) -> Comparison:
    return Engine(Shelf(TEXTS)).compare("q", [Longest(), Reader(), Gives([9, 8, 7, 6, 5, 4])], k)


def test_compare_searches_once_and_reranks_the_same_candidates() -> None:
    shelf, first, second = Shelf(TEXTS), Longest(), Longest()
    comparison = Engine(shelf).compare("q", [first, second])
    assert shelf.embedded == ["q"]
    assert len(shelf.vectors) == 1
    assert first.calls == second.calls == [TEXTS]
    assert texts(comparison.stage1.hits) == TEXTS[:3]
    assert comparison.stage1.reranker == "none"


def test_compare_says_how_each_hit_moved() -> None:
    longest, _, same = compared().passes
    assert texts(longest.result.hits) == ["ddddddd", "ffffff", "bbbb"]
    assert longest.moves == ("new", "new", "down 1")
    assert (longest.changed, longest.new_first) == (2, True)
    assert (same.moves, same.changed, same.new_first) == (("same", "same", "same"), 0, False)


def test_a_hit_from_within_the_first_k_moves_up() -> None:
    only = Engine(Shelf(TEXTS)).compare("q", [Longest()], k=6).passes[0]
    assert texts(only.result.hits) == ["ddddddd", "ffffff", "bbbb", "eeee", "aa", "c"]
    assert only.moves == ("up 3", "up 4", "down 1", "up 1", "down 4", "down 3")
    assert only.changed == 0
    assert only.new_first


def test_a_stage_1_hit_has_not_moved() -> None:
    assert move(Hit(Passage("a", "d", "t", 0, 1), 1.0, 2), k=3) == "same"


def test_compare_takes_the_engines_own_reranker() -> None:
    assert Engine(Shelf(TEXTS), Longest()).compare("q").passes[0].result.reranker == "longest"
    with pytest.raises(InputError, match="at least one re-ranker"):
        Engine(Shelf(TEXTS)).compare("q")
    with pytest.raises(InputError, match="a re-ranker has a name"):
        Engine(Shelf(TEXTS)).compare("q", ["minilm-l6"])  # type: ignore[list-item]


def test_totals_of_a_comparison_add_stage_1_and_the_rerankers_own() -> None:
    comparison = compared()
    for each in comparison.passes:
        timings = each.result.timings
        assert timings.embed == comparison.stage1.timings.embed
        assert timings.total == pytest.approx(comparison.stage1.timings.total + timings.rerank)


def test_summary_of_several_queries() -> None:
    summary = summarize([compared(), compared()])
    assert (summary.queries, summary.k) == (2, 3)
    longest, reader, same = summary.passes
    assert (longest.mean_changed, longest.changed_share, longest.new_first_share) == (2, 1, 1)
    assert (same.mean_changed, same.changed_share, same.new_first_share) == (0, 0, 0)
    assert reader.reranker == "reader"
    assert summary.embed_ms > 0
    overlaps = {pair.rerankers: pair.overlap for pair in summary.agreements}
    assert overlaps[("longest", "reader")] == 1
    assert overlaps[("longest", "gives")] == pytest.approx(1 / 3)
    assert len(overlaps) == 3


def test_summary_means_over_different_queries() -> None:
    engine = Engine(Shelf(TEXTS))
    mixed = [engine.compare("q", [Longest()]), Engine(Shelf(["aaa", "bb", "c"])).compare("q", [Longest()])]
    only = summarize(mixed).passes[0]
    assert (only.mean_changed, only.changed_share, only.new_first_share) == (1, 0.5, 0.5)


def test_summary_of_an_empty_index_agrees() -> None:
    summary = summarize([Engine(Shelf([])).compare("q", [Longest(), Reader()])])
    assert summary.agreements[0].overlap == 1
    assert summary.passes[0].new_first_share == 0


def test_summary_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(InputError, match="at least one query"):
        summarize([])
    with pytest.raises(InputError, match="different k"):
        summarize([compared(2), compared(3)])


# With a real index


TOWN = {
    "ferry": "The ferry leaves at seven in the morning. A ticket costs four crowns.",
    "bees": "The hives face south-east and are opened in April, when the willow is out.",
    "bakery": "Bread is baked on Mondays, rolls every day but Sunday.",
    "library": "Books are lent for three weeks; a late book costs one crown a week.",
    "garden": "Potatoes are planted when the apple trees flower.",
}


def documents() -> list[Document]:
    return [Document(name, text, {"kind": "place"}) for name, text in TOWN.items()]


@pytest.mark.parametrize("stage1", ["dense", "lexical", "hybrid"])
def test_an_engine_over_a_real_index(tmp_path: Path, stage1: str) -> None:
    with Index.open(tmp_path, embedder=HashEmbedder()) as index:
        index.add(documents())
        result = Engine(index, Longest(), stage1=stage1).search("costs a ticket", k=1)
        assert result.hits[0].score == max(len(hit.passage.text) for hit in result.candidates)
        assert "ferry" in {hit.passage.document_id for hit in result.candidates}
        before = result.hits[0].candidate
        assert before is not None
        assert (before.distance is not None) == (stage1 == "dense")
        assert len(Engine(index).search("costs", k=3, where={"kind": "place"}).hits) == 3


def test_an_engine_over_an_empty_index(tmp_path: Path) -> None:
    reranker = Longest()
    with Index.open(tmp_path, embedder=HashEmbedder()) as index:
        assert Engine(index, reranker).search("anything").hits == ()
        assert reranker.calls == []


@pytest.mark.parametrize("name", ["late-interaction", "minilm-l6"])
def test_both_stages_with_real_weights(tmp_path: Path, name: str) -> None:
    with Index.open(tmp_path) as index:
        index.add(documents())
        engine = Engine(index, load_reranker(name))
        result = engine.search("What does it cost to return a book too late?", k=2)
        assert result.hits[0].passage.document_id == "library"
        assert (result.scored, result.truncated, result.reranker) == (5, 0, name)
        texts = [hit.passage.text for hit in result.ranked]
        again = load_reranker(name).score(result.query, texts)
        assert [hit.score for hit in result.ranked] == pytest.approx(again.tolist(), abs=1e-3)
        assert (result.hits[0].probability is None) == (name == "late-interaction")


def test_a_calibration_gives_the_probabilities_of_its_reranker_only() -> None:
    def half(score: float) -> float:
        return 0.5 + score / 100

    calibrated = Engine(Shelf(TEXTS), Longest(), calibrations={"longest": half}).search("q", k=2)
    assert calibrated.calibrated
    assert [hit.probability for hit in calibrated.hits] == [half(7), half(6)]
    logits = Engine(Shelf(TEXTS), Reader(), calibrations={"longest": half}).search("q", k=2)
    assert not logits.calibrated
    assert [hit.probability for hit in logits.hits] == [sigmoid(3), sigmoid(2)]
    both = Engine(Shelf(TEXTS), calibrations={"reader": half}).compare("q", [Longest(), Reader()], k=1)
    assert [each.result.hits[0].probability for each in both.passes] == [None, half(3)]
    assert [each.result.calibrated for each in both.passes] == [False, True]
