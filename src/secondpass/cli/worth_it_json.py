"""The JSON of ``worth-it``, as docs/json.md describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..evaluation.values import Paired, Setting
from ..verdict import GateReceipt, HeldOut, SweepRow, Verdict

__all__ = ["verdict"]

Shape = dict[str, Any]


def verdict(value: Verdict, written: tuple[Path, list[str]] | str | None = None) -> Shape:
    """Return the shape of ``worth-it --json``; ``written`` is what ``--write`` did."""
    return {
        "verdict": value.kind,
        "sentences": list(value.sentences),
        "synthetic": value.synthetic,
        "measure": value.measure,
        "least_gain": value.least_gain,
        "k": value.k,
        "queries": value.queries,
        "passages": value.passages,
        "unit": value.unit,
        "origin": value.origin,
        "chosen": None if value.chosen is None else _setting(value.chosen),
        "challenger": None if value.challenger is None else _setting(value.challenger),
        "baseline": _setting(value.baseline),
        "held_out": None if value.held_out is None else _held_out(value.held_out),
        "rows": [_row(each) for each in value.rows],
        "ceilings": [
            {
                "stage1": each.stage1,
                "k": each.k,
                "candidates": each.candidates,
                "in_top": _share(each.in_top),
                "in_candidates": _share(each.in_candidates),
                "absent": _share(each.absent),
            }
            for each in value.ceilings
        ],
        "agreements": [
            {"rerankers": list(each.rerankers), "overlap": _share(each.overlap)} for each in value.agreements
        ],
        "gate": None if value.gate is None else _gate(value.gate),
        "gate_note": value.gate_note,
        "scored": value.scored,
        "left_out": value.left_out,
        "seconds": round(value.seconds, 3),
        "written": _written(written),
    }


def _setting(value: Setting) -> Shape:
    return {
        "name": value.name,
        "stage1": value.stage1,
        "reranker": value.reranker,
        "candidates": value.candidates,
    }


def _held_out(value: HeldOut) -> Shape:
    return {
        "difference": _share(value.difference),
        "low": _share(value.low),
        "high": _share(value.high),
        "wins": value.wins,
        "losses": value.losses,
        "ties": value.ties,
        "queries": value.queries,
        "splits": value.splits,
        "picked": {name: _share(share) for name, share in value.picked.items()},
        "needed": value.needed,
    }


def _row(value: SweepRow) -> Shape:
    change = value.change
    return {
        **_setting(value.setting),
        "latency_ms": round(value.latency_ms, 3),
        "quality": None if value.quality is None else _share(value.quality),
        "gain": None if value.gain is None else _paired(value.gain),
        "pareto": value.pareto,
        "change": None
        if change is None
        else {
            "changed": _share(change.changed),
            "changed_share": _share(change.changed_share),
            "new_first_share": _share(change.new_first_share),
            "came_from": _share(change.came_from),
            "margin": _share(change.margin),
        },
    }


def _paired(value: Paired) -> Shape:
    return {
        "difference": _share(value.difference),
        "low": _share(value.low),
        "high": _share(value.high),
        "p": _share(value.p),
        "wins": value.wins,
        "losses": value.losses,
        "ties": value.ties,
    }


def _gate(value: GateReceipt) -> Shape:
    return {
        "rule": str(value.gate),
        "stage1": value.gate.stage1,
        "feature": value.gate.feature,
        "threshold": value.gate.threshold,
        "setting": _setting(value.setting),
        "skipped": _share(value.skipped),
        "saved_ms": round(value.saved_ms, 3),
        "full_ms": round(value.full_ms, 3),
        "unchanged": _share(value.unchanged),
        "lost": _optional(value.lost),
        "low": _optional(value.low),
        "high": _optional(value.high),
        "lost_at_random": _optional(value.lost_at_random),
        "queries": value.queries,
        "splits": value.splits,
    }


def _written(written: tuple[Path, list[str]] | str | None) -> Shape | None:
    if written is None or isinstance(written, str):
        return None
    file, lines = written
    return {"file": str(file), "lines": lines}


def _share(value: float) -> float:
    return round(value, 4)


def _optional(value: float | None) -> float | None:
    return None if value is None else _share(value)
