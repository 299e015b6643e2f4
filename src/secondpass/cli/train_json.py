"""The JSON of ``train``, promised in docs/json.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation.values import Paired, Row
from ..tuning import Tuned, sentences

__all__ = ["tuned", "write"]


def tuned(done: Tuned) -> dict[str, Any]:
    """Return the shape of ``train --json``."""
    learnt, found = done.learnt, done.held_out
    return {
        "outcome": done.outcome,
        "installed": done.installed is not None,
        "sentences": sentences(done),
        "name": done.name,
        "from": done.start,
        "path": str(done.installed or done.folder),
        "work": str(done.work),
        "origin": done.judged.origin,
        "synthetic": done.judged.synthetic,
        "unit": done.judged.unit,
        "seed": done.seed,
        "queries": {
            "usable": len(done.judged.queries),
            "unusable": done.unusable,
            "training": done.training,
            "learnt_from": learnt.examples,
            "validation": done.validation,
            "held_out": found.evaluation.queries,
        },
        "training": {
            "steps": learnt.steps,
            "best_step": learnt.best.step,
            "resumed_at": learnt.resumed_at,
            "negatives": round(learnt.negatives, 1),
            "checks": [{"step": each.step, "nDCG@10": round(each.quality, 4)} for each in learnt.checks],
            "seconds": round(learnt.seconds, 1),
        },
        "rows": [_row(row) for row in found.evaluation.rows],
        "against_base": _differences(found.against_base),
        "against_stage1": _differences(found.against_stage1),
        "seconds": round(done.seconds, 1),
    }


def write(file: Path, shape: dict[str, Any]) -> None:
    """Write the report beside the weights; it holds no query."""
    file.write_text(json.dumps(shape, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _row(row: Row) -> dict[str, Any]:
    setting = row.setting
    return {
        "name": setting.name,
        "stage1": setting.stage1,
        "reranker": setting.reranker,
        "candidates": setting.candidates,
        "means": {name: round(value, 4) for name, value in row.means.items()},
        "latency_ms": None if row.latency_ms is None else round(row.latency_ms, 1),
    }


def _differences(found: Mapping[str, Paired]) -> dict[str, Any]:
    return {
        name: {key: round(value, 4) for key, value in asdict(each).items()} for name, each in found.items()
    }
