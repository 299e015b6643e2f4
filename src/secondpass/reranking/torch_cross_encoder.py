"""Cross-encoders on torch: any re-ranker that sentence-transformers can load, on cuda, mps or cpu."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import models
from ..arguments import checked_count
from ..errors import InputError, MissingExtraError, ModelInvalidError
from ..models import ModelFolder
from ..tokenizing import checked_query, load_tokenizer, pair_frame, passing_texts
from ..types import Reading
from .fingerprints import fingerprint
from .lengths import pair_window, passage_room
from .torch_scorers import ClassifierPairs, LanguageModelPairs, PairScorer
from .windows import MAX_WINDOWS, read_windows

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["DTYPES", "TorchCrossEncoder"]

DTYPES = ("float32", "float16", "bfloat16")
"""What weights and activations can be computed in."""

_CLASSIFIER = "ForSequenceClassification"
_LANGUAGE_MODEL = "ForCausalLM"


class TorchCrossEncoder:
    """A cross-encoder with one logit, run by torch through sentence-transformers.

    It reads passages in the same windows as ``CrossEncoder`` and reports them the same way; its scores are
    raw logits, whatever activation the model's files name. A language model that was trained to answer yes or
    no is a cross-encoder too: its logit is that of yes less that of no. Only ``safetensors`` are read, and
    code that comes with a model is never run. Safe to use from several threads.

    Args:
        name_or_folder: see ``secondpass.models.resolve``; the folder must hold ``model.safetensors``.
        device: ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; None takes the first of them that is there.
        dtype: ``float32``, ``float16`` or ``bfloat16``; the latter two halve the memory, and on ``cuda``
            the time or more, and move scores in the third digit.
        max_length: tokens of a pair read at once; by default the model's own window, at most 512.
        max_windows: most windows of one passage; a ``Reading`` says what was not read.
        download: fetch the model from the hub when it is nowhere on this machine.

    Raises:
        MissingExtraError: torch or sentence-transformers is not installed.
        InputError: an unknown device or dtype, one that is not there, or a limit out of range.
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing or damaged, or the model gives more than one value.
    """

    logits = True

    def __init__(
        self,
        name_or_folder: str | Path,
        *,
        device: str | None = None,
        dtype: str = "float32",
        max_length: int | None = None,
        max_windows: int = MAX_WINDOWS,
        download: bool = False,
    ) -> None:
        self.max_windows = checked_count("max_windows", max_windows)
        if dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.device = _device(device)
        folder = models.resolve(name_or_folder, "reranker", download)
        self.name = folder.name
        config = _config(folder)
        self._tokenizer = load_tokenizer(folder)
        self.max_length = pair_window(folder, config, max_length)
        model = _model(folder, self.device, dtype)
        self._scorer: PairScorer
        if _is_language_model(config):
            self._scorer = LanguageModelPairs(model, self._tokenizer, self.device, self.max_length)
        else:
            self._scorer = ClassifierPairs(model, pair_frame(self._tokenizer), config, self.device)
        how = (type(self).__name__, self.device, dtype, self.max_length, max_windows)
        self.fingerprint = fingerprint(folder, *how)

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return the logits ``(n,)`` float32 in input order; a long passage has that of its best window.

        Raises:
            QueryError: the query is empty, or leaves too little room for the passage.
            InputError: ``passages`` is not a list of strings.
            ModelInvalidError: the model gives no single finite logit.
        """
        import numpy as np

        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won."""
        query = checked_query(query)
        texts = passing_texts(passages, "passages")
        if not len(passages):
            return []
        query_ids = self._tokenizer.encode(query, add_special_tokens=False).ids
        frame = self._scorer.frame(query, len(query_ids))
        room = passage_room(self.name, self.max_length, frame, len(query_ids))

        def score(windows: list[list[int]]) -> Floats:
            return self._checked(self._scorer.logits(query, query_ids, windows))

        return read_windows(self._tokenizer, texts, room, self.max_windows, score)

    def _checked(self, logits: Floats) -> Floats:
        import numpy as np

        if not np.isfinite(logits).all():
            raise ModelInvalidError(
                f"{self.name} gave a logit that is not finite; its weights are damaged, or too large for "
                "float16: take dtype='float32'"
            )
        return logits


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as exc:
        raise MissingExtraError("torch", "torch", "a re-ranker on torch") from exc
    return torch


def _device(wanted: str | None) -> str:
    """Return a device that is there."""
    torch = _torch()
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if wanted is None:
        return next(name for name, is_there in there.items() if is_there())
    kind, colon, number = wanted.partition(":") if isinstance(wanted, str) else ("", "", "")
    if kind not in there or (colon and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"device must be cuda, cuda:1, mps or cpu, got {wanted!r}")
    if not there[kind]():
        usable = ", ".join(name for name, is_there in there.items() if is_there())
        raise InputError(
            f"device {wanted!r} is not there for torch {torch.__version__}; it can use: {usable}"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(
            f"device {wanted!r} is not there; the last one is cuda:{torch.cuda.device_count() - 1}"
        )
    return wanted


def _config(folder: ModelFolder) -> dict[str, Any]:
    """Return the model's settings, if torch can read it here as a ranker of pairs."""
    config = folder.json("config.json")
    if folder.safetensors() is None:
        raise ModelInvalidError(
            f"{folder.name} has no model.safetensors in {folder.path}; torch reads no ONNX: load it without "
            "backend='torch'"
        )
    architectures = [str(each) for each in config.get("architectures") or []]
    if not _is_language_model(config) and not any(each.endswith(_CLASSIFIER) for each in architectures):
        raise ModelInvalidError(
            f"{folder.name} is a {', '.join(architectures) or 'model of unknown kind'}; a cross-encoder ends "
            f"in {_CLASSIFIER}, or in {_LANGUAGE_MODEL} with yes and no"
        )
    return config


def _is_language_model(config: dict[str, Any]) -> bool:
    return any(str(each).endswith(_LANGUAGE_MODEL) for each in config.get("architectures") or [])


def _model(folder: ModelFolder, device: str, dtype: str) -> Any:
    """Return the CrossEncoder of sentence-transformers."""
    torch = _torch()
    try:
        from sentence_transformers import CrossEncoder
    except ModuleNotFoundError as exc:
        raise MissingExtraError("sentence-transformers", "torch", "a re-ranker on torch") from exc
    try:
        loaded = CrossEncoder(
            str(folder.path),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
        )
    except Exception as exc:  # transformers raises OSError, ValueError, KeyError, SafetensorError...
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
        raise ModelInvalidError(
            f"torch cannot read {folder.name} in {folder.path}: {first}; fetch it again"
        ) from exc
    if loaded.num_labels != 1:
        raise ModelInvalidError(
            f"{folder.path} gives {loaded.num_labels} values for a pair; a re-ranker gives one logit "
            "(num_labels = 1)"
        )
    return loaded.eval()
