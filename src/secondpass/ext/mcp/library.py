"""``Library``: what the tools ask of an index, as the shapes of docs/json.md."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ... import shapes
from ...catalogue import KNOWN
from ...comparison import Comparison
from ...engine import Engine
from ...errors import InputError
from ...gating import Gate
from ...index import DocumentSummary, Index
from ...index.folder import DATABASE
from ...reranking import AUTO_RERANKER, load_reranker
from ...scores import CachedReranker, ScoreCache
from ...types import Reranker, SearchResult

__all__ = ["Library"]

OFF = "none"
SHIPPED = tuple(each.name for each in KNOWN if each.shipped and each.kind == "reranker")


class Library:
    """An index with its re-rankers, ready to be asked from several threads.

    Args:
        index: open for reading.
        rerankers: name as asked for to the loaded re-ranker; the first is what a search uses by default.
            None turn stage 2 off by default. The shipped ones can be asked for besides, and are loaded then.
        k: hits of a search by default.
        candidates: how many passages stage 1 hands to stage 2 by default.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        precision: of the re-rankers that are loaded later.
        cache: keeps scores, so that no passage is read twice for the same query.
        gate: tells for which queries stage 2 is skipped where nobody asked for a re-ranker by name.
        deadline_ms: most milliseconds for a search.
    """

    def __init__(
        self,
        index: Index,
        rerankers: Mapping[str, Reranker],
        *,
        k: int = 3,
        candidates: int = 20,
        stage1: str = "dense",
        precision: str = "int8",
        cache: ScoreCache | None = None,
        gate: Gate | None = None,
        deadline_ms: float | None = None,
    ) -> None:
        self._index = index
        self._stamp = _stamp(index)
        self.k = k
        self.candidates = candidates
        self.stage1 = stage1
        self._default = next(iter(rerankers), OFF)
        self._precision = precision
        self._cache = cache
        self._gate = gate
        self._deadline_ms = deadline_ms
        self._loaded = dict(rerankers)
        self._engines: dict[tuple[str, str, bool, tuple[str, ...]], Engine] = {}
        self._lock = threading.Lock()

    @property
    def index(self) -> Index:
        """The index; opened anew where another process has put a rebuilt one in its place."""
        stamp = _stamp(self._index)
        with self._lock:
            if stamp is not None and stamp != self._stamp:
                before, self._index = self._index, Index.open(self._index.path, create=False)
                self._stamp = stamp
                self._engines.clear()
                before.close()
        return self._index

    def close(self) -> None:
        """Close the index; more than once does no harm."""
        self._index.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The re-rankers that can be asked for, ``none`` last."""
        return (*dict.fromkeys((*self._loaded, *SHIPPED)), OFF)

    def search(
        self,
        query: str,
        k: int | None,
        candidates: int | None,
        stage1: str | None,
        reranker: str | None,
        where: Mapping[str, str] | None,
        cancel: threading.Event,
    ) -> tuple[SearchResult, dict[str, Any]]:
        """Return an answer, and the same in the shape of ``search --json``.

        Raises:
            InputError, StorageError, ModelError, SearchCancelledError: as for ``Engine.search``.
        """
        engine = self._engine(stage1 or self.stage1, reranker)
        wanted, deep = self._counts(k, candidates)
        result = engine.search(
            query, wanted, candidates=deep, where=where, deadline_ms=self._deadline_ms, cancel=cancel
        )
        return result, shapes.search_result(result, deep)

    def compare(
        self,
        query: str,
        rerankers: Sequence[str] | None,
        k: int | None,
        candidates: int | None,
        stage1: str | None,
        where: Mapping[str, str] | None,
        cancel: threading.Event,
    ) -> tuple[Comparison, dict[str, Any]]:
        """Return what re-rankers change, and the same in the shape of one entry of ``compare --json``.

        Raises:
            InputError: there is no re-ranker to compare with, or as for ``search``.
        """
        names = list(dict.fromkeys(rerankers or ([] if self._default == OFF else [self._default])))
        if not names or OFF in names:
            raise InputError(
                f"compare shows what a re-ranker changes; name one of {', '.join(self.names[:-1])}"
            )
        wanted, deep = self._counts(k, candidates)
        readers = [self._reranker(name) for name in names]
        found = self._engine(stage1 or self.stage1, OFF, readers).compare(
            query,
            readers,
            wanted,
            candidates=deep,
            where=where,
            deadline_ms=self._deadline_ms,
            cancel=cancel,
        )
        return found, {"k": wanted, "candidates": deep, **shapes.comparison(found)}

    def passage(self, passage_id: str, context: int) -> dict[str, Any]:
        """Return a passage with up to ``context`` characters of its document on either side.

        Raises:
            InputError: there is none of that id.
        """
        index = self.index
        found = index.passage(passage_id)
        document = index.document(found.document_id)
        return {
            "passage": shapes.passage(found),
            "before": document.text[max(0, found.start - context) : found.start],
            "after": document.text[found.end : found.end + context],
            "document": {
                "id": document.id,
                "source": document.source,
                "characters": len(document.text),
            },
        }

    def documents(
        self, contains: str, after: str | None, limit: int
    ) -> tuple[list[DocumentSummary], int, bool]:
        """Return the documents whose source holds a text, those behind an id, at most ``limit``.

        Returns:
            The documents in order of id, how many there are in all, and whether more follow.
        """
        wanted = contains.casefold()
        found = [each for each in self.index.documents() if wanted in each.source.casefold()]
        behind = [each for each in found if after is None or each.id > after]
        return behind[:limit], len(found), len(behind) > limit

    def _counts(self, k: int | None, candidates: int | None) -> tuple[int, int]:
        """Return both numbers; the one that was not asked for gives way."""
        if k is not None and candidates is None:
            return k, max(k, self.candidates)
        if k is None and candidates is not None:
            return min(self.k, candidates), candidates
        return k or self.k, candidates or self.candidates

    def _engine(self, stage1: str, reranker: str | None, compared: Sequence[Reranker] = ()) -> Engine:
        """Return the engine for a way to search; the gate applies only where no re-ranker was named."""
        index = self.index
        name = self._default if reranker is None else reranker
        gated = reranker is None and self._gate is not None and self._gate.stage1 == stage1
        reader = None if name == OFF else self._reranker(name)
        key = (stage1, name, gated, tuple(each.name for each in compared))
        with self._lock:
            if key not in self._engines:
                self._engines[key] = Engine(
                    index,
                    reader,
                    self.candidates,
                    stage1,
                    self._calibrations([*compared, *([reader] if reader else [])]),
                    cache=self._cache,
                    gate=self._gate if gated else None,
                )
            return self._engines[key]

    def _reranker(self, name: str) -> Reranker:
        with self._lock:
            if name not in self._loaded and name == AUTO_RERANKER and "auto" in self._loaded:
                return self._loaded["auto"]
            if name not in self._loaded:
                if name not in SHIPPED:
                    raise InputError(f"no re-ranker {name!r} here; there are {', '.join(self.names)}")
                self._loaded[name] = load_reranker(name, precision=self._precision)
            return self._loaded[name]

    def _calibrations(self, readers: Sequence[Reranker]) -> dict[str, Any]:
        from ...calibration import FOLDER, lookup

        folder = self._index.path
        if not (folder / FOLDER).is_dir():
            return {}
        asked = [each if self._cache is None else CachedReranker(each, self._cache) for each in readers]
        found = {each.name: lookup(folder, each).calibration for each in asked}
        return {name: each.probability for name, each in found.items() if each is not None}


def _stamp(index: Index) -> tuple[int, int] | None:
    """Return what tells one database file from another under the same name; None where there is none."""
    try:
        found = (index.path / DATABASE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
