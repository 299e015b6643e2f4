from __future__ import annotations

import numpy as np
import pytest

from secondpass.evaluation.values import Setting, Trial
from secondpass.gating import FEATURES
from secondpass.verdict.changes import agreements, change, first, order_changed, overlap
from secondpass.verdict.gate_fit import GateData, fit_gate, gate_data, gate_receipt

SETTING = Setting("dense", "x", 4)


def trial(scores: list[float], read: dict[str, list[float]], key: str = "1") -> Trial:
    ids = tuple(f"p{place}" for place in range(len(scores)))
    reranked = {name: tuple(values) for name, values in read.items()}
    return Trial(key, "which", "dense", ids, ids, tuple(scores), reranked, 1.0)


def test_the_first_hits_of_a_setting() -> None:
    given = trial([0.9, 0.8, 0.7, 0.6], {"x": [1, 2, 3, 9]})
    assert first(given, Setting("dense", "none", 4), 2) == ("p0", "p1")
    assert first(given, SETTING, 2) == ("p3", "p2")
    assert first(given, Setting("dense", "x", 3), 2) == ("p2", "p1")
    assert first(given, Setting("dense", "x", 1), 3) == ("p0", "p1", "p2")


def test_ties_break_by_id_as_everywhere() -> None:
    assert first(trial([0.9, 0.8, 0.7], {"x": [1, 1, 1]}), Setting("dense", "x", 3), 2) == ("p0", "p1")


def test_what_changes() -> None:
    same = trial([0.9, 0.8, 0.7, 0.6], {"x": [9, 8, 1, 0]})
    swapped = trial([0.9, 0.8, 0.7, 0.6], {"x": [8, 9, 1, 0]})
    new = trial([0.9, 0.8, 0.7, 0.6], {"x": [0, 1, 8, 9]})
    found = change([same, swapped, new], SETTING, 2)
    assert found.changed == pytest.approx(2 / 3)
    assert found.changed_share == pytest.approx(1 / 3)
    assert found.new_first_share == pytest.approx(2 / 3)
    assert found.came_from == pytest.approx((1 + 2 + 2 + 1 + 4 + 3) / 6)
    assert found.margin == pytest.approx(1 / np.std([9, 8, 1, 0]))
    assert [order_changed(each, SETTING, 2) for each in (same, swapped, new)] == [False, True, True]


def test_a_query_that_finds_nothing_changes_nothing() -> None:
    found = change([trial([], {"x": []})], SETTING, 3)
    assert (found.changed, found.changed_share, found.new_first_share, found.margin) == (0, 0, 0, 0)


def test_agreement_of_re_rankers() -> None:
    given = trial([0.9, 0.8, 0.7, 0.6], {"x": [9, 8, 1, 0], "y": [9, 0, 1, 8], "z": [0, 1, 8, 9]})
    found = agreements([given], ("x", "y", "z"), 4, 2)
    assert {each.rerankers: each.overlap for each in found} == {
        ("x", "y"): 0.5,
        ("x", "z"): 0.0,
        ("y", "z"): 0.5,
    }
    assert overlap((), ()) == 1.0


def data(margin: list[float], gains: list[float] | None, moved: list[float], allowed: float) -> GateData:
    features = {name: np.zeros(len(moved)) for name in FEATURES} | {"margin": np.array(margin)}
    return GateData(SETTING, features, None if gains is None else np.array(gains), np.array(moved), allowed)


def test_the_gate_skips_as_far_as_the_allowed_harm_goes() -> None:
    found = fit_gate(data([0.9, 0.7, 0.5, 0.1], [0.0, 0.0, 0.02, 0.5], [0, 0, 0.3, 1], 0.005))
    assert found is not None
    assert (found.feature, found.threshold) == ("margin", pytest.approx(0.3))
    stricter = fit_gate(data([0.9, 0.7, 0.5, 0.1], [0.0, 0.0, 0.02, 0.5], [0, 0, 0.3, 1], 0.004))
    assert stricter is not None
    assert stricter.threshold == pytest.approx(0.6)


def test_equal_scores_are_not_torn_apart() -> None:
    found = fit_gate(data([0.9, 0.5, 0.5, 0.1], [0.0, 0.0, 0.4, 0.4], [0, 0, 1, 1], 0.0))
    assert found is not None
    assert found.threshold == pytest.approx(0.7)


def test_harm_that_skipping_avoids_is_no_credit() -> None:
    """Skipping the first query would gain 0.5; the second one's loss is still too much."""
    found = fit_gate(data([0.9, 0.5, 0.1, 0.0], [-0.5, 0.4, 0.4, 0.4], [1, 1, 1, 1], 0.01))
    assert found is not None
    assert found.threshold == pytest.approx(0.7)


def test_no_rule_where_every_skip_hurts() -> None:
    assert fit_gate(data([0.9, 0.5, 0.1], [0.3, 0.3, 0.3], [1, 1, 1], 0.01)) is None


def told(queries: int, seed: int, telling: bool) -> list[Trial]:
    """Trials in which a wide margin means that stage 2 agrees, or means nothing."""
    generator = np.random.default_rng(seed)
    made = []
    for number in range(queries):
        sure = bool(generator.random() < 0.5)
        wide = sure if telling else bool(generator.random() < 0.5)
        margin = generator.uniform(0.3, 0.5) if wide else generator.uniform(0.0, 0.2)
        scores = [0.5 + margin, 0.5, 0.4, 0.3]
        made.append(trial(scores, {"x": [9, 2, 1, 0] if sure else [0, 1, 2, 9]}, str(number)))
    return made


def gains_of(trials: list[Trial]) -> np.ndarray:
    return np.array([0.4 if order_changed(each, SETTING, 1) else 0.0 for each in trials])


def test_a_telling_margin_gives_a_gate_that_holds_on_other_queries() -> None:
    trials = told(80, 1, telling=True)
    receipt, note = gate_receipt(gate_data(trials, SETTING, 1, gains_of(trials), 0.01), 1, 100.0, 90.0)
    assert receipt is not None, note
    assert note == ""
    assert receipt.gate.feature in ("margin", "top")
    sure = np.mean([not order_changed(each, SETTING, 1) for each in trials])
    assert receipt.skipped == pytest.approx(sure, abs=0.05)
    assert receipt.saved_ms == pytest.approx(90 * receipt.skipped)
    assert receipt.lost == pytest.approx(0, abs=0.005)
    assert receipt.lost_at_random == pytest.approx(receipt.skipped * gains_of(trials).mean())
    assert receipt.unchanged > 0.97
    fresh = told(200, 2, telling=True)
    skipped = [receipt.gate.skips(each.scores, 1) for each in fresh]
    lost = gains_of(fresh)[skipped].sum() / len(fresh)
    assert np.mean(skipped) > 0.3
    assert lost < 0.01


def test_a_margin_that_tells_nothing_gives_no_gate() -> None:
    trials = told(80, 3, telling=False)
    receipt, note = gate_receipt(gate_data(trials, SETTING, 1, gains_of(trials), 0.01), 1, 100.0, 90.0)
    assert receipt is None
    assert note.startswith("no gate")


def test_without_judgments_the_gate_keeps_the_first_hits() -> None:
    trials = told(80, 4, telling=True)
    receipt, note = gate_receipt(gate_data(trials, SETTING, 1, None, 0.01), 1, 100.0, 90.0)
    assert receipt is not None, note
    assert (receipt.lost, receipt.low, receipt.lost_at_random) == (None, None, None)
    assert receipt.unchanged > 0.97


def test_three_queries_give_no_gate() -> None:
    receipt, note = gate_receipt(gate_data(told(3, 5, telling=True), SETTING, 1, None, 0.01), 1, 100.0, 90.0)
    assert receipt is None
    assert "3 queries" in note


def test_without_judgments_a_gate_that_mostly_loses_hits_is_none() -> None:
    """Little moves over all, but something does in half of the queries that would be skipped."""
    generator = np.random.default_rng(6)
    margin = generator.uniform(0, 1, size=100)
    moved = np.where(margin > 0.8, np.where(np.arange(100) % 2, 0.15, 0.0), 1.0)
    features = {name: np.zeros(100) for name in FEATURES} | {"margin": margin}
    receipt, note = gate_receipt(GateData(SETTING, features, None, moved, 0.02), 3, 100.0, 90.0)
    assert receipt is None
    assert "it changes the first 3" in note
