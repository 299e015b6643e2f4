"""Safetensors to ONNX, once: where the converted model lies, and which way it is converted.

A folder with only ``model.safetensors`` is converted in float32 into ``converted/`` of the user's model
folder. Graphs of the BERT family are built by hand (extra ``convert``); DeBERTa-v2 and ModernBERT take
torch's exporter (extras ``torch`` and ``convert``). Code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..architectures import architecture_of, needs_code
from ..errors import MissingExtraError, ModelError, ModelInvalidError
from ..models import ModelFolder, user_models_dir
from .building import BUILT, build
from .exporting import EXPORTED, export

__all__ = ["graph_place", "onnx_file"]

FORMAT = 1
"""Part of the key of a converted model: raise it when the graphs built here change."""


def onnx_file(folder: ModelFolder) -> Path:
    """Return the ONNX file of a model folder; one with only ``model.safetensors`` is converted, once.

    Raises:
        MissingExtraError: it must be converted, and the extra ``convert`` is not installed.
        ModelInvalidError: of an architecture that cannot be converted, or a file is damaged.
        ModelError: the converted model cannot be written.
    """
    place, weights = graph_place(folder), folder.safetensors()
    if weights is not None and not place.is_file():
        _convert(folder, weights, place.parent)
    return place


def graph_place(folder: ModelFolder) -> Path:
    """Return where the ONNX file of a model folder lies, or will once it has been converted.

    Raises:
        ModelInvalidError: the folder holds neither ONNX nor safetensors.
    """
    found, weights = folder.onnx(), folder.safetensors()
    if found is not None or weights is None:
        return found or folder.weights()
    return user_models_dir() / "converted" / _key(folder, weights) / "model.onnx"


def _key(folder: ModelFolder, weights: Path) -> str:
    status = weights.stat()
    config = sorted(folder.json("config.json").items())
    facts = (FORMAT, str(weights.resolve()), status.st_size, status.st_mtime_ns, config)
    return hashlib.sha256(repr(facts).encode("utf-8", "replace")).hexdigest()[:16]


def _convert(folder: ModelFolder, weights: Path, target: Path) -> None:
    """Write graph and weights into a new folder and move it into place, whole or not at all."""
    config = folder.json("config.json")
    architecture = _architecture(folder, config)
    try:
        import onnx  # noqa: F401  building and exporting both need it
        from safetensors import SafetensorError, safe_open
    except ImportError as exc:
        extra = "torch,convert" if architecture in EXPORTED else "convert"
        raise MissingExtraError("onnx", extra, f"reading {weights.name} of {folder.name}") from exc
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as place:
            made = Path(place) / "made"
            made.mkdir()
            with safe_open(str(weights), "numpy") as tensors:
                if architecture in EXPORTED:
                    export(folder, made / "model.onnx")
                else:
                    build(tensors, weights, config, made / "model.onnx")
            _move(made, target)
    except (SafetensorError, EOFError) as exc:
        raise ModelInvalidError(f"{weights} is damaged ({exc}); fetch the model again") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelInvalidError(
            f"{weights} does not fit its config.json: {exc}; fetch the model again"
        ) from exc
    except OSError as exc:
        raise ModelError(
            f"cannot write the converted model to {target.parent}: {exc.strerror or exc}; free space, "
            "or set SECONDPASS_MODELS to another folder"
        ) from exc


def _move(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not (target / "model.onnx").is_file():  # nobody else was faster: it is the leaving of something
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)


def _architecture(folder: ModelFolder, config: dict[str, Any]) -> str:
    """Return the name of the model's class.

    Raises:
        ModelInvalidError: it cannot be converted.
    """
    architecture = architecture_of(config) or "of no named architecture"
    if needs_code(config):
        raise ModelInvalidError(
            f"{folder.path} is {architecture}, which needs code from its own repository, and secondpass "
            "never runs such code. A repository that has onnx/model.onnx can be used without it"
        )
    if architecture not in BUILT and architecture not in EXPORTED:
        raise ModelInvalidError(
            f"{folder.path} is {architecture}, which cannot be converted; "
            f"{', '.join((*BUILT, *EXPORTED))} can. Export it to onnx/model.onnx instead"
        )
    activation = config.get("hidden_act", "gelu")
    position = config.get("position_embedding_type", "absolute")
    if architecture in BUILT and (activation not in ("gelu", "relu") or position != "absolute"):
        raise ModelInvalidError(
            f"{folder.path} has the activation {activation!r} and {position!r} positions; only gelu or relu "
            "and absolute positions can be converted. Export it to onnx/model.onnx instead"
        )
    return architecture
