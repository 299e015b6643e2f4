"""One run of ``Index.add``: split, embed what is new, write in batches, tell after each commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError
from ..stores.checks import checked_vectors
from ..types import Document, Embedder, Passage
from .database import slices, transaction
from .door import Prepared, prepared
from .outbox import VectorSink
from .staging import Staging
from .values import Progress, ProgressCallback
from .writer import Pending, VectorsByHash, delete_documents, hashes_of, known_hashes, write_batch

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["Adding", "Splitter", "Tally"]

BATCH_TEXTS = 256
"""New texts that are embedded and committed together: some seconds of work, which a kill can cost at most."""
BATCH_PASSAGES = 4096
BATCH_CHARACTERS = 8_000_000
EMBED_SLICE = 512
"""New texts that are embedded at once; of a long document, more than one slice waits on disk, not in RAM."""

Splitter = Callable[[Document], list[Passage]]


@dataclass(slots=True)
class Tally:
    """Counts that grow during a run."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    embedded: int = 0
    done: int = 0
    passages_done: int = 0
    expected: int | None = None
    all_read: bool = False


@dataclass(slots=True)
class _Batch:
    documents: list[Pending] = field(default_factory=list)
    new: dict[bytes, str] = field(default_factory=dict)
    passages: int = 0
    characters: int = 0

    @property
    def full(self) -> bool:
        return (
            len(self.new) >= BATCH_TEXTS
            or self.passages >= BATCH_PASSAGES
            or self.characters >= BATCH_CHARACTERS
        )


class Adding:
    """Takes documents one by one; the writer's connection and lock are its caller's.

    Args:
        connection: the writer's.
        sink: where vectors go, inside the same transaction.
        staging: keeps the vectors of long documents until they are written.
        embedder: turns texts into vectors; asked outside of any transaction, only for texts that are new.
        split: cuts a document.
        committed: called after each commit, before anything is reported done.
        progress: told after each commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        sink: VectorSink,
        staging: Staging,
        embedder: Embedder,
        split: Splitter,
        committed: Callable[[], None],
        progress: ProgressCallback | None,
    ) -> None:
        self.tally = Tally()
        self._connection = connection
        self._sink = sink
        self._staging = staging
        self._embedder = embedder
        self._split = split
        self._committed = committed
        self._progress = progress
        self._batch = _Batch()
        self._seen: set[str] = set()

    def take(self, document: Document, file: str | None) -> None:
        """Add a document if it is new or has changed.

        Raises:
            InputError: it cannot be stored, or the run has met its id before.
        """
        ready = prepared(document)
        key = ready.document.id
        if key in self._seen:
            raise InputError(f"the id {key!r} is given twice in one call; each document needs its own id")
        self._seen.add(key)
        row = self._connection.execute(
            "SELECT content_hash, file FROM documents WHERE key = ?", (key,)
        ).fetchone()
        if row == (ready.content_hash, file):
            self.tally.unchanged += 1
            self._done(key, 0)
            return
        self._put(ready, file)
        if row is None:
            self.tally.added += 1
        else:
            self.tally.changed += 1
        if self._batch.full:
            self.flush()

    def delete(self, keys: Sequence[str]) -> None:
        """Delete documents, after all that was taken before has been written."""
        self.flush()
        for part in slices(keys, 500):
            with transaction(self._connection):
                self.tally.removed += delete_documents(self._connection, self._sink, part)
            self._committed()

    def flush(self) -> None:
        """Embed and write what is at hand."""
        batch = self._batch
        if not batch.documents:
            return
        vectors = self._vectors(batch)
        with transaction(self._connection):
            write_batch(self._connection, self._sink, batch.documents, vectors)
        self._batch = _Batch()
        self._committed()
        self.tally.passages += batch.passages
        for pending in batch.documents:
            self._done(pending.prepared.document.id, len(pending.passages))

    def _put(self, ready: Prepared, file: str | None) -> None:
        passages = _checked(self._split(ready.document), ready.document)
        hashes = hashes_of(passages)
        fresh = {
            digest: passage.text
            for digest, passage in zip(hashes, passages, strict=True)
            if digest not in self._batch.new
        }
        for digest in known_hashes(self._connection, fresh):
            del fresh[digest]
        self._batch.documents.append(Pending(ready, file, passages, hashes))
        self._batch.new.update(fresh)
        self._batch.passages += len(passages)
        self._batch.characters += len(ready.document.text)

    def _vectors(self, batch: _Batch) -> VectorsByHash:
        """Embed what is new: at once, or slice by slice onto the disk if it is much."""
        hashes = list(batch.new)
        staged = self._staging.known(hashes)
        if len(hashes) <= EMBED_SLICE and not staged:
            return [(hashes, self._embed(list(batch.new.values())))] if hashes else []
        ahead = len(staged)
        for part in slices((digest for digest in hashes if digest not in staged), EMBED_SLICE):
            self._staging.put(part, self._embed([batch.new[digest] for digest in part]))
            ahead += len(part)
            self._tell(batch.documents[-1].prepared.document.id, ahead)
        return self._staging.slices(hashes)

    def _embed(self, texts: list[str]) -> Floats:
        vectors = checked_vectors(self._embedder.embed_passages(texts), len(texts), self._embedder.dimension)
        self.tally.embedded += len(texts)
        return vectors

    def _done(self, key: str, passages: int) -> None:
        self.tally.done += 1
        self.tally.passages_done += passages
        self._tell(key, 0)

    def _tell(self, key: str, ahead: int) -> None:
        if self._progress is None:
            return
        tally = self.tally
        total = tally.passages_done + self._batch.passages if tally.all_read else None
        self._progress(Progress(tally.done, tally.expected, tally.passages_done + ahead, total, key))


def _checked(passages: list[Passage], document: Document) -> list[Passage]:
    """Hold a splitter to what passages are."""
    ids = {passage.id for passage in passages}
    if len(ids) != len(passages):
        raise InputError(f"the splitter gave two passages of the document {document.id!r} one id")
    for passage in passages:
        if document.text[passage.start : passage.end] != passage.text or not passage.text:
            raise InputError(
                f"the splitter gave a passage of the document {document.id!r} whose text is not what stands "
                f"at {passage.start}..{passage.end}"
            )
    return passages
