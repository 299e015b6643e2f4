"""Cross-encoders: rankers with one logit that read query and passage as one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import models
from ..arguments import checked_precision
from ..batching import Row
from ..errors import InputError, ModelInvalidError
from ..inference import Floats, checked_device
from ..tokenizing import checked_query, load_tokenizer, pair_frame, passing_texts
from ..types import Reading
from .fingerprints import fingerprint
from .lengths import pair_window, passage_room
from .scorers import open_scorer
from .windows import MAX_WINDOWS, Windows, cut_windows, read_windows

__all__ = ["CrossEncoder"]


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
        device: ``cpu``, or ``cuda`` for the model's ONNX graph in fp32 on the graphics processor, which needs
            ``onnxruntime-gpu``; ``cuda:1`` is the second one.

    Raises:
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing, damaged or of another kind.
        InputError: a limit is out of range, or there is no such device.

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
        device: str = "cpu",
    ) -> None:
        if max_windows < 1:
            raise InputError(f"max_windows must be at least 1, got {max_windows}")
        folder = models.resolve(name_or_folder, "reranker", download)
        self.name = folder.name
        self.max_windows = max_windows
        config = folder.json("config.json")
        self._tokenizer = load_tokenizer(folder)
        self._frame = pair_frame(self._tokenizer)
        self.max_length = pair_window(folder, config, max_length)
        self.device = checked_device(device)
        self.precision = checked_precision(precision) if device == "cpu" else "fp32"
        self._scorer = open_scorer(folder, config, self.precision, device)
        how: tuple[object, ...] = (type(self._scorer).__name__, self.precision, self.max_length, max_windows)
        if device != "cpu":
            how = (*how, device)
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
        room = self._room(query_ids)

        def score(windows: list[list[int]]) -> Floats:
            return self._logits([self._frame.around(query_ids, window) for window in windows])

        return read_windows(self._tokenizer, texts, room, self.max_windows, score)

    def read_many(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[list[Reading]]:
        """Like ``read`` for several queries, each with passages of its own, whose pairs share batches.

        For a few passages of many queries, as a server gets them. The readings are those of ``read``.
        """
        if self._scorer.one_query:
            return [self.read(query, passages) for query, passages in asked]
        cut: list[Windows] = []
        rows: list[Row] = []
        for query, passages in asked:
            ids = self._tokenizer.encode(checked_query(query), add_special_tokens=False).ids
            texts = list(passing_texts(passages, "passages"))
            cut.append(cut_windows(self._tokenizer, texts, self._room(ids), self.max_windows))
            rows += [self._frame.around(ids, window) for window in cut[-1].ids]
        logits = self._logits(rows) if rows else np.empty(0, dtype=np.float32)
        ends = np.cumsum([len(windows.ids) for windows in cut])
        return [
            windows.readings(logits[end - len(windows.ids) : end])
            for windows, end in zip(cut, ends, strict=True)
        ]

    def _room(self, query_ids: list[int]) -> int:
        return passage_room(self.name, self.max_length, self._frame.size, len(query_ids))

    def _logits(self, rows: list[Row]) -> Floats:
        logits = self._scorer.logits(rows)
        if not np.isfinite(logits).all():
            raise ModelInvalidError(
                f"{self.name} gave a logit that is not finite; its weights are damaged, fetch it again"
            )
        return logits
