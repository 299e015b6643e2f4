"""Safetensors to ONNX, without torch: the graphs of BERT and (XLM-)RoBERTa rankers, built by hand."""

from __future__ import annotations

from pathlib import Path

from .errors import ModelInvalidError
from .models import ModelFolder

__all__ = ["onnx_file"]


def onnx_file(folder: ModelFolder) -> Path:
    """Return the ONNX file of a model folder; one with only ``model.safetensors`` is converted once."""
    found = folder.onnx()
    if found is None:
        raise ModelInvalidError(f"{folder.path} has no ONNX file")
    return found
