"""What gives framed pairs their logits: an ONNX graph, or a checkpoint on our own kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import checkpoints, native
from ..batching import Batch, Integers, Row
from ..converting import best_graph, kernels_refused
from ..cores import for_each
from ..errors import ModelInvalidError
from ..inference import Floats, open_graph, run_rows
from ..models import ModelFolder
from ..products import product
from .rare_words import RareWords, rare_words_of
from .residual import ResidualScorer, is_residual, reads_mutually

__all__ = ["PairScorer", "kernel_scorer", "open_scorer"]


class PairScorer(Protocol):
    """Gives framed pairs their logits.

    Attributes:
        one_query: whether all pairs of a call must have the same query.
    """

    one_query: bool

    def logits(self, rows: Sequence[Row]) -> Floats:
        """Return ``(n,)`` for ``n`` pairs, in their order; a pair's logit does not depend on the others."""
        ...


def open_scorer(
    folder: ModelFolder, config: dict[str, Any], precision: str, device: str = "cpu"
) -> PairScorer:
    """Return the fastest scorer that can read the model in this precision, on this device.

    Raises:
        ModelInvalidError: a file is missing or damaged, or the model gives more than one value.
    """
    scorer = _open(folder, config, precision, device)
    rare = rare_words_of(folder, config)
    return scorer if rare is None else _WithRareWords(scorer, rare)


def _open(folder: ModelFolder, config: dict[str, Any], precision: str, device: str) -> PairScorer:
    if precision == "int8" and not kernels_refused(folder):
        found = kernel_scorer(folder, config)
        if found is not None:
            return found
    pad_id = int(config.get("pad_token_id") or 0)
    return _GraphScorer(best_graph(folder, precision), pad_id, is_residual(config), device)


def kernel_scorer(folder: ModelFolder, config: dict[str, Any]) -> PairScorer | None:
    """Return the model on our own kernels, or None where they cannot run or its file is built another way."""
    if not native.available() or not checkpoints.fits(config):
        return None
    path = folder.onnx() if is_residual(config) else folder.safetensors() or folder.onnx()
    if path is None:
        return None
    try:
        weights = checkpoints.weights_of(path)
        if is_residual(config):
            return ResidualScorer(weights, reads_mutually(config))
        return _BertScorer(weights, config, path)
    except KeyError:
        return None


class _WithRareWords:
    """A scorer whose logits have a term for rare words added to them."""

    def __init__(self, scorer: PairScorer, rare: RareWords) -> None:
        self._scorer, self._rare = scorer, rare
        self.one_query = scorer.one_query

    def logits(self, rows: Sequence[Row]) -> Floats:
        return np.asarray(self._scorer.logits(rows) + self._rare.term(rows), dtype=np.float32)


class _GraphScorer:
    """Any ONNX ranker with one logit, on ONNX Runtime."""

    def __init__(self, path: Path, pad_id: int, one_query: bool, device: str = "cpu") -> None:
        self._graph = open_graph(path, device)
        self._output = _logit_output(path, self._graph.outputs)
        self._pad_id = pad_id
        self.one_query = one_query

    def logits(self, rows: Sequence[Row]) -> Floats:
        logits = np.empty(len(rows), dtype=np.float32)

        def work(batch: Batch) -> None:
            values = self._graph.run(batch, self._output)
            if values.size != len(batch.places):
                raise ModelInvalidError(_several(self._graph.path, values.size // len(batch.places)))
            logits[batch.places] = values.reshape(-1)

        run_rows(rows, work, self._graph.row_budget, self._pad_id)
        return logits


class _BertScorer:
    """A sequence-classification checkpoint of the BERT family: a tanh layer over [CLS], then one logit."""

    one_query = False

    def __init__(self, weights: checkpoints.Weights, config: dict[str, Any], path: Path) -> None:
        bert = config["model_type"] == "bert"
        self._encoder = checkpoints.bert_encoder(weights, config)
        hidden = weights.linear("pooler.dense" if bert else "classifier.dense")
        last = weights.linear("classifier" if bert else "classifier.out_proj")
        self._hidden, self._last = (np.ascontiguousarray(each.dense().T) for each in (hidden, last))
        self._hidden_bias, self._last_bias = hidden.bias, last.bias
        if len(self._last) != 1:
            raise ModelInvalidError(_several(path, len(self._last)))

    def logits(self, rows: Sequence[Row]) -> Floats:
        logits = np.empty(len(rows), dtype=np.float32)

        def work(places: Integers) -> None:
            states, starts = self._encoder.states([rows[place] for place in places])
            for place, state in zip(places, states[starts[:-1]], strict=True):
                hidden = np.tanh(product(self._hidden, state) + self._hidden_bias)
                logits[place] = (product(self._last, hidden) + self._last_bias)[0]

        for_each(work, self._encoder.batches([len(row.ids) for row in rows]))
        return logits


def _logit_output(path: Path, outputs: dict[str, list[Any]]) -> str:
    name = "logits" if "logits" in outputs else next(iter(outputs))
    shape = outputs[name]
    if len(shape) > 2 or (len(shape) == 2 and isinstance(shape[1], int) and shape[1] != 1):
        raise ModelInvalidError(_several(path, shape[-1]))
    return name


def _several(path: Path, outputs: object) -> str:
    return f"{path} gives {outputs} values for a pair; a re-ranker gives one logit (num_labels = 1)"
