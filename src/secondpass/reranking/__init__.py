"""Stage 2: models that read each candidate together with the query, by name or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from .. import models
from ..catalogue import BINARY_INTERACTION, CROSS_ENCODER, LATE_INTERACTION
from ..errors import InputError
from .binary_interaction import BinaryInteraction, Precomputed
from .cross_encoder import CrossEncoder
from .late_interaction import LateInteraction
from .remote import RemoteReranker, check_opted_in, is_remote
from .torch_cross_encoder import TorchCrossEncoder

__all__ = [
    "AUTO_RERANKER",
    "BinaryInteraction",
    "CrossEncoder",
    "LateInteraction",
    "Precomputed",
    "RemoteReranker",
    "TorchCrossEncoder",
    "is_remote",
    "load_reranker",
]

AUTO_RERANKER = CROSS_ENCODER
"""What ``auto`` stands for: the shipped re-ranker that measured best on validation queries; the receipt is
benchmarks/auto_validation.json."""

BACKENDS = ("onnx", "torch")
"""What can run a cross-encoder: our own kernels or ONNX Runtime, or torch."""


@overload
def load_reranker(
    name_or_folder: str | Path = "auto",
    download: bool = False,
    precision: str = "int8",
    *,
    backend: Literal["onnx"] = "onnx",
    device: str | None = None,
    remote: bool = False,
) -> CrossEncoder | LateInteraction | BinaryInteraction | RemoteReranker: ...


@overload
def load_reranker(
    name_or_folder: str | Path = "auto",
    download: bool = False,
    precision: str = "int8",
    *,
    backend: str,
    device: str | None = None,
    remote: bool = False,
) -> CrossEncoder | LateInteraction | BinaryInteraction | RemoteReranker | TorchCrossEncoder: ...


def load_reranker(
    name_or_folder: str | Path = "auto",
    download: bool = False,
    precision: str = "int8",
    *,
    backend: str = "onnx",
    device: str | None = None,
    remote: bool = False,
) -> CrossEncoder | LateInteraction | BinaryInteraction | RemoteReranker | TorchCrossEncoder:
    """Return a re-ranker, opened and ready.

    Args:
        name_or_folder: ``auto``, a shipped name (``minilm-l6``, ``late-interaction``,
            ``late-interaction-1bit``), a model of the hub by
            short name or id, a folder with ``config.json``, ``tokenizer.json`` and ``onnx/model.onnx``
            or ``model.safetensors``, or a service such as ``cohere:rerank-v3.5``, see ``remote``.
        download: fetch it from the hub when it is nowhere on this machine; otherwise no network is touched.
        precision: ``int8`` where model and processor allow it, or ``fp32``; not for ``torch``.
        backend: ``onnx`` for our own kernels and ONNX Runtime, or ``torch`` (extra ``torch``) for a
            cross-encoder with ``model.safetensors``.
        device: with ``onnx`` ``cpu`` (the default) or ``cuda``, which needs onnxruntime-gpu; with ``torch``
            ``cuda``, ``mps`` or ``cpu``, by default the first of them that is there.
        remote: query and passages may be sent to the service named; ``SECONDPASS_REMOTE=1`` says so too.

    Raises:
        InputError: ``none``, which is no re-ranker, not a name at all, an unknown backend or device, or a
            service without ``remote``.
        MissingExtraError: ``torch`` is not installed.
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing or damaged.
    """
    if name_or_folder == "none":
        raise InputError("'none' is not a re-ranker; for stage 1 alone use Engine(index, None)")
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if isinstance(name_or_folder, str) and is_remote(name_or_folder):
        check_opted_in(name_or_folder, remote)
        return RemoteReranker(name_or_folder)
    name = AUTO_RERANKER if name_or_folder == "auto" else name_or_folder
    if models.is_name_of(name, LATE_INTERACTION):
        _check_shipped_way(LATE_INTERACTION, backend, device)
        return LateInteraction(precision=precision)
    if models.is_name_of(name, BINARY_INTERACTION):
        _check_shipped_way(BINARY_INTERACTION, backend, device)
        return BinaryInteraction(precision=precision)
    if backend == "torch":
        return TorchCrossEncoder(name, device=device, download=download)
    return CrossEncoder(name, precision=precision, download=download, device=device or "cpu")


def _check_shipped_way(name: str, backend: str, device: str | None) -> None:
    if backend != "onnx" or device not in (None, "cpu"):
        raise InputError(
            f"{name} runs on our own kernels and ONNX Runtime's cpu only; leave out backend and device"
        )
