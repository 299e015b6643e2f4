"""Opening the index behind a store: one that is there, a new one, or one for the life of an object."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable

from ...errors import IndexMissingError
from ...index import Index
from ...types import Embedder
from .documents import OnePassage

__all__ = ["opened"]


def opened(
    folder: str | os.PathLike[str] | None, embedder: Embedder | None
) -> tuple[Index, Callable[[], None]]:
    """Return an index, and what closes it; a folder that was made for it goes with it.

    Raises:
        InputError, IndexMismatchError, IndexMissingError, IndexDamagedError, IndexWriteError: as for
            ``Index.open``.
    """
    if folder is not None:
        index = _index(folder, embedder)
        return index, index.close
    made = tempfile.mkdtemp(prefix="secondpass-")
    try:
        index = _index(made, embedder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise

    def let_go() -> None:
        index.close()
        shutil.rmtree(made, ignore_errors=True)

    return index, let_go


def _index(folder: str | os.PathLike[str], embedder: Embedder | None) -> Index:
    """Open an index as it is; make one of whole passages where there is none."""
    try:
        index = Index.open(folder, embedder=embedder, create=False)
    except IndexMissingError:
        return Index.open(folder, embedder=embedder, splitter=OnePassage())
    if index.status().splitter.get("name") != OnePassage.NAME:
        return index
    index.close()
    return Index.open(folder, embedder=embedder, splitter=OnePassage())
