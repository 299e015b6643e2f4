"""Which models a training can start from."""

from __future__ import annotations

from ..errors import InputError
from ..models import ModelFolder
from ..reranking.residual import is_residual

__all__ = ["check_can_start"]


def check_can_start(folder: ModelFolder) -> None:
    """Refuse a model that training cannot start from.

    Raises:
        InputError: it is of another kind.
    """
    if not is_residual(folder.json("config.json", required=False)) or folder.onnx() is None:
        raise InputError(
            f"training starts from minilm-l6 or from a model that was trained from it; {folder.name} is of "
            "another kind"
        )
