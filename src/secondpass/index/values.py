"""What the index tells: progress, reports, status, summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..loading import Skipped

__all__ = ["AddReport", "DocumentSummary", "IndexStatus", "Progress", "ProgressCallback"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ``Index.add`` has come; given after each commit.

    Attributes:
        documents_done: documents that are safely in the index (or were there, unchanged). Each time it has
            grown by one, ``current`` is the document that was done.
        documents_total: how many there will be; a file that is not read yet counts as one. None where
            unknown.
        passages_done: passages of documents done, and those embedded ahead of a document under way.
        passages_total: how many there will be; None until the last document has been read.
        current: id of the document.
    """

    documents_done: int
    documents_total: int | None
    passages_done: int
    passages_total: int | None
    current: str


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class AddReport:
    """What one ``Index.add`` did.

    Attributes:
        added, changed, unchanged, removed: numbers of documents.
        passages: passages of the documents added or changed.
        embedded: distinct texts that had to be embedded.
        skipped: files that gave no document, with the reason.
        seconds: wall time.
    """

    added: int
    changed: int
    unchanged: int
    removed: int
    passages: int
    embedded: int
    skipped: tuple[Skipped, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A document without its text. ``characters`` is the length of the text."""

    id: str
    source: str
    passages: int
    characters: int


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What is in an index.

    Attributes:
        path: its folder.
        documents, passages: how many.
        texts: distinct passage texts; one vector each.
        embedder, dimension: what made the vectors.
        splitter: the settings that made the passages.
        store: where the vectors are, ``sqlite`` or ``chroma``.
        size_bytes: of all files in the folder.
        generation: rises with every change.
        format: version of the layout on disk.
        pending: changes that an outside store has not acknowledged yet; 0 with ``sqlite``.
    """

    path: str
    documents: int
    passages: int
    texts: int
    embedder: str
    dimension: int
    splitter: Mapping[str, Any]
    store: str
    size_bytes: int
    generation: int
    format: int
    pending: int
