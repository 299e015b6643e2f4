from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondpass.engine import Engine
from secondpass.errors import InputError
from secondpass.gating import FEATURES, Gate, feature_value, parse_gate
from secondpass.types import Hit, Passage


class Shelf:
    """A stage 1 that gives passages with the scores it was told."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = scores

    def embed_query(self, query: str) -> np.ndarray:
        return np.ones(4, dtype=np.float32) / 2

    def candidates(self, query, vector, k, stage1, where) -> list[Hit]:
        return [
            Hit(Passage(f"{place:02}", "doc", f"text {place}", 0, 6), score, place)
            for place, score in enumerate(self.scores[:k], start=1)
        ]


class Backwards:
    """Likes best what stage 1 likes least."""

    name = "backwards"

    def __init__(self) -> None:
        self.asked = 0

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.asked += 1
        return np.arange(len(passages), dtype=np.float32)


def test_features_of_a_list_of_scores() -> None:
    scores = [0.9, 0.7, 0.65, 0.3]
    assert feature_value("margin", scores, 2) == pytest.approx(0.2)
    assert feature_value("top", scores, 2) == 0.9
    assert feature_value("lead", scores, 2) == pytest.approx(0.05)
    assert feature_value("lead", scores, 3) == pytest.approx(0.35)


@pytest.mark.parametrize("feature", FEATURES)
def test_where_nothing_can_be_overtaken_the_feature_is_infinite(feature: str) -> None:
    assert feature_value(feature, [], 3) == math.inf
    assert feature_value("margin", [0.4], 1) == math.inf
    assert feature_value("lead", [0.4, 0.3], 2) == math.inf


def test_the_gate_skips_from_its_threshold_on() -> None:
    gate = Gate("backwards", "dense", "margin", 0.25)
    assert gate.skips([0.75, 0.5], 1)
    assert not gate.skips([0.75, 0.625], 1)


@given(
    st.sampled_from(FEATURES),
    st.floats(-100, 100).map(lambda value: float(f"{value:.6g}")),
    st.sampled_from(["minilm-l6", "my models/a b unless c", "./folder"]),
)
def test_a_gate_reads_back_as_it_was_written(feature: str, threshold: float, reranker: str) -> None:
    gate = Gate(reranker, "hybrid", feature, threshold)
    assert parse_gate(str(gate)) == gate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "minilm-l6",
        "minilm-l6 unless dense margin > 0.1",
        "minilm-l6 unless dense margin >= much",
        "minilm-l6 unless dense margin >= nan",
        "minilm-l6 unless sparse margin >= 0.1",
        "minilm-l6 unless dense width >= 0.1",
        " unless dense margin >= 0.1",
        "none unless dense margin >= 0.1",
    ],
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_gate(text)


def test_the_engine_asks_stage_2_only_below_the_threshold() -> None:
    gate = Gate("backwards", "dense", "margin", 0.25)
    clear, close = Backwards(), Backwards()
    skipped = Engine(Shelf([0.9, 0.5, 0.4]), clear, 3, gate=gate).search("which", 2)
    assert (skipped.gated, skipped.reranker, skipped.scored, clear.asked) == (True, "none", 0, 0)
    assert [hit.passage.id for hit in skipped.hits] == ["01", "02"]
    asked = Engine(Shelf([0.6, 0.5, 0.4]), close, 3, gate=gate).search("which", 2)
    assert (asked.gated, asked.reranker, asked.scored, close.asked) == (False, "backwards", 3, 1)
    assert [hit.passage.id for hit in asked.hits] == ["03", "02"]


def test_comparing_asks_stage_2_whatever_the_gate_says() -> None:
    gate = Gate("backwards", "dense", "margin", 0.0)
    compared = Engine(Shelf([0.9, 0.5]), Backwards(), 2, gate=gate).compare("which", k=1)
    assert compared.passes[0].result.scored == 2


def test_a_gate_of_another_stage_1_is_refused() -> None:
    with pytest.raises(InputError, match="fitted on lexical scores"):
        Engine(Shelf([0.9]), Backwards(), 1, gate=Gate("backwards", "lexical", "top", 3.0))
    with pytest.raises(InputError, match="gate must be a Gate"):
        Engine(Shelf([0.9]), Backwards(), 1, gate="dense margin >= 0.1")
