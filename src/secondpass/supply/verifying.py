"""Whether a model is still the one that was fetched: its files, and what it says. No network."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from .. import models
from ..errors import InputError, ModelError, ModelInvalidError
from ..models import ModelFolder
from .golden import Speed, allowed, compare, measure
from .records import Record, facts_of, read_record, recorded_names, write_record

__all__ = ["Verified", "on_this_machine", "verifiable", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check found.

    Attributes:
        name: of the model.
        files: how many were compared with their sha256.
        values: how many golden values were replayed.
        precision: in which.
        difference: of the value that differs most; ``tolerance`` is what is allowed.
        speed: measured just now.
    """

    name: str
    files: int
    values: int
    precision: str
    difference: float
    tolerance: float
    speed: Speed


def verify(name: str) -> Verified:
    """Compare a model's files with their recorded sha256, replay its golden values, measure its speed.

    Args:
        name: of a model on this machine that was pulled, imported or came with the package.

    Raises:
        InputError: there is no record to compare with.
        ModelNotFoundError: it is not on this machine.
        ModelInvalidError: a file is missing or another one, or the model says something else than it did.
    """
    folder = models.resolve(name, None)
    record = read_record(folder.name)
    if record is None or record.golden is None:
        raise InputError(
            f"nothing is recorded of {folder.name}; models pull and models import record what to compare with"
        )
    _check_files(folder, record)
    difference = compare(record.golden, folder)
    tolerance = allowed(record.golden)
    if not difference <= tolerance:
        raise ModelInvalidError(
            f"{folder.name} says something else than when it was recorded: a value differs by "
            f"{difference:.4f}, allowed is {tolerance}. Its files are the same, so ONNX Runtime or "
            "the processor is another; pull or import it again to record what it says here"
        )
    speed = measure(folder.name, record.kind)
    write_record(replace(record, speed=speed))
    values = sum(len(row) for row in record.golden.values)
    return Verified(
        folder.name, len(record.files), values, record.golden.precision, difference, tolerance, speed
    )


def _check_files(folder: ModelFolder, record: Record) -> None:
    wrong: Mapping[str, str] = {}
    for name, facts in record.files.items():
        file = folder.path / name
        if not file.is_file():
            wrong = {**wrong, name: "is missing"}
        elif file.stat().st_size != facts.size or facts_of(file) != facts:
            wrong = {**wrong, name: "is not the file that was fetched"}
    if wrong:
        told = "; ".join(f"{name} {what}" for name, what in wrong.items())
        raise ModelInvalidError(f"{folder.path}: {told}. Delete the folder and fetch the model again")


def on_this_machine() -> list[ModelFolder]:
    """Return the models that are here: shipped, in the user's folder, or pulled into the hub's cache."""
    found = {folder.name: folder for folder in models.installed()}
    for name in recorded_names():
        with suppress(ModelError, InputError):
            found.setdefault(name, models.resolve(name, None))
    return list(found.values())


def verifiable() -> list[str]:
    """Return the names of the models on this machine that have a record with golden values."""
    records = {folder.name: read_record(folder.name) for folder in on_this_machine()}
    return [name for name, record in records.items() if record is not None and record.golden is not None]
