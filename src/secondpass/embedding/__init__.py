"""Stage 1: texts to unit vectors, by the name of a model."""

from __future__ import annotations

from pathlib import Path

from .. import models
from ..catalogue import EMBEDDER
from ..errors import InputError
from ..types import Embedder
from .minilm import MAX_CHARACTERS, WINDOW, MiniLMEmbedder
from .pooled import PooledEmbedder

__all__ = ["MAX_CHARACTERS", "WINDOW", "MiniLMEmbedder", "PooledEmbedder", "load_embedder"]


def load_embedder(name: str = EMBEDDER, *, precision: str = "int8", download: bool = False) -> Embedder:
    """Return an embedder by the name of its model.

    Args:
        name: ``all-MiniLM-L6-v2``, which came with the package; another known embedder; ``owner/name`` of the
            hub; or a folder.
        precision: ``int8`` where model and processor allow it, or ``fp32``.
        download: fetch it from the hub when it is nowhere on this machine; otherwise no network is touched.

    Raises:
        InputError: a re-ranker, or neither a known name, a hub id nor a folder.
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing or damaged.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"an embedder is a name or a folder, got {name!r}; see: secondpass models list")
    if models.is_name_of(name, EMBEDDER):
        return MiniLMEmbedder(precision)
    if models.known_as(name) is None and "/" not in name and not Path(name).is_dir():
        known = ", ".join(model.name for model in models.known_models("embedder"))
        raise InputError(f"no embedder {name!r}; known are {known}; others by folder, or owner/name")
    return PooledEmbedder(name, precision=precision, download=download)
