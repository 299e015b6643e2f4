"""Cross-encoders: ONNX rankers with one logit that read query and passage as one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import models
from ..converting import onnx_file
from ..errors import InputError, ModelInvalidError, QueryError
from ..inference import Batch, Floats, open_graph, run_rows
from ..models import ModelFolder
from ..tokenizing import checked_query, checked_texts, load_tokenizer, pair_frame
from ..types import Reading
from .windows import MAX_WINDOWS, read_windows

__all__ = ["CrossEncoder"]

DEFAULT_WINDOW = 512
"""Tokens of a pair, if the model does not say less. Models with longer windows are read in windows of this
length too, unless ``max_length`` asks for more: the cost of attention grows with its square."""
PASSAGE_ROOM = 64
"""Tokens that a query must leave to the passage (half of the window, if that is less)."""

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"}


class CrossEncoder:
    """A sequence-classification ranker with one logit, on ONNX Runtime.

    Any ONNX graph with the inputs ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids`` works. Its
    tokenizer decides how a pair is framed. A score is the raw logit and does not depend on the other
    candidates. Safe to use from several threads.

    Args:
        name_or_folder: see ``secondpass.models.resolve``.
        max_length: tokens of a pair read at once; by default the model's own window, at most 512.
        max_windows: most windows of one passage; tokens behind them are not read, and a ``Reading`` says so.
        download: fetch the model from the hub when it is nowhere on this machine.

    Raises:
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing, damaged or of another kind.
        InputError: a limit is out of range.
    """

    logits = True

    def __init__(
        self,
        name_or_folder: str | Path,
        *,
        max_length: int | None = None,
        max_windows: int = MAX_WINDOWS,
        download: bool = False,
    ) -> None:
        if max_windows < 1:
            raise InputError(f"max_windows must be at least 1, got {max_windows}")
        folder = models.resolve(name_or_folder, "reranker", download)
        self.name = folder.name
        self.max_windows = max_windows
        config = folder.json("config.json")
        self._tokenizer = load_tokenizer(folder)
        self._frame = pair_frame(self._tokenizer)
        self.max_length = _window(folder, config, max_length)
        self._pad_id = _pad_id(config)
        self._graph = open_graph(onnx_file(folder))
        self._output = _logit_output(self._graph.path, self._graph.outputs)

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return the logits ``(n,)`` float32 in input order; a long passage has that of its best window.

        Raises:
            QueryError: the query is empty, or leaves too little room for the passage.
            InputError: ``passages`` is not a list of strings.
            ModelInvalidError: the model gives no single finite logit.
        """
        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won."""
        query = checked_query(query)
        texts = checked_texts(passages, "passages")
        if not texts:
            return []
        query_ids = self._tokenizer.encode(query, add_special_tokens=False).ids
        room = self._room(len(query_ids))

        def score(windows: list[list[int]]) -> Floats:
            return self._logits([self._frame.around(query_ids, window) for window in windows])

        return read_windows(self._tokenizer, texts, room, self.max_windows, score)

    def _room(self, query_tokens: int) -> int:
        free = self.max_length - self._frame.size
        least = min(PASSAGE_ROOM, free // 2)
        if free - query_tokens < least:
            raise QueryError(
                f"the query has {query_tokens} tokens, but {self.name} reads {self.max_length} at once and a "
                f"passage needs {least} of them: at most {free - least} are left; ask a shorter question"
            )
        return free - query_tokens

    def _logits(self, rows: list[Any]) -> Floats:
        logits = np.empty(len(rows), dtype=np.float32)

        def work(batch: Batch) -> None:
            values = self._graph.run(batch, self._output)
            if values.size != len(batch.places):
                raise ModelInvalidError(_several(self._graph.path, values.size // len(batch.places)))
            logits[batch.places] = values.reshape(-1)

        run_rows(rows, work, self._graph.row_budget, self._pad_id)
        if not np.isfinite(logits).all():
            raise ModelInvalidError(
                f"{self._graph.path} gave a logit that is not finite; its weights are damaged, fetch it again"
            )
        return logits


def _logit_output(path: Path, outputs: dict[str, list[Any]]) -> str:
    name = "logits" if "logits" in outputs else next(iter(outputs))
    shape = outputs[name]
    if len(shape) > 2 or (len(shape) == 2 and isinstance(shape[1], int) and shape[1] != 1):
        raise ModelInvalidError(_several(path, shape[-1]))
    return name


def _several(path: Path, outputs: object) -> str:
    return f"{path} gives {outputs} values for a pair; a re-ranker gives one logit (num_labels = 1)"


def _window(folder: ModelFolder, config: dict[str, Any], wanted: int | None) -> int:
    """Return the tokens of a pair: the model's positions and its tokenizer's limit bound what was wanted."""
    positions = _integer(config.get("max_position_embeddings"), DEFAULT_WINDOW)
    if config.get("model_type") in _OFFSET_POSITIONS:  # their positions start behind that of the padding
        positions -= _pad_id(config) + 1
    settings = folder.json("tokenizer_config.json", required=False)
    longest = min(positions, _integer(settings.get("model_max_length"), positions))
    if wanted is None:
        return min(longest, DEFAULT_WINDOW)
    if not 8 <= wanted <= longest:
        raise InputError(f"max_length must be 8..{longest} for {folder.name}, got {wanted}")
    return wanted


def _pad_id(config: dict[str, Any]) -> int:
    return _integer(config.get("pad_token_id"), 0)


def _integer(value: object, default: int) -> int:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31
    return int(value) if usable else default  # type: ignore[call-overload]
