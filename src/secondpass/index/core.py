"""``Index``: documents, passages and vectors on disk; add, remove, search, look up."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from ..arguments import checked_count, checked_stage1
from ..errors import IndexLockedError, IndexWriteError, InputError
from ..loading import LoadOptions, Skipped
from ..stores import ChromaStore
from ..stores.checks import checked_query as checked_vector
from ..types import Document, Embedder, Hit, MetadataValue, Passage
from . import reader
from .adding import Adding
from .agreement import Parts, Splitter, check_agreement, check_given, new_manifest
from .database import Database, transaction
from .door import checked_query
from .filters import parse
from .folder import CACHE, folder_of, open_folder
from .locking import write_lock
from .outbox import VectorSink
from .schema import Manifest
from .searching import stage1_hits
from .sources import Addable, sorted_out, take_documents, take_files
from .staging import Staging
from .trouble import translated
from .values import AddReport, DocumentSummary, IndexStatus, ProgressCallback
from .vectors import Vectors
from .writer import delete_documents

if TYPE_CHECKING:
    import sqlite3

    from ..types import Floats

__all__ = ["Index"]


@dataclass(frozen=True, slots=True)
class _Writing:
    """What a writer works with, while it holds the lock."""

    connection: sqlite3.Connection
    sink: VectorSink


class Index:
    """Documents, their passages and vectors in a folder. Open it with ``Index.open``.

    Safe to use from several threads and processes: any number may search while one writes. Each search sees
    one committed state. A document is there with all its passages or not at all.
    """

    def __init__(self, folder: Path, database: Database, manifest: Manifest, parts: Parts) -> None:
        self._folder = folder
        self._database = database
        self._manifest = manifest
        self._parts = parts
        self._vectors = Vectors(folder, manifest)
        self._writers = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] = ".secondpass",
        *,
        embedder: Embedder | None = None,
        store: str | None = None,
        create: bool = True,
        splitter: Splitter | None = None,
    ) -> Index:
        """Open the index in a folder; make one if there is none.

        Args:
            path: the folder.
            embedder: None takes the one recorded, all-MiniLM-L6-v2 for a new index.
            store: ``sqlite`` or ``chroma``; None takes the one recorded, ``sqlite`` for a new index.
            create: whether to make an index where there is none.
            splitter: None takes the one recorded, ``RecursiveSplitter()`` for a new index.

        Raises:
            IndexMissingError: no index there, and ``create`` is False or something else is in its place.
            IndexMismatchError: it was built with another embedder, store, splitter or format.
            IndexDamagedError: its files cannot be trusted.
            IndexWriteError: it could not be made.
        """
        check_given(embedder, store, splitter)
        folder = folder_of(path)
        if store == "chroma":
            ChromaStore.check_installed()
        database, manifest = open_folder(
            folder, (lambda: new_manifest(embedder, store, splitter)) if create else None
        )
        try:
            check_agreement(folder, manifest, embedder, store, splitter)
            index = cls(folder, database, manifest, Parts(folder, manifest, embedder, splitter))
            index._deliver_leftovers()
        except BaseException:
            database.close()
            raise
        return index

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def embedder(self) -> Embedder:
        """What turns texts into the vectors of this index; made when first asked for.

        Raises:
            IndexMismatchError: the one recorded cannot be made by its name; give it to ``Index.open``.
        """
        return self._parts.embedder

    def add(
        self,
        given: Addable,
        *,
        prune: bool = False,
        options: LoadOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Add files and folders, or Documents; what is there unchanged costs no embedding.

        Documents are committed in batches of some hundred passages; whatever ends the run, those reported
        done stay. Rows that vanished from a file that is read again are removed.

        Args:
            given: a path, a Document, or several of one kind.
            prune: also remove documents that were read from the paths given, or from below them, and whose
                files this run no longer finds there.
            options: how to read files.
            progress: called after each commit.

        Raises:
            InputError: what was given cannot be indexed.
            IndexLockedError: another process is writing.
            IndexWriteError: the folder cannot be written or the disk is full; the index stays usable.
        """
        start = perf_counter()
        paths, documents, count = sorted_out(given)
        if prune and paths is None:
            raise InputError("prune compares with what is on the disk; it needs paths, not Documents")
        skipped: list[Skipped] = []
        staging: Staging | None = None
        adding: Adding | None = None
        finished = False
        with self._writing() as writing:
            try:
                staging = Staging(
                    self._folder / CACHE / "staged.db", self._manifest.uuid, self._manifest.dimension
                )
                adding = Adding(
                    writing.connection,
                    writing.sink,
                    staging,
                    self._parts.embedder,
                    self._parts.splitter.split,
                    lambda: self._vectors.deliver(writing.connection),
                    progress,
                )
                if paths is None:
                    take_documents(adding, documents, count)
                else:
                    skipped = take_files(
                        adding, writing.connection, paths, options or LoadOptions(), prune=prune
                    )
                finished = True
            finally:
                if adding is not None:
                    adding.close()
                if staging is not None:
                    staging.close(delete=finished)
            self._vectors.save_cache(writing.connection)
        tally = adding.tally
        return AddReport(
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            removed=tally.removed,
            passages=tally.passages,
            embedded=tally.embedded,
            skipped=tuple(skipped),
            seconds=perf_counter() - start,
        )

    def remove(self, document_ids: str | Iterable[str]) -> int:
        """Remove documents by id; return how many of them there were. Unknown ids are ignored."""
        keys = [document_ids] if isinstance(document_ids, str) else list(document_ids)
        if not all(isinstance(key, str) for key in keys):
            raise InputError(f"ids of documents are strings, got {keys!r}")
        with self._writing() as writing:
            with transaction(writing.connection):
                removed = delete_documents(writing.connection, writing.sink, keys)
            self._vectors.deliver(writing.connection)
            self._vectors.save_cache(writing.connection)
        return removed

    def embed_query(self, query: str) -> Floats:
        """Return the ``(dimension,)`` unit vector of a query.

        Raises:
            QueryError: the query is empty, too long, or no text.
        """
        vectors = self._parts.embedder.embed_queries([checked_query(query)])
        return checked_vector(vectors[0], self._manifest.dimension)

    def search(
        self,
        query: str,
        k: int = 20,
        *,
        stage1: str = "dense",
        where: Mapping[str, MetadataValue] | None = None,
    ) -> list[Hit]:
        """Return at most ``k`` stage-1 hits, best first; the same text in several places is one hit.

        Args:
            query: a question or a few words.
            k: how many, at least 1.
            stage1: ``dense`` (cosine), ``lexical`` (BM25) or ``hybrid`` (reciprocal rank fusion of both).
            where: only passages of documents whose metadata has these values; ``id`` and ``source`` can be
                asked for too. Numbers compare as numbers, also when written as text.

        Raises:
            QueryError: the query is empty, too long, or no text.
            InputError: another argument is out of range, or ``where`` names what no document has.
        """
        return self.candidates(query, None, k, stage1, where)

    def candidates(
        self,
        query: str,
        vector: Floats | None,
        k: int,
        stage1: str = "dense",
        where: Mapping[str, MetadataValue] | None = None,
    ) -> list[Hit]:
        """Like ``search``, with the query's vector where one has it already (``lexical`` needs none)."""
        query = checked_query(query)
        k = checked_count("k", k)
        stage1 = checked_stage1(stage1)
        if stage1 == "lexical":
            vector = None
        elif vector is None:
            vector = self.embed_query(query)
        with self._reading() as connection:
            return stage1_hits(
                connection,
                self._vectors.store(connection),
                "" if stage1 == "dense" else query,
                vector,
                k,
                parse(connection, where),
            )

    def document(self, document_id: str) -> Document:
        """Return a document; InputError if there is none of that id."""
        with self._reading() as connection:
            return reader.document(connection, document_id)

    def documents(self) -> list[DocumentSummary]:
        """Return all documents without their texts, in order of id."""
        with self._reading() as connection:
            return reader.summaries(connection)

    def passage(self, passage_id: str) -> Passage:
        """Return a passage; InputError if there is none of that id."""
        with self._reading() as connection:
            return reader.passage(connection, passage_id)

    def passages(self, document_id: str) -> list[Passage]:
        """Return the passages of a document in order of start; none for an id that is not there."""
        with self._reading() as connection:
            return reader.passages(connection, document_id)

    def texts(self) -> Iterator[str]:
        """Yield the distinct texts of all passages, as they were when each slice of some hundred was read."""
        last = 0
        while True:
            with self._reading() as connection:
                rows = reader.texts_after(connection, last)
            if not rows:
                return
            yield from (text for _, text in rows)
            last = rows[-1][0]

    def __len__(self) -> int:
        with self._reading() as connection:
            return reader.counts(connection)["passages"]

    def status(self) -> IndexStatus:
        """Return what is in the index."""
        with self._reading() as connection:
            return reader.status(connection, self._folder, self._manifest)

    def fingerprint(self, *, vectors: bool = True) -> str:
        """Return a digest of the content: equal for two indexes that hold the same, however they came to it.

        ``vectors=False`` leaves the vectors out, whose last bits can depend on what was embedded together.
        """
        with self._reading() as connection:
            return reader.fingerprint(connection, vectors=vectors)

    def close(self) -> None:
        """Close all connections; more than once does no harm."""
        self._database.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        built = f"embedder={self._manifest.embedder!r}, store={self._manifest.store!r}"
        return f"Index({str(self._folder)!r}, {built})"

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self._folder), self._database.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[_Writing]:
        """Hold the lock: against other threads of this index (they wait) and against other processes."""
        with (
            self._writers,
            translated(self._folder),
            write_lock(self._folder),
            self._database.writing() as connection,
        ):
            self._vectors.deliver(connection)
            yield _Writing(connection, self._vectors.sink(connection))

    def _deliver_leftovers(self) -> None:
        """Send on what a killed run committed but did not deliver, unless somebody is writing just now."""
        if self._vectors.inside or not self.status().pending:
            return
        with suppress(IndexLockedError, IndexWriteError), self._writing():
            pass
