"""Telling models apart by what they do: how they score a few fixed pairs."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Reranker

__all__ = ["PROBES", "probe", "same_model"]

PROBES = {
    "What is the kettle made of?": (
        "The kettle is made of stainless steel and holds two litres.",
        "The kettle stands on the stove and is filled every morning.",
        "Stainless steel was first made in 1913.",
        "Interest rates rose for the third time this year.",
    ),
    "when does the last ferry leave": (
        "The last ferry to the island leaves at nine in the evening.",
        "Ferries are painted every spring before the season begins.",
        "The last train home was full.",
        "list.sort(reverse=True) sorts the list in place, largest first.",
    ),
}
"""Queries with passages that answer them, are about the same, share a word, or share nothing."""

TOLERANCE = 0.05
"""How far a probe's score may move, as a share of the spread of all. Measured for minilm-l6: in float32
instead of 8 bits, or in 8 bits by another runtime, by up to 0.027. Other weights move some of
them further."""


def probe(reranker: Reranker) -> tuple[float, ...]:
    """Return the re-ranker's score of each probe; by these it is known again, whatever its name or files."""
    return tuple(
        float(score) for query, passages in PROBES.items() for score in reranker.score(query, passages)
    )


def same_model(known: Sequence[float], found: Sequence[float]) -> bool:
    """Whether two lists of probe scores come from the same model."""
    if len(known) != len(found):
        return False
    spread = max(known) - min(known)
    return all(abs(ours - theirs) <= TOLERANCE * spread for ours, theirs in zip(known, found, strict=True))
