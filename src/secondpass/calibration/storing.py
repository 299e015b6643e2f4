"""Calibrations on disk: one JSON file for each re-ranker, in the folder ``calibration`` of an index."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from ..errors import IndexDamagedError, IndexWriteError
from ..types import Reranker
from .probing import probe, same_model
from .values import Bin, Calibration, Curve, HeldOut, Reliability, Step

__all__ = ["FOLDER", "Lookup", "file_of", "from_json", "lookup", "save", "to_json"]

FOLDER = "calibration"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Lookup:
    """What there is for a re-ranker.

    Attributes:
        calibration: fitted with this very model, or None.
        why_not: where there is none, why, in a few words.
    """

    calibration: Calibration | None
    why_not: str = ""


def file_of(index: Path, reranker: str) -> Path:
    """Return where the calibration of a re-ranker lies, below the folder of an index."""
    plain = re.sub(r"[^\w.-]+", "--", reranker).strip(".") or "unnamed"
    return index / FOLDER / f"{plain}.json"


def save(calibration: Calibration, index: Path) -> Path:
    """Write a calibration beside an index, whole or not at all; return its file.

    Raises:
        IndexWriteError: it cannot be written.
    """
    file = file_of(index, calibration.reranker)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(exist_ok=True)
        with unfinished.open("w", encoding="utf-8") as stream:
            json.dump(to_json(calibration), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError as exc:
        raise IndexWriteError(f"cannot write {file}: {exc.strerror}; look at the folder's rights") from exc
    return file


def lookup(index: Path, reranker: Reranker) -> Lookup:
    """Return the calibration of a re-ranker, if it was fitted with this very model.

    Raises:
        IndexDamagedError: there is one that cannot be read.
    """
    file = file_of(index, reranker.name)
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        found = from_json(written)
    except FileNotFoundError:
        return Lookup(None, f"{reranker.name} is not calibrated for this index")
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise IndexDamagedError(
            f"cannot read the calibration {file} ({type(exc).__name__}: {exc}); fit it again with "
            "secondpass calibrate, or delete it"
        ) from exc
    if found.reranker != reranker.name or not same_model(found.probes, probe(reranker)):
        return Lookup(None, f"{reranker.name} was calibrated with other weights than these")
    return Lookup(found)


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Return the shape on disk and of ``calibrate --json``."""
    return {"format": FORMAT, **asdict(calibration)}


def from_json(written: Mapping[str, Any]) -> Calibration:
    """Return what ``to_json`` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    values = dict(written)
    if values.pop("format") != FORMAT:
        raise ValueError("it has another format")
    curve = values.pop("curve")
    before = values.pop("before")
    made = Calibration(
        probes=tuple(map(float, values.pop("probes"))),
        curve=Curve(
            curve["method"],
            float(curve["slope"]),
            float(curve["offset"]),
            tuple(map(float, curve["scores"])),
            tuple(map(float, curve["probabilities"])),
        ),
        before=None if before is None else _reliability(before),
        after=_reliability(values.pop("after")),
        steps=tuple(Step(**each) for each in values.pop("steps")),
        held_out=tuple(HeldOut(**each) for each in values.pop("held_out")),
        **values,
    )
    _check_curve(made.curve)
    return made


def _reliability(written: Mapping[str, Any]) -> Reliability:
    values = dict(written)
    return Reliability(bins=tuple(Bin(**each) for each in values.pop("bins")), **values)


def _check_curve(curve: Curve) -> None:
    """Raise ValueError for a curve that could fall, or that no score can be read with."""
    if curve.method not in ("sigmoid", "platt", "isotonic"):
        raise ValueError(f"there is no method {curve.method!r}")
    if not (curve.slope >= 0 and isfinite(curve.slope) and isfinite(curve.offset)):
        raise ValueError("its curve falls")
    scores, values = curve.scores, curve.probabilities
    if curve.method == "isotonic" and (
        not scores
        or len(scores) != len(values)
        or any(low >= high for low, high in pairwise(scores))
        or any(low > high for low, high in pairwise(values))
        or not 0 <= values[0] <= values[-1] <= 1
    ):
        raise ValueError("its curve is no rising one")
