"""What every embedder must do."""

from __future__ import annotations

import numpy as np

from ..types import Embedder
from .refusals import refused

__all__ = ["EmbedderContract"]

_TEXTS = [
    "The kettle is made of stainless steel and holds two litres.",
    "Interest rates rose for the third time this year.",
    "A short one",
    "Passagen können Umlaute, 漢字 und emoji 🎈 enthalten.",
    "word " * 400,
]


class EmbedderContract:
    """Subclass it in a test module, say how to make an embedder, and pytest runs the suite.

    Attributes:
        batch_tolerance: how far a vector may move with what is embedded beside it; int8 models need some.
    """

    batch_tolerance = 1e-5

    def make_embedder(self) -> Embedder:
        """Return the embedder; called for each test, so let it be cheap or keep it."""
        raise NotImplementedError("say in your subclass how to make an embedder")

    def test_meets_the_protocol(self) -> None:
        embedder = self.make_embedder()
        assert isinstance(embedder, Embedder)
        assert isinstance(embedder.name, str)
        assert embedder.name
        assert embedder.dimension >= 1

    def test_gives_one_unit_vector_a_text(self) -> None:
        embedder = self.make_embedder()
        for embed in (embedder.embed_passages, embedder.embed_queries):
            vectors = embed(_TEXTS)
            assert vectors.shape == (len(_TEXTS), embedder.dimension)
            assert vectors.dtype == np.float32
            assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    def test_no_texts_give_no_vectors(self) -> None:
        embedder = self.make_embedder()
        assert embedder.embed_passages([]).shape == (0, embedder.dimension)
        assert embedder.embed_queries([]).shape == (0, embedder.dimension)

    def test_the_same_text_gives_the_same_vector(self) -> None:
        embedder = self.make_embedder()
        assert np.array_equal(embedder.embed_passages(_TEXTS), embedder.embed_passages(_TEXTS))

    def test_order_and_neighbours_do_not_matter(self) -> None:
        embedder = self.make_embedder()
        together = embedder.embed_passages(_TEXTS)
        backwards = embedder.embed_passages(_TEXTS[::-1])[::-1]
        alone = np.concatenate([embedder.embed_passages([text]) for text in _TEXTS])
        for other in (backwards, alone):
            cosines = np.sum(together * other, axis=1)
            assert np.all(1 - cosines <= self.batch_tolerance), cosines

    def test_a_text_is_closer_to_itself_than_to_others(self) -> None:
        embedder = self.make_embedder()
        cosines = embedder.embed_queries(_TEXTS[:4]) @ embedder.embed_passages(_TEXTS[:4]).T
        assert np.array_equal(np.argmax(cosines, axis=1), np.arange(4))

    def test_odd_texts_still_give_unit_vectors(self) -> None:
        embedder = self.make_embedder()
        vectors = embedder.embed_passages(["", " ", "\n\t", "\ufffd", "\u200b", "a" * 5000])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    def test_refuses_one_text_in_place_of_a_list(self) -> None:
        embedder = self.make_embedder()
        with refused(ValueError, "a string in place of a list"):
            embedder.embed_passages("abc")
