"""A head start: the embedder is opened in a thread while the command line is still being read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["start"]

_kept: list[Any] = []
"""What is opened is shared for as long as somebody holds it."""


def start(arguments: Sequence[str]) -> None:
    """Begin to open the embedder, if the command is one that will embed a query."""
    searches = bool(arguments) and arguments[0] in ("search", "compare", "ask")
    if searches and not {"--help", "-h", "lexical", "--stage1=lexical"} & set(arguments):
        # Not a daemon: the interpreter must not be torn down under a library at work.
        threading.Thread(target=_open, name="secondpass-warming").start()


def _open() -> None:
    try:
        from .. import models
        from ..catalogue import EMBEDDER
        from ..checkpoints import minilm_encoder

        _kept.append(minilm_encoder(models.resolve(EMBEDDER, "embedder")))
    except Exception:  # noqa: BLE001  whoever needs the embedder meets the same error and tells it
        return
