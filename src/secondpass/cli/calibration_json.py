"""The JSON of ``calibrate``; its shape is promised in docs/json.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..calibration import to_json

if TYPE_CHECKING:
    from ..calibration import Calibration

__all__ = ["calibrations"]


def calibrations(made: Sequence[tuple[Calibration, Path]]) -> dict[str, Any]:
    """Return the shape of ``calibrate --json``."""
    return {"calibrations": [{"file": str(path), **to_json(each)} for each, path in made]}
