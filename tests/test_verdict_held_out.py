from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from secondpass.errors import InputError
from secondpass.evaluation.values import Setting
from secondpass.verdict.decide import judged_kind, settled, unjudged_kind, upper_share
from secondpass.verdict.held_out import baseline, challenger, halves, held_out, interval, t_quantile
from secondpass.verdict.table import QualityTable, pareto

STAGE1S = ("dense", "lexical", "hybrid")
DEPTHS = (5, 10, 20, 50, 100)
SETTINGS = tuple(Setting(stage1, "none", 100) for stage1 in STAGE1S) + tuple(
    Setting(stage1, name, depth) for stage1 in STAGE1S for name in ("x", "y") for depth in DEPTHS
)
LATENCY = np.array([6.0, 2.0, 7.0] + [5 + 3.0 * each.candidates for each in SETTINGS[3:]])


def table(quality: np.ndarray) -> QualityTable:
    return QualityTable(SETTINGS, quality, LATENCY)


def simulated(seed: int, queries: int, gain: float, alike: float = 0.7) -> QualityTable:
    """Re-ranking gains ``gain`` at any setting, but for luck, of which a share ``alike`` is common to all."""
    generator = np.random.default_rng(seed)
    easy = generator.beta(2, 1.2, size=queries)
    luck = generator.normal(0, 0.2, size=(7, queries))
    quality = np.empty((len(SETTINGS), queries))
    for row, setting in enumerate(SETTINGS):
        if setting.reranker == "none":
            quality[row] = easy + generator.normal(0, 0.12, size=queries)
            continue
        family = STAGE1S.index(setting.stage1) + (3 if setting.reranker == "y" else 0)
        own = generator.normal(0, 0.2, size=queries)
        shared, apart = np.sqrt(alike) * luck[6], np.sqrt(1 - alike) * (0.9 * luck[family] + 0.43 * own)
        quality[row] = easy + gain + shared + apart
    return table(quality)


def naive_says_use(given: QualityTable) -> bool:
    """What one would do without held-out queries: the best against the best, with a plain interval."""
    means = given.quality.mean(axis=1)
    best = given.reranked[np.argmax(means[given.reranked])]
    gains = given.quality[best] - given.quality[baseline(given)]
    return bool(gains.mean() - 1.96 * gains.std(ddof=1) / np.sqrt(len(gains)) > 0)


@pytest.mark.parametrize(("queries", "alike"), [(20, 0.0), (50, 0.0), (50, 0.9)])
def test_luck_among_thirty_settings_is_no_gain(queries: int, alike: float) -> None:
    cases = [simulated(seed, queries, 0.0, alike) for seed in range(200)]
    found = [held_out(each, 0.01, splits=20) for each in cases]
    assert np.mean([each.low > 0 for each in found]) <= 0.04
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.93
    assert abs(np.mean([each.difference for each in found])) < 0.006
    if alike < 0.5:  # judged where the best was picked, the same cases look like gains
        assert np.mean([naive_says_use(each) for each in cases]) > 0.08


def test_a_gain_that_is_there_is_found_and_not_overstated() -> None:
    found = [held_out(simulated(seed, 100, 0.1), 0.01, splits=20) for seed in range(60)]
    assert np.mean([each.low > 0 for each in found]) > 0.9
    assert np.mean([each.difference for each in found]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([each.low <= 0.1 <= each.high for each in found]) >= 0.88


def test_the_same_seed_gives_the_same_figures() -> None:
    given_table = simulated(3, 21, 0.05)
    assert held_out(given_table, 0.01, seed=5) == held_out(given_table, 0.01, seed=5)
    assert held_out(given_table, 0.01, seed=5) != held_out(given_table, 0.01, seed=6)


def test_what_was_picked_adds_up() -> None:
    found = held_out(simulated(1, 30, 0.05), 0.01)
    assert sum(found.picked.values()) == pytest.approx(1)
    assert set(found.picked) <= {each.name for each in SETTINGS}
    assert found.wins + found.losses + found.ties == found.queries == 30


def test_the_fastest_of_the_good_ones_is_the_challenger() -> None:
    quality = np.full((len(SETTINGS), 6), 0.5)
    deep = SETTINGS.index(Setting("dense", "x", 100))
    shallow = SETTINGS.index(Setting("dense", "x", 10))
    quality[deep], quality[shallow] = 0.709, 0.7
    assert challenger(table(quality), 0.01) == shallow
    assert challenger(table(quality), 0.005) == deep


def test_the_best_stage_1_is_the_baseline_and_the_faster_one_of_equals() -> None:
    quality = np.full((len(SETTINGS), 6), 0.5)
    assert SETTINGS[baseline(table(quality))].name == "lexical"
    quality[0] = 0.6
    assert SETTINGS[baseline(table(quality))].name == "dense"


@given(st.integers(4, 90), st.integers(0, 5))
def test_halves_are_halves(queries: int, seed: int) -> None:
    for one, other in halves(queries, 3, seed):
        assert sorted([*one, *other]) == list(range(queries))
        assert 0 <= len(other) - len(one) <= 1


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4"):
        held_out(table(np.zeros((len(SETTINGS), 3))), 0.01)


def test_a_table_needs_both_kinds_of_settings() -> None:
    with pytest.raises(InputError, match="stage 1 alone"):
        QualityTable(SETTINGS[:3], np.zeros((3, 5)), LATENCY[:3])


@pytest.mark.parametrize("freedom", [3, 4, 5, 9, 20, 49, 299])
def test_students_t(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.01)


def test_the_interval_of_one_split_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.3, size=(1, 40))
    mean, low, high = interval(values)
    expected = stats.t.interval(0.95, 39, loc=values.mean(), scale=stats.sem(values[0]))
    assert (mean, low, high) == pytest.approx((values.mean(), *expected), abs=1e-4)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.sampled_from([1.0, 2.0, 3.0, 5.0])),
        min_size=1,
        max_size=12,
    )
)
def test_the_frontier_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    quality, latency = (np.array(column) for column in zip(*points, strict=True))
    front = pareto(quality, latency)
    for (q, t), on_it in zip(points, front, strict=True):
        beaten = any(a >= q and b <= t and (a, b) != (q, t) for a, b in points)
        assert on_it is not beaten
    assert any(front)


def figures(difference: float, low: float, high: float):
    from secondpass.verdict import HeldOut

    return HeldOut(difference, low, high, 1, 1, 1, 3, 1, {}, None)


@pytest.mark.parametrize(
    ("difference", "low", "high", "kind", "certain"),
    [
        (0.06, 0.03, 0.09, "use", True),
        (0.06, -0.01, 0.13, "unclear", False),
        (0.002, -0.004, 0.008, "skip", True),
        (0.002, -0.03, 0.034, "skip", False),
        (-0.05, -0.08, -0.02, "skip", True),
        (0.006, 0.002, 0.009, "skip", True),
        (0.01, 0.001, 0.019, "use", True),
    ],
)
def test_the_rule(difference: float, low: float, high: float, kind: str, certain: bool) -> None:
    assert judged_kind(figures(difference, low, high), 0.01) == kind
    assert settled(figures(difference, low, high), 0.01) is certain


def test_how_many_queries_would_settle_it() -> None:
    found = held_out(simulated(4, 20, 0.03), 0.01)
    assert found.needed is None or found.needed > 20
    assert held_out(simulated(2, 400, 0.2), 0.01).needed is None


def test_without_judgments_only_what_hardly_changes_is_decided() -> None:
    assert unjudged_kind(0, 50) == "skip"
    assert unjudged_kind(2, 100) == "skip"
    assert unjudged_kind(0, 20) == "unjudged"
    assert unjudged_kind(41, 50) == "unjudged"


@pytest.mark.parametrize(("events", "queries"), [(0, 50), (3, 50), (10, 20), (50, 50)])
def test_the_upper_share_is_wilsons(events: int, queries: int) -> None:
    expected = stats.binomtest(events, queries).proportion_ci(0.95, method="wilson").high
    assert upper_share(events, queries) == pytest.approx(expected)
