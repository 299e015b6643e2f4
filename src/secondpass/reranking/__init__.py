"""Stage 2: models that read each candidate together with the query, by name or folder."""

from __future__ import annotations

from pathlib import Path

from .. import models
from ..catalogue import CROSS_ENCODER, LATE_INTERACTION
from ..errors import InputError
from .cross_encoder import CrossEncoder
from .late_interaction import LateInteraction

__all__ = ["AUTO_RERANKER", "CrossEncoder", "LateInteraction", "load_reranker"]

AUTO_RERANKER = CROSS_ENCODER
"""What ``auto`` stands for: the shipped re-ranker that measured best on validation queries; the receipt is
benchmarks/auto_validation.json."""


def load_reranker(
    name_or_folder: str | Path = "auto", download: bool = False, precision: str = "int8"
) -> CrossEncoder | LateInteraction:
    """Return a re-ranker, opened and ready.

    Args:
        name_or_folder: ``auto``, a shipped name (``late-interaction``, ``minilm-l6``), a model of the hub by
            short name or id, or a folder with ``config.json``, ``tokenizer.json`` and ``onnx/model.onnx``
            or ``model.safetensors``.
        download: fetch it from the hub when it is nowhere on this machine; otherwise no network is touched.
        precision: ``int8`` where model and processor allow it, or ``fp32``.

    Raises:
        InputError: ``none``, which is no re-ranker, or not a name at all.
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing or damaged.
    """
    if name_or_folder == "none":
        raise InputError("'none' is not a re-ranker; for stage 1 alone use Engine(index, None)")
    name = AUTO_RERANKER if name_or_folder == "auto" else name_or_folder
    if models.is_name_of(name, LATE_INTERACTION):
        return LateInteraction(precision=precision)
    return CrossEncoder(name, precision=precision, download=download)
