"""Fetching a model from the hub, ready to be used without a network from then on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import hub, models
from ..arguments import checked_precision
from ..errors import InputError
from ..models import ModelFolder
from .golden import measure, replay
from .records import Record, facts_of, files_of, read_record, write_record

__all__ = ["Pulled", "pull", "recorded"]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is now on this machine.

    Attributes:
        folder: where it lies.
        weights: the file with its weights that is used.
        record: its files, its golden values and its speed.
    """

    folder: ModelFolder
    weights: Path
    record: Record


def pull(name: str, precision: str = "int8", progress: hub.Progress | None = None) -> Pulled:
    """Fetch a re-ranker or an embedder, convert it where that is needed, and record what it says.

    What is complete on this machine already is not fetched again.

    Args:
        name: a short name, or ``owner/name``.
        precision: ``int8`` takes the 8-bit file made for this processor where the model has one, ``fp32`` the
            exact one.
        progress: is told how far the weights are.

    Raises:
        InputError: not a name of a model that can be fetched.
        ModelNotFoundError: the hub does not know it, or cannot be reached.
        ModelInvalidError: what came is not what the hub describes, or cannot be used.
        ModelError: the download broke off, or something cannot be written.
        MissingExtraError: it must be converted, and the extra for that is not installed.
    """
    precision = checked_precision(precision)
    folder = models.resolve(name, None, download=True, progress=progress, precision=precision)
    if folder.origin == "folder":
        raise InputError(f"{name} is a folder on this machine; there is nothing to fetch")
    shipped = read_record(folder.name) if folder.origin == "package" else None
    if shipped is not None:
        return Pulled(folder, folder.weights(), shipped)
    exact = folder.safetensors() or folder.onnx() != folder.eight_bit()
    if precision == "fp32" and not exact and folder.origin == "hub cache":
        known = models.known_as(name)
        hub.download((known.hub_id if known else None) or name, progress, precision)
    record = recorded(folder)
    weights = folder.eight_bit() if precision == "int8" else None
    return Pulled(folder, weights or folder.safetensors() or folder.weights(), record)


def recorded(folder: ModelFolder, golden: bool = True) -> Record:
    """Write the record of a model that has just arrived, and return it."""
    known, kind = models.known_as(folder.name), models.kind_of(folder)
    record = Record(
        folder.name,
        kind,
        known.hub_id if known else folder.name if hub.is_hub_id(folder.name) else None,
        folder.path.name if folder.origin in ("hub", "hub cache") else None,
        {name: facts_of(file) for name, file in files_of(folder).items()},
        replay(folder, kind) if golden else None,
        measure(folder.name, kind),
    )
    write_record(record)
    return record
