"""Opening the index behind a store: one that is there, a new one, or one for the life of an object."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING

from ...errors import IndexMissingError
from ...index import Index
from ...types import Embedder
from .documents import OnePassage

if TYPE_CHECKING:
    from ...index.database import Database

__all__ = ["opened"]


def opened(folder: str | os.PathLike[str] | None, embedder: Embedder | None) -> Index:
    """Return an index; where there is no folder, one that is removed when nothing refers to the index.

    Raises:
        InputError, IndexMismatchError, IndexMissingError, IndexDamagedError, IndexWriteError: as for
            ``Index.open``.
    """
    if folder is not None:
        return _index(folder, embedder)
    made = tempfile.mkdtemp(prefix="secondpass-")
    try:
        index = _index(made, embedder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    weakref.finalize(index, _let_go, index._database, made)
    return index


def _let_go(database: Database, folder: str) -> None:
    database.close()  # first, since Windows removes no file that is open
    shutil.rmtree(folder, ignore_errors=True)


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
