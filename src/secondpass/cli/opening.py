"""Opening an index and re-rankers side by side, since a cold start waits for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .settings import Settings

if TYPE_CHECKING:
    from ..index import Index
    from ..types import Reranker

__all__ = ["opened", "origin"]


@contextmanager
def opened(
    settings: Settings, rerankers: Sequence[str], build: Callable[[], Index] | None = None
) -> Iterator[tuple[Index, list[Reranker]]]:
    """Open the index for reading and load re-rankers by name; close the index at the end.

    Args:
        settings: name the index, and the precision of the re-rankers.
        rerankers: names.
        build: gives another index; it is called when the re-rankers are loaded, since it may take long.

    Raises:
        StorageError: there is no index, or it cannot be used.
        ModelError: a re-ranker cannot be loaded.
    """
    from ..index import Index

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load, rerankers, settings.precision)
        if build is not None:
            loading.result()
        with Index.open(settings.index, create=False) if build is None else build() as index:
            yield index, loading.result()


def _load(names: Sequence[str], precision: str) -> list[Reranker]:
    if not names:
        return []
    from ..reranking import load_reranker

    return [load_reranker(name, precision=precision) for name in names]


def origin(name: str) -> str:
    """Return where the weights of a re-ranker were found, in words."""
    from .. import models
    from ..reranking import AUTO_RERANKER, is_remote

    if is_remote(name):
        return "a service: query and candidates were sent to it"
    folder = models.resolve(AUTO_RERANKER if name == "auto" else name)
    words = {
        "package": "came with the package",
        "user": "from your model folder",
        "hub cache": "from the hub's cache",
        "hub": "fetched from the hub",
    }
    return words.get(folder.origin, f"from {folder.path}")
