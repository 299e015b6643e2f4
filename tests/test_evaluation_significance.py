"""The randomisation test and the bootstrap against scipy, exactly where both count everything."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from secondpass.errors import InputError
from secondpass.evaluation.significance import EXACT_QUERIES, RESAMPLES, paired

values = st.sampled_from([0.0, 0.0, 0.25, 1 / 3, 0.5, 0.6309297535714575, 1.0])
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=9)


def _scipy_p(difference: np.ndarray, **how) -> float:
    return scipy.stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", vectorized=True, **how
    ).pvalue


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_few_queries_are_counted_out_as_scipy_does(given_pairs):
    ours, theirs = zip(*given_pairs, strict=True)
    difference = np.subtract(ours, theirs)
    found = paired(ours, theirs)
    if not difference.any():  # scipy leaves this one to chance
        assert found.p == 1.0
        return
    assert found.p == pytest.approx(_scipy_p(difference, n_resamples=np.inf), abs=1e-12)
    assert (found.wins, found.losses, found.ties) == tuple(
        int(count.sum()) for count in (difference > 0, difference < 0, difference == 0)
    )


@pytest.mark.parametrize(("queries", "shift"), [(30, 0.05), (100, 0.03), (100, 0.06), (400, 0.0)])
def test_many_queries_agree_with_scipy_within_chance(queries, shift):
    generator = np.random.default_rng(queries)
    theirs = generator.random(queries)
    ours = np.clip(theirs + generator.normal(shift, 0.2, queries), 0, 1)
    found = paired(ours.tolist(), theirs.tolist(), seed=3)
    expected = _scipy_p(ours - theirs, n_resamples=9999, rng=np.random.default_rng(5))
    # Both draw: the difference of two shares has this standard deviation at most.
    chance = np.sqrt(2 * max(expected * (1 - expected), 1e-4) / RESAMPLES)
    assert found.p == pytest.approx(expected, abs=4 * chance)
    assert found.difference == pytest.approx(float(np.mean(ours - theirs)), abs=1e-12)


@pytest.mark.parametrize("queries", [5, 30, 300])
def test_the_interval_agrees_with_scipy(queries):
    generator = np.random.default_rng(queries)
    difference = generator.normal(0.1, 0.3, queries)
    found = paired(difference.tolist(), [0.0] * queries, seed=1)
    theirs = scipy.stats.bootstrap(
        (difference,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_exact_and_drawn_meet_at_the_boundary():
    """One query more and the count becomes a draw: the same data, padded with the smallest difference."""
    generator = np.random.default_rng(0)
    difference = generator.normal(0.1, 0.2, EXACT_QUERIES)
    exact = paired(difference.tolist(), [0.0] * EXACT_QUERIES).p
    drawn = paired([*difference.tolist(), 1e-6], [0.0] * (EXACT_QUERIES + 1)).p
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / RESAMPLES))
    assert exact == pytest.approx(_scipy_p(difference, n_resamples=np.inf), abs=1e-12)


def test_the_same_seed_gives_the_same_numbers_and_sides_mirror():
    generator = np.random.default_rng(8)
    ours, theirs = generator.random(60).tolist(), generator.random(60).tolist()
    found = paired(ours, theirs, seed=4)
    assert found == paired(ours, theirs, seed=4)
    mirrored = paired(theirs, ours, seed=4)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert (mirrored.wins, mirrored.losses, mirrored.p) == (found.losses, found.wins, found.p)


def test_false_alarms_come_as_often_as_promised():
    """Where nothing differs, p <= 0.05 comes in about one of twenty experiments (400 of them here)."""
    generator = np.random.default_rng(11)
    alarms = 0
    for _ in range(400):
        ours, theirs = generator.random((2, 12)).round(2)
        alarms += paired(ours.tolist(), theirs.tolist()).p <= 0.05
    assert 7 <= alarms <= 36  # binomial(400, 0.05): mean 20, standard deviation 4.4


def test_p_is_never_0():
    assert paired([1.0] * 200, [0.0] * 200).p == pytest.approx(1 / (RESAMPLES + 1))


def test_equal_and_single_queries():
    same = paired([0.2, 0.4], [0.2, 0.4])
    assert (same.difference, same.low, same.high, same.p, same.ties) == (0.0, 0.0, 0.0, 1.0, 2)
    one = paired([0.5], [0.25])
    assert (one.difference, one.low, one.high, one.p, one.wins) == (0.25, 0.25, 0.25, 1.0, 1)


def test_a_difference_in_the_last_bits_is_a_tie():
    assert paired([0.1 + 0.2], [0.3]).ties == 1


def test_many_queries_take_bounded_memory():
    import tracemalloc

    generator = np.random.default_rng(0)
    ours, theirs = generator.random(20_000).tolist(), generator.random(20_000).tolist()
    tracemalloc.start()
    try:
        paired(ours[:5000], theirs[:5000])
        assert tracemalloc.get_traced_memory()[1] < 150e6  # all at once would be 400 MB and more
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ([], [], "at least one query"),
        ([1.0], [1.0, 2.0], "one value a query"),
        ([float("nan")], [1.0], "finite"),
        ([1.0], [float("inf")], "finite"),
        ([[1.0]], [[1.0]], "one value a query"),
    ],
)
def test_what_cannot_be_compared_is_refused(ours, theirs, says):
    with pytest.raises(InputError, match=says):
        paired(ours, theirs)
