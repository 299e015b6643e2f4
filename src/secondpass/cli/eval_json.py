"""The JSON of ``eval``, as docs/json.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..evaluation.baseline import DIGITS, Checked, judgments_digest
from ..evaluation.values import Ceiling, Paired, Row

if TYPE_CHECKING:
    from .eval_work import Found

__all__ = ["evaluation"]

Shape = dict[str, Any]


def evaluation(found: Found) -> Shape:
    """Return the shape of ``eval --json``."""
    value, judged = found.evaluation, found.judged
    return {
        "origin": value.origin,
        "queries": value.queries,
        "unit": value.unit,
        "synthetic": value.synthetic,
        "missing": {key: list(names) for key, names in judged.missing.items()},
        "refused": dict(found.refused),
        "judgments": judgments_digest(judged),
        "measures": list(value.measures),
        "k": found.k,
        "candidates": found.candidates,
        "depth": found.depth,
        "documents_deep": None if found.documents_deep is None else round(found.documents_deep, 1),
        "passages": found.passages,
        "ceilings": [_ceiling(each) for each in value.ceilings],
        "rows": [_row(each) for each in value.rows],
        "per_query": [
            {
                "id": each.query_id,
                "query": each.query,
                "values": {
                    name: [round(number, DIGITS) for number in numbers]
                    for name, numbers in each.values.items()
                },
            }
            for each in value.per_query
        ],
        "baseline": None if found.checked is None else _checked(found.checked),
        "seconds": round(found.seconds, 3),
    }


def _row(value: Row) -> Shape:
    return {
        "name": value.setting.name,
        "stage1": value.setting.stage1,
        "reranker": value.setting.reranker,
        "candidates": value.setting.candidates,
        "means": {name: round(mean, DIGITS) for name, mean in value.means.items()},
        "against": {name: _paired(each) for name, each in value.against.items()},
        "latency_ms": None if value.latency_ms is None else round(value.latency_ms, 3),
    }


def _ceiling(value: Ceiling) -> Shape:
    return {
        "stage1": value.stage1,
        "k": value.k,
        "candidates": value.candidates,
        "in_top": round(value.in_top, DIGITS),
        "in_candidates": round(value.in_candidates, DIGITS),
        "absent": round(value.absent, DIGITS),
    }


def _paired(value: Paired) -> Shape:
    return {
        "difference": round(value.difference, DIGITS),
        "low": round(value.low, DIGITS),
        "high": round(value.high, DIGITS),
        "p": round(value.p, DIGITS),
        "wins": value.wins,
        "losses": value.losses,
        "ties": value.ties,
    }


def _checked(value: Checked) -> Shape:
    return {
        "file": str(value.path),
        "measure": value.measure,
        "fail_under": value.fail_under,
        "failed": [each.setting.name for each in value.failed],
        "rows": [
            {
                "name": each.setting.name,
                "before": round(each.before, DIGITS),
                "after": round(each.after, DIGITS),
                **_paired(each.paired),
            }
            for each in value.rows
        ],
    }
