"""What a model says of a few fixed texts, to be compared later, and how fast it says it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..catalogue import Kind
from ..embedding import load_embedder
from ..errors import MissingExtraError, ModelError
from ..models import ModelFolder
from ..processors import processor_name
from ..reranking import load_reranker

__all__ = ["PASSAGES", "QUERIES", "Golden", "Speed", "allowed", "compare", "measure", "replay"]

QUERIES = (
    "how do I sort a list of numbers",
    "what is the capital of France",
    "Why does bread rise?",
)
PASSAGES = (
    "To sort a list in Python, call sorted(numbers): it returns a new list and leaves the old one be.",
    "Paris has been the capital of France, with short breaks, for about a thousand years.",
    "Yeast turns sugar into carbon dioxide, and the bubbles lift the dough before the oven sets it.",
    "The meeting was moved to Thursday.",
)
EXACT, SAME_PROCESSOR, OTHER_PROCESSOR = 1e-3, 0.05, 0.5
"""How far a value may be from the one recorded. In float32 processors differ in the last digits only. In 8
bits the same file gives the same values on the same processor; on another one they round elsewhere: between
two ways to compute in 8 bits, scores of minilm-l6 differed by up to 0.37 (docs/precision.md)."""
TIMED, REPEATS = 20, 3
"""Passages of a timing, and how often it is taken; the best counts, as the others were disturbed."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Values of fixed texts.

    Attributes:
        kind: re-rankers score ``queries`` x ``passages``; embedders give a vector for each text.
        precision: with which they were computed.
        exact: whether the weights are in float32 and so was the arithmetic.
        processor: on which.
        values: scores ``(queries, passages)``, or vectors ``(queries + passages, dimension)``.
    """

    kind: Kind
    precision: str
    exact: bool
    processor: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """How long one machine took.

    Attributes:
        ms: for ``passages`` passages of about 90 tokens, scored for one query or embedded, the best of three.
        precision: as asked for; see docs/precision.md for what it means on a processor.
        processor: what it calls itself.
    """

    ms: float
    passages: int
    precision: str
    processor: str


def replay(
    folder: ModelFolder,
    kind: Kind,
    precision: str | None = None,
    queries: Sequence[str] = QUERIES,
    passages: Sequence[str] = PASSAGES,
) -> Golden:
    """Let a model score, or embed, the fixed texts.

    Args:
        folder: of the model; the network is not touched.
        kind: what it is.
        precision: None takes ``fp32``, or ``int8`` where that would need an extra that is not installed.
        queries: texts, each embedded as one or read with each passage.
        passages: texts.

    Raises:
        ModelError: the model cannot be used.
        MissingExtraError: not in any precision.
    """
    if precision is None:
        try:
            return replay(folder, kind, "fp32", queries, passages)
        except MissingExtraError as exc:
            try:
                return replay(folder, kind, "int8", queries, passages)
            except MissingExtraError:
                raise exc from None
    name = str(folder.path) if folder.origin == "folder" else folder.name
    if kind == "reranker":
        reranker = load_reranker(name, precision=precision)
        values = np.array([reranker.score(query, list(passages)) for query in queries])
    else:
        embedder = load_embedder(name, precision=precision)
        values = np.concatenate(
            [embedder.embed_queries(list(queries)), embedder.embed_passages(list(passages))]
        )
    rows = tuple(tuple(round(float(value), 6) for value in row) for row in values)
    only_8_bit = folder.origin == "package" or (
        folder.onnx() is not None and folder.onnx() == folder.eight_bit()
    )
    exact = precision == "fp32" and not only_8_bit
    return Golden(kind, precision, exact, processor_name(), tuple(queries), tuple(passages), rows)


def allowed(golden: Golden) -> float:
    """Return by how much a value may differ when the record is replayed on this machine."""
    if golden.exact:
        return EXACT
    return SAME_PROCESSOR if golden.processor == processor_name() else OTHER_PROCESSOR


def compare(recorded: Golden, folder: ModelFolder) -> float:
    """Replay a record; return by how much the value that differs most differs.

    Raises:
        ModelError: the model cannot be used, or gives another number of values.
    """
    now = replay(folder, recorded.kind, recorded.precision, recorded.queries, recorded.passages)
    before, after = np.array(recorded.values), np.array(now.values)
    if before.shape != after.shape:
        raise ModelError(
            f"{folder.name} gave {after.shape} values and {before.shape} are recorded; it is another model, "
            "fetch it again"
        )
    return float(np.abs(before - after).max())


def measure(name: str, kind: Kind, precision: str = "int8") -> Speed:
    """Return how long the model takes here for ``TIMED`` passages of everyday length.

    Raises:
        ModelError: the model cannot be used.
    """
    texts = [" ".join([*PASSAGES[place % 3 :], *PASSAGES]) for place in range(TIMED)]
    run: Any
    if kind == "reranker":
        reranker = load_reranker(name, precision=precision)

        def run() -> object:
            return reranker.score(QUERIES[0], texts)
    else:
        embedder = load_embedder(name, precision=precision)

        def run() -> object:
            return embedder.embed_passages(texts)

    run()
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return Speed(round(1000 * min(taken), 1), TIMED, precision, processor_name())
