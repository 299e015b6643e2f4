"""The values that flow through the system and the protocols of its three exchangeable parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Ids = npt.NDArray[np.int64]

__all__ = [
    "Document",
    "Embedder",
    "Hit",
    "MetadataValue",
    "Passage",
    "Reading",
    "Reranker",
    "SearchResult",
    "SupportsMany",
    "SupportsPrecomputed",
    "SupportsReadings",
    "Timings",
    "VectorStore",
]

MetadataValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a stable id.

    Attributes:
        id: stable across runs; the absolute path of its file (``path#row`` for a row of a
            CSV/JSON/JSONL file), or whatever the caller chose.
        text: the whole text, newlines as in the file.
        metadata: flat values one can filter on.
        source: what a person should see as the origin: the path of the file, or the id.
        page_starts: offset in ``text`` at which each page starts, ascending; empty without pages.
    """

    id: str
    text: str
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    source: str = ""
    page_starts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    r"""A stretch of a document: ``document.text[start:end] == text``, always.

    Attributes:
        id: stable, from document id, start and text (16 hex digits).
        start, end: offsets in characters (Python string indices) into the document's text.
        line_start, line_end: first and last line, from 1; ``\n``, ``\r\n`` and ``\r`` end a line.
        page: page number from 1 where the passage starts, or None without pages.
        metadata: the document's.
    """

    id: str
    document_id: str
    text: str
    start: int
    end: int
    source: str = ""
    line_start: int = 1
    line_end: int = 1
    page: int | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What stage 2 made of one passage.

    Attributes:
        score: higher is better; a cross-encoder's raw logit.
        tokens_seen, tokens_total: how many of the passage's tokens the re-ranker read.
        start, end: the span of the passage's text (characters) that gave the score: the whole
            passage, or the best window of a passage longer than the model's window.
    """

    score: float
    tokens_seen: int
    tokens_total: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its place in a list.

    Attributes:
        passage: the passage.
        score: higher is better, on the scale of the stage that gave it; minus infinity where ``unread``.
        rank: from 1.
        candidate: the stage-1 hit that a re-ranked hit comes from; None on a stage-1 hit.
        probability: in 0..1: calibrated on judged queries where a calibration was given, else the sigmoid
            of a cross-encoder's logit; None where the score is no logit and nothing was calibrated.
        reading: what stage 2 read; None on a stage-1 hit.
        distance: cosine distance of a dense stage-1 hit (0..2); None otherwise.
        also_in: further places that hold the same text, in order of document id and start.
        copied_from: id of the passage that says the same and whose score this one took over; None where
            stage 2 read this one itself.
        unread: a deadline came before stage 2 read it: it stands behind all that were, in stage 1's order.
    """

    passage: Passage
    score: float
    rank: int
    candidate: Hit | None = None
    probability: float | None = None
    reading: Reading | None = None
    distance: float | None = None
    also_in: tuple[Passage, ...] = ()
    copied_from: str | None = None
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall time of one search, in milliseconds."""

    embed: float
    search: float
    rerank: float
    total: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query: the hits, and what they were chosen from.

    Attributes:
        hits: the best ``k``, best first.
        candidates: what stage 1 handed to stage 2, best first.
        ranked: every candidate after stage 2, best first; ``hits`` is its head.
        stage1: ``dense``, ``lexical`` or ``hybrid``; ``given`` where the caller brought the candidates.
        reranker: name of the re-ranker, or ``none``.
        scored: how many candidates stage 2 read, now or earlier (``cached``). With stage 2 on, ``scored``,
            ``copied`` and ``unread`` add up to the candidates.
        truncated: how many of those it could not read whole.
        calibrated: whether the probabilities were calibrated on judged queries.
        copied: how many candidates took over the score of one that says the same.
        cached: how many of ``scored`` were known from an earlier search; ``timings`` were not spent on them.
        gated: a gate skipped stage 2 for this query; the hits are stage 1's.
    """

    query: str
    hits: tuple[Hit, ...]
    candidates: tuple[Hit, ...]
    ranked: tuple[Hit, ...]
    timings: Timings
    stage1: str
    reranker: str
    k: int
    scored: int
    truncated: int = 0
    calibrated: bool = False
    copied: int = 0
    cached: int = 0
    gated: bool = False

    @property
    def unread(self) -> int:
        """How many candidates a deadline kept stage 2 from reading."""
        return sum(hit.unread for hit in self.ranked)


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors."""

    @property
    def name(self) -> str:
        """What people call it, and what is recorded and shown."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, dimension)`` float32, each row of unit length."""
        ...


@runtime_checkable
class VectorStore(Protocol):
    """Unit vectors under integer ids, searched by cosine similarity."""

    def add(self, ids: Sequence[int], vectors: Floats) -> None:
        """Add or replace. Raises InputError on a wrong shape, NaN, or a repeated id in one call."""
        ...

    def search(self, vector: Floats, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` pairs (id, cosine), best first, ties by id.

        ``allowed`` limits the search to those ids; an empty sequence gives no hit.
        """
        ...

    def delete(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        ...

    def ids(self) -> list[int]:
        """Return every id, ascending."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class Reranker(Protocol):
    """Scores passages for a query."""

    @property
    def name(self) -> str:
        """What people call it, and what is recorded and shown."""
        ...

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return ``(n,)`` float32 in input order, higher is better. ``[]`` gives shape ``(0,)``."""
        ...


@runtime_checkable
class SupportsReadings(Protocol):
    """A re-ranker that can also say what it read."""

    @property
    def logits(self) -> bool:
        """Whether a score is a logit, so that its sigmoid is a probability."""
        ...

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the window that won and the tokens read."""
        ...


@runtime_checkable
class SupportsPrecomputed(Protocol):
    """A re-ranker that looks passages up in what was kept of them beside an index."""

    def beside(self, folder: Path) -> None:
        """Look passages up there from now on, where something is kept; called before each search."""
        ...


@runtime_checkable
class SupportsMany(Protocol):
    """A re-ranker that reads pairs of several queries in the same batches."""

    def read_many(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[list[Reading]]:
        """Like ``SupportsReadings.read`` for each query with its passages."""
        ...
