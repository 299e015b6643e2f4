"""What every re-ranker must do."""

from __future__ import annotations

import numpy as np

from ..types import Reading, Reranker, SupportsReadings

__all__ = ["RerankerContract"]

_QUERY = "What is the kettle made of?"
_PASSAGES = [
    "Interest rates rose for the third time this year.",
    "The kettle is made of stainless steel and holds two litres.",
    "Die Brücke wurde 1931 gebaut; 漢字; 🎈.",
    "A short one",
]


class RerankerContract:
    """Subclass it in a test module, say how to make a re-ranker, and pytest runs the suite.

    Attributes:
        batch_tolerance: how far a score may move with what is scored beside it; int8 models need some.
    """

    batch_tolerance = 1e-4

    def make_reranker(self) -> Reranker:
        """Return the re-ranker; called for each test, so let it be cheap or keep it."""
        raise NotImplementedError("say in your subclass how to make a re-ranker")

    def test_meets_the_protocol(self) -> None:
        reranker = self.make_reranker()
        assert isinstance(reranker, Reranker)
        assert isinstance(reranker.name, str)
        assert reranker.name

    def test_gives_one_finite_score_a_passage(self) -> None:
        scores = self.make_reranker().score(_QUERY, _PASSAGES)
        assert scores.shape == (len(_PASSAGES),)
        assert scores.dtype == np.float32
        assert np.all(np.isfinite(scores))

    def test_no_passages_give_no_scores(self) -> None:
        assert self.make_reranker().score(_QUERY, []).shape == (0,)

    def test_the_same_input_gives_the_same_scores(self) -> None:
        reranker = self.make_reranker()
        assert np.array_equal(reranker.score(_QUERY, _PASSAGES), reranker.score(_QUERY, _PASSAGES))

    def test_scores_stand_in_input_order(self) -> None:
        reranker = self.make_reranker()
        scores = reranker.score(_QUERY, _PASSAGES)
        backwards = reranker.score(_QUERY, _PASSAGES[::-1])[::-1]
        alone = np.concatenate([reranker.score(_QUERY, [passage]) for passage in _PASSAGES])
        assert np.allclose(scores, backwards, atol=self.batch_tolerance)
        assert np.allclose(scores, alone, atol=self.batch_tolerance)

    def test_a_passage_given_twice_scores_the_same(self) -> None:
        first, _, again = self.make_reranker().score(_QUERY, [_PASSAGES[1], _PASSAGES[0], _PASSAGES[1]])
        assert abs(first - again) <= self.batch_tolerance

    def test_odd_passages_are_scored(self) -> None:
        odd = ["", " ", "\ufffd", "word " * 3000, "a" * 3000]
        assert np.all(np.isfinite(self.make_reranker().score(_QUERY, odd)))

    def test_readings_agree_with_scores(self) -> None:
        """Only for re-rankers that tell what they read."""
        reranker = self.make_reranker()
        if not isinstance(reranker, SupportsReadings):
            return
        passages = [*_PASSAGES, "The kettle. " * 400]
        readings = reranker.read(_QUERY, passages)
        assert isinstance(reranker.logits, bool)
        assert all(isinstance(reading, Reading) for reading in readings)
        scores = np.array([reading.score for reading in readings])
        assert np.allclose(scores, reranker.score(_QUERY, passages), atol=self.batch_tolerance)
        for reading, passage in zip(readings, passages, strict=True):
            assert 0 <= reading.start <= reading.end <= len(passage)
            assert 0 < reading.tokens_seen <= reading.tokens_total
        assert reranker.read(_QUERY, []) == []
