"""One run of ``Index.add``: split, embed what is new, write in batches, tell after each commit.

While one batch is being embedded, the batch before it is written, and the one behind it is read, split and
looked up. What comes of it is what would come of one step after the other: the same ids, order and report.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError
from ..types import Document, Embedder, Passage
from .ahead import Ahead
from .database import slices, transaction
from .door import Prepared, prepared
from .outbox import VectorSink
from .staging import Staging
from .values import Progress, ProgressCallback
from .writer import (
    Pending,
    VectorsByHash,
    delete_documents,
    hashes_of,
    hashes_of_document,
    known_hashes,
    write_batch,
)

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["Adding", "Splitter", "Tally"]

BATCH_TEXTS = 256
"""New texts that are embedded and committed together. A kill costs at most two such batches: some seconds."""
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
    passages_taken: int = 0
    expected: int | None = None
    all_read: bool = False


@dataclass(slots=True)
class _Batch:
    """Documents that are written together.

    Attributes:
        documents: those that are new or have changed.
        new: text by hash, of texts that are not in the index.
        leaving: hashes of texts that may go when this batch is written: their documents have changed.
        passages, characters: how many there are.
        vectors: of ``new``, once they are being computed.
    """

    documents: list[Pending] = field(default_factory=list)
    new: dict[bytes, str] = field(default_factory=dict)
    leaving: set[bytes] = field(default_factory=set)
    passages: int = 0
    characters: int = 0
    vectors: Future[Floats] | None = None

    @property
    def full(self) -> bool:
        return (
            len(self.new) >= BATCH_TEXTS
            or self.passages >= BATCH_PASSAGES
            or self.characters >= BATCH_CHARACTERS
        )


class Adding:
    """Takes documents one by one; the writer's connection and lock are its caller's.

    Close it when the run ends, however it ends.

    Args:
        connection: the writer's; used by the caller's thread alone.
        sink: where vectors go, inside the same transaction.
        staging: keeps the vectors of long documents until they are written.
        embedder: turns texts into vectors; asked only for texts that are new, on a thread of its own, for one
            list at a time.
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
        self._ahead = Ahead(embedder)
        self._split = split
        self._committed = committed
        self._progress = progress
        self._batch = _Batch()
        self._embedding: _Batch | None = None
        self._seen: set[str] = set()

    def take(self, document: Document, file: str | None) -> None:
        """Add a document if it is new or has changed; ``write_if_full`` follows.

        Raises:
            InputError: it cannot be stored, or the run has met its id before.
        """
        ready = prepared(document)
        key = ready.document.id
        if key in self._seen:
            raise InputError(f"the id {key!r} is given twice in one call; each document needs its own id")
        self._seen.add(key)
        row = self._connection.execute(
            "SELECT id, content_hash, file FROM documents WHERE key = ?", (key,)
        ).fetchone()
        if row is not None and row[1:] == (ready.content_hash, file):
            self.tally.unchanged += 1
            self._done(key, 0)
            return
        self._put(ready, file)
        if row is None:
            self.tally.added += 1
        else:
            self.tally.changed += 1
            self._batch.leaving |= hashes_of_document(self._connection, row[0])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete documents, after all that was taken before has been written."""
        self.flush()
        for part in slices(keys, 500):
            with transaction(self._connection):
                self.tally.removed += delete_documents(self._connection, self._sink, part)
            self._committed()

    def write_if_full(self) -> None:
        """Let a full batch be embedded, and write the one before it meanwhile."""
        if self._batch.full:
            self._advance()

    def flush(self) -> None:
        """Embed and write what is at hand."""
        if self._batch.documents:
            self._advance()
        self._settle()

    def close(self) -> None:
        """Wait until the embedder is no longer at work."""
        self._ahead.close()

    def _put(self, ready: Prepared, file: str | None) -> None:
        passages = _checked(self._split(ready.document), ready.document)
        hashes = hashes_of(passages)
        fresh = {
            digest: passage.text
            for digest, passage in zip(hashes, passages, strict=True)
            if digest not in self._batch.new
        }
        for digest in self._known(fresh):
            del fresh[digest]
        self._batch.documents.append(Pending(ready, file, passages, hashes))
        self._batch.new.update(fresh)
        self._batch.passages += len(passages)
        self._batch.characters += len(ready.document.text)
        self.tally.passages_taken += len(passages)

    def _known(self, hashes: dict[bytes, str]) -> set[bytes]:
        """Return those hashes whose texts will be there once the batch under way is written."""
        known = known_hashes(self._connection, hashes)
        if self._embedding is None:
            return known
        if not known.isdisjoint(self._embedding.leaving):
            self._settle()
            return known_hashes(self._connection, hashes)
        return known | (hashes.keys() & self._embedding.new.keys())

    def _advance(self) -> None:
        """Have the batch at hand embedded; write the one before it meanwhile."""
        batch, before = self._batch, self._embedding
        hashes = list(batch.new)
        if len(hashes) > EMBED_SLICE or self._staging.known(hashes):
            self._settle()
            self._write(batch, self._staged(batch, hashes))
            return
        ready = None if before is None else self._collect(before)
        batch.vectors = self._ahead.start(list(batch.new.values()))
        if before is not None and ready is not None:
            self._write(before, ready)
        self._embedding, self._batch = batch, _Batch()
        if batch.characters >= BATCH_CHARACTERS:  # two of that size at once would be too much memory
            self._settle()

    def _settle(self) -> None:
        """Write the batch that is being embedded, if there is one."""
        if self._embedding is not None:
            self._write(self._embedding, self._collect(self._embedding))

    def _collect(self, batch: _Batch) -> VectorsByHash:
        if batch.vectors is None or not batch.new:
            return []
        vectors = batch.vectors.result()
        self.tally.embedded += len(vectors)
        return [(list(batch.new), vectors)]

    def _write(self, batch: _Batch, vectors: VectorsByHash) -> None:
        with transaction(self._connection):
            write_batch(self._connection, self._sink, batch.documents, vectors)
        if batch is self._embedding:
            self._embedding = None
        else:
            self._batch = _Batch()
        self._committed()
        self.tally.passages += batch.passages
        for pending in batch.documents:
            self._done(pending.prepared.document.id, len(pending.passages))

    def _staged(self, batch: _Batch, hashes: list[bytes]) -> VectorsByHash:
        """Embed what is new slice by slice onto the disk."""
        staged = self._staging.known(hashes)
        ahead = len(staged)
        for part in slices((digest for digest in hashes if digest not in staged), EMBED_SLICE):
            vectors = self._ahead.start([batch.new[digest] for digest in part]).result()
            self.tally.embedded += len(part)
            self._staging.put(part, vectors)
            ahead += len(part)
            self._tell(batch.documents[-1].prepared.document.id, ahead)
        return self._staging.slices(hashes)

    def _done(self, key: str, passages: int) -> None:
        self.tally.done += 1
        self.tally.passages_done += passages
        self._tell(key, 0)

    def _tell(self, key: str, ahead: int) -> None:
        if self._progress is None:
            return
        tally = self.tally
        total = tally.passages_taken if tally.all_read else None
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
