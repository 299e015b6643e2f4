"""A bench as JSON; the shape is promised in docs/json.md, so only ever add to it."""

from __future__ import annotations

from typing import Any

from ..benching import AtDepth, Bench, Machine, Measured, Spread

__all__ = ["bench"]

Shape = dict[str, Any]


def bench(value: Bench) -> Shape:
    """Return the shape of ``bench --json``."""
    return {
        "machine": _machine(value.machine),
        "index": value.index,
        "passages": value.passages,
        "queries": value.queries,
        "stage1": _measured(value.stage1),
        "rerankers": [_measured(each) for each in value.rerankers],
        "failures": [{"reranker": each.name, "reason": each.reason} for each in value.failures],
    }


def _machine(value: Machine) -> Shape:
    return {
        "cpu": value.cpu,
        "flags": list(value.flags),
        "cores": value.cores,
        "affinity": value.affinity,
        "quota": value.quota,
        "memory_bytes": value.memory,
        "system": value.system,
        "versions": dict(value.versions),
    }


def _measured(value: Measured) -> Shape:
    return {
        "reranker": value.name,
        "load_ms": round(value.load, 1),
        "at": [_at_depth(each) for each in value.at],
        "passages_per_second": _rounded(value.passages_per_second),
        "tokens_per_passage": _rounded(value.tokens_per_passage),
        "peak_memory_bytes": value.peak_memory,
        "cold_ms": _spread(value.cold),
    }


def _at_depth(value: AtDepth) -> Shape:
    return {
        "candidates": value.candidates,
        "stage1_ms": _spread(value.stage1),
        "rerank_ms": None if value.rerank is None else _spread(value.rerank),
        "total_ms": _spread(value.total),
    }


def _spread(value: Spread) -> Shape:
    return {"p50": round(value.p50, 3), "p95": round(value.p95, 3), "samples": value.samples}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
