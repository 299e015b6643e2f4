"""Cross-encoders: rankers with one logit that read query and passage as one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import models
from ..arguments import checked_precision
from ..batching import Row
from ..errors import InputError, ModelInvalidError, QueryError
from ..inference import Floats
from ..models import ModelFolder
from ..tokenizing import checked_query, load_tokenizer, pair_frame, passing_texts
from ..types import Reading
from .fingerprints import fingerprint
from .scorers import open_scorer
from .windows import MAX_WINDOWS, read_windows

__all__ = ["CrossEncoder"]

DEFAULT_WINDOW = 512
"""Tokens of a pair, if the model does not say less. Models with longer windows are read in windows of this
length too, unless ``max_length`` asks for more: the cost of attention grows with its square."""
PASSAGE_ROOM = 64
"""Tokens that a query must leave to the passage (half of the window, if that is less)."""

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"}


class CrossEncoder:
    """A sequence-classification ranker with one logit, on our own 8-bit kernels or on ONNX Runtime.

    Checkpoints of the BERT family run on the kernels where the processor can, and so does ``minilm-l6``. Any
    other ONNX graph with the inputs ``input_ids``, ``attention_mask`` and perhaps ``token_type_ids`` works
    too. The model's tokenizer decides how a pair is framed. A score is the raw logit and does not depend on
    the other candidates. Safe to use from several threads.

    Args:
        name_or_folder: see ``secondpass.models.resolve``.
        max_length: tokens of a pair read at once; by default the model's own window, at most 512.
        max_windows: most windows of one passage; tokens behind them are not read, and a ``Reading`` says so.
        precision: of weights and activations: ``int8`` where the processor and the model allow it (see
            ``secondpass.native``), or ``fp32``, as the model's file has it.
        download: fetch the model from the hub when it is nowhere on this machine.

    Raises:
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing, damaged or of another kind.
        InputError: a limit is out of range.

    Attributes:
        fingerprint: stands for weights, tokenizer and limits; scores of equal fingerprints may be exchanged.
    """

    logits = True

    def __init__(
        self,
        name_or_folder: str | Path,
        *,
        max_length: int | None = None,
        max_windows: int = MAX_WINDOWS,
        precision: str = "int8",
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
        self.precision = checked_precision(precision)
        self._scorer = open_scorer(folder, config, precision)
        how = (type(self._scorer).__name__, precision, self.max_length, max_windows)
        self.fingerprint = fingerprint(folder, *how)

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return the logits ``(n,)`` float32 in input order; a long passage has that of its best window.

        Raises:
            QueryError: the query is empty, or leaves too little room for the passage.
            InputError: ``passages`` is not a list of strings.
            ModelInvalidError: the model gives no single finite logit.
        """
        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won.

        Passages are read in slices of about a million characters, so a ``Sequence`` that makes or fetches
        its texts when asked for them can hold far more text than fits into memory.
        """
        query = checked_query(query)
        texts = passing_texts(passages, "passages")
        if not len(passages):
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

    def _logits(self, rows: list[Row]) -> Floats:
        logits = self._scorer.logits(rows)
        if not np.isfinite(logits).all():
            raise ModelInvalidError(
                f"{self.name} gave a logit that is not finite; its weights are damaged, fetch it again"
            )
        return logits


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
