"""A head start: the embedder's graph is opened in a thread while the command line is still being read.

Opening it takes as long as all the imports of a search, and onnxruntime holds no lock of Python's meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["start"]

_kept: list[Any] = []
"""Graphs are shared for as long as somebody holds them."""


def start(arguments: Sequence[str]) -> None:
    """Begin to open the embedder, if the command is one that will embed a query."""
    searches = bool(arguments) and arguments[0] in ("search", "compare")
    if searches and not {"--help", "-h", "lexical", "--stage1=lexical"} & set(arguments):
        # Not a daemon: the interpreter must not be torn down under a library at work.
        threading.Thread(target=_open, name="secondpass-warming").start()


def _open() -> None:
    try:
        from .. import models
        from ..catalogue import EMBEDDER
        from ..inference import open_graph

        _kept.append(open_graph(models.resolve(EMBEDDER, "embedder").weights()))
    except Exception:  # noqa: BLE001  whoever needs the embedder meets the same error and tells it
        return
