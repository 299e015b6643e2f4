"""What a bench gives. Times are wall-clock milliseconds, memory is in bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError

__all__ = ["AtDepth", "Bench", "Failure", "Machine", "Measured", "Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile (nearest rank) of some measurements.

    Attributes:
        p50, p95: in the unit of what was measured.
        samples: how many measurements there were, at least 1.
    """

    p50: float
    p95: float
    samples: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value.

        Raises:
            InputError: there is none.
        """
        if not values:
            raise InputError("a spread needs at least one measurement")
        ordered = sorted(values)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        return cls(median, ordered[math.ceil(0.95 * len(ordered)) - 1], len(ordered))


@dataclass(frozen=True, slots=True)
class AtDepth:
    """Searches with one number of candidates.

    Attributes:
        candidates: how many stage 1 handed on.
        stage1: embedding the query and searching the index.
        rerank: what stage 2 added; None with stage 2 off.
        total: a whole search.
    """

    candidates: int
    stage1: Spread
    rerank: Spread | None
    total: Spread


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to search, in a process of its own.

    Attributes:
        name: the re-ranker's name; ``none`` is stage 1 alone.
        load: opening index and models, up to the end of the first search.
        at: one entry for each number of candidates, ascending.
        passages_per_second: what stage 2 reads, at most candidates; None with stage 2 off.
        tokens_per_passage: mean, as the re-ranker counts them; None where it does not say.
        peak_memory: of the process; None where the system does not tell.
        cold: a whole ``secondpass search`` in a new process, 20 candidates, files in the system's cache.
    """

    name: str
    load: float
    at: tuple[AtDepth, ...]
    passages_per_second: float | None
    tokens_per_passage: float | None
    peak_memory: int | None
    cold: Spread


@dataclass(frozen=True, slots=True)
class Failure:
    """A re-ranker that could not be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured.

    Attributes:
        cpu: name of the processor.
        flags: those of its instruction sets that matter here.
        cores: how many this process may use: affinity and quota together.
        affinity: cores this process may run on.
        quota: cores' worth of time that its container grants; None without a limit.
        memory: bytes of main memory; None where the system does not tell.
        versions: of Python and of the packages that the figures depend on.
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    affinity: int
    quota: float | None
    memory: int | None
    system: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that was measured over one index.

    Attributes:
        index: its folder.
        passages: how many it holds.
        queries: how many different ones were asked.
        stage1: stage 1 alone.
        rerankers: each with both stages, in the order they were asked for.
        failures: those that could not be measured.
    """

    machine: Machine
    index: str
    passages: int
    queries: int
    stage1: Measured
    rerankers: tuple[Measured, ...]
    failures: tuple[Failure, ...] = ()
