"""The record of a model on this machine: its files with sha256, its golden values, its speed here.

A record is a JSON file in ``records/`` of the user's model folder: the hub's cache is not ours to write into.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..catalogue import Kind
from ..errors import ModelError, ModelInvalidError
from ..models import WEIGHTS, ModelFolder, user_models_dir
from ..processors import processor_name
from .golden import Golden, Speed

__all__ = [
    "FileFacts",
    "Record",
    "files_of",
    "from_json",
    "read_record",
    "recorded_names",
    "speeds",
    "to_json",
    "write_record",
]

FORMAT = 1
"""Raise it when older records cannot be read any more."""
_SHIPPED = WEIGHTS / "golden"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size in bytes and sha256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a model on this machine.

    Attributes:
        files: path below the model's folder -> facts. Empty for models that came with the package, whose
            checksums are in ``weights/SHA256SUMS``.
        golden: values of fixed texts; None where none could be computed yet.
        speed: on this machine; None until it was measured.
    """

    name: str
    kind: Kind
    hub_id: str | None
    revision: str | None
    files: Mapping[str, FileFacts]
    golden: Golden | None = None
    speed: Speed | None = None


def read_record(name: str) -> Record | None:
    """Return the record of a model, or None where there is none that makes sense."""
    own, shipped = _read(_place(name)), _read(_SHIPPED / f"{name}.json")
    if shipped is not None:  # its golden values come with the package, whatever the user's folder says
        return replace(shipped, speed=own.speed if own else None)
    return own


def write_record(record: Record) -> None:
    """Write a record, whole or not at all.

    Raises:
        ModelError: the user's model folder cannot be written.
    """
    file = _place(record.name)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(to_json(record)) + "\n", encoding="utf-8")
        unfinished.replace(file)
    except OSError as exc:
        raise ModelError(
            f"cannot write {file}: {exc.strerror}; free space, or set SECONDPASS_MODELS to another folder"
        ) from exc
    finally:
        unfinished.unlink(missing_ok=True)


def recorded_names() -> list[str]:
    """Return the names of the models that were pulled or imported, or measured here."""
    records = (_read(file) for file in sorted(_place("any").parent.glob("*.json")))
    return [record.name for record in records if record is not None]


def speeds(names: list[str]) -> dict[str, Speed]:
    """Return the speeds that were measured on a processor like this one."""
    found = {name: record.speed for name in names if (record := read_record(name)) is not None}
    here = processor_name()
    return {name: speed for name, speed in found.items() if speed is not None and speed.processor == here}


def files_of(folder: ModelFolder) -> dict[str, Path]:
    """Return the files of a model folder by their path below it, hidden ones and our own copies left out."""
    found = {}
    for file in sorted(folder.path.rglob("*")):
        name = file.relative_to(folder.path)
        ours = ".int8." in file.name
        if file.is_file() and not ours and not any(part.startswith(".") for part in name.parts):
            found[name.as_posix()] = file
    return found


def facts_of(file: Path) -> FileFacts:
    """Return size and sha256 of a file.

    Raises:
        ModelInvalidError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return FileFacts(file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as exc:
        raise ModelInvalidError(f"cannot read {file}: {exc.strerror}; fetch the model again") from exc


def to_json(record: Record) -> dict[str, Any]:
    """Return a record as it is written."""
    return {"format": FORMAT, **asdict(record)}


def from_json(value: Any) -> Record:
    """Return the record that was written.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none.
    """
    if value["format"] != FORMAT:
        raise ValueError(f"record of format {value['format']}")
    golden, speed = value["golden"], value["speed"]
    if value["kind"] not in ("reranker", "embedder"):
        raise ValueError(f"a model of kind {value['kind']}")
    if golden is not None:
        rows = tuple(tuple(float(each) for each in row) for row in golden["values"])
        golden = Golden(
            golden["kind"],
            golden["precision"],
            golden["exact"] is True,
            str(golden["processor"]),
            tuple(golden["queries"]),
            tuple(golden["passages"]),
            rows,
        )
    files = {
        str(name): FileFacts(int(facts["size"]), str(facts["sha256"]))
        for name, facts in value["files"].items()
    }
    return Record(
        str(value["name"]),
        value["kind"],
        value["hub_id"],
        value["revision"],
        files,
        golden,
        Speed(**speed) if speed is not None else None,
    )


def _place(name: str) -> Path:
    safe = name if "/" not in name else name.replace("/", "--")
    if len(safe) > 100 or os.sep in safe:  # the path of a folder
        safe = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
    return user_models_dir() / "records" / f"{safe}.json"


def _read(file: Path) -> Record | None:
    try:
        return from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
