"""The trial that adds the rare words' coverage to a logit."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the recipe needs the extra `train`")

from training.rare_words import Asked, coverage, words_of

IDF = {"who": 0.5, "leads": 4.0, "buyende": 8.0}


def test_coverage_counts_each_rare_word_by_its_idf() -> None:
    both = words_of("Who leads? Buyende is a town.")
    assert coverage(IDF, both, 0.0) == 1.0
    assert coverage(IDF, {"buyende"}, 0.0) == pytest.approx(8 / 12.5)
    assert coverage(IDF, {"buyende"}, 0.5) == pytest.approx(8 / 12)
    assert coverage(IDF, {"leads", "who"}, 0.6) == 0.0


def test_a_query_without_words_is_covered_by_nothing() -> None:
    assert coverage({}, {"anything"}, 0.6) == 0.0
    assert coverage({"everywhere": -0.1}, {"everywhere"}, 0.0) == 0.0


def test_the_name_comes_before_what_fits_all_but_the_name() -> None:
    row = Asked(
        np.array([1.0, 0.5]),
        np.array([0.0, 1.0]),
        1,
        IDF,
        [words_of("who leads Jamaica"), words_of("Buyende")],
    )
    assert row.ndcg(0.0, 0.6) == pytest.approx(1 / np.log2(3))
    assert row.ndcg(1.0, 0.6) == 1.0
