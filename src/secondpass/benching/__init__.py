"""What searching costs on this machine: latency, throughput and memory of each re-ranker, over one index."""

from __future__ import annotations

from .questions import questions_from
from .running import DEPTHS, bench
from .values import AtDepth, Bench, Failure, Machine, Measured, Spread

__all__ = [
    "DEPTHS",
    "AtDepth",
    "Bench",
    "Failure",
    "Machine",
    "Measured",
    "Spread",
    "bench",
    "questions_from",
]
