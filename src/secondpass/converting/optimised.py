"""Where the 8-bit copy of a graph lies, the receipt beside it, and which graph to open.

``model.int8.onnx`` stands beside ``model.onnx``, with ``model.int8.json``: what it was made from, with what,
and how far it drifted. A copy without a receipt that fits is not used. The hub's cache is not ours to write
into: copies of what lies there go into ``optimised/`` of the user's model folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..arguments import checked_precision
from ..models import ModelFolder, user_models_dir
from .converted import graph_place, onnx_file

__all__ = [
    "Receipt",
    "best_graph",
    "int8_file",
    "kernels_refused",
    "made_from",
    "read_receipt",
    "write_receipt",
]

FORMAT = 1
"""Part of a receipt: raise it when copies made earlier are to be made anew."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of an 8-bit copy.

    Attributes:
        source: name of the file it was made from.
        source_size, source_mtime_ns: bytes and time of that file (and of its weights, where they lie beside
            it).
        source_sha256: of the same.
        size: bytes of the copy; 0 where it was refused and deleted.
        accepted: whether it is to be used.
        kernels_accepted: whether our own 8-bit kernels may run the model; None where they could not be tried.
        versions: of the packages that made it.
        drift: on what text it was measured, and the figures of ``secondpass.drift.Drift`` for each way to
            compute in 8 bits.
    """

    source: str
    source_size: int
    source_mtime_ns: int
    source_sha256: str
    size: int
    accepted: bool
    kernels_accepted: bool | None
    versions: Mapping[str, str]
    drift: Mapping[str, Any]


def best_graph(folder: ModelFolder, precision: str = "int8") -> Path:
    """Return the graph to open.

    In 8 bits that is the copy that was made and accepted here, else the file that the model's makers put
    into 8 bits for this processor, else the graph itself. A folder that holds nothing but such a file has no
    other graph, in ``fp32`` either.

    Raises:
        InputError: another precision than ``int8`` or ``fp32``.
        ModelError: the folder holds no graph, and none can be built; see ``onnx_file``.
    """
    if checked_precision(precision) == "fp32":
        return onnx_file(folder)
    source = graph_place(folder)
    copy = int8_file(folder, source)
    receipt = read_receipt(copy)
    usable = receipt is not None and receipt.accepted and _fits(receipt, source)
    if receipt is not None and usable and copy.is_file() and copy.stat().st_size == receipt.size:
        return copy
    return folder.eight_bit() or onnx_file(folder)


def kernels_refused(folder: ModelFolder) -> bool:
    """Whether our own kernels were tried on this very model, and reordered too many top 3s."""
    source = graph_place(folder)
    receipt = read_receipt(int8_file(folder, source))
    return receipt is not None and receipt.kernels_accepted is False and _fits(receipt, source)


def int8_file(folder: ModelFolder, source: Path) -> Path:
    """Return where the 8-bit copy of a graph of this folder lies, or would."""
    if folder.origin in ("hub", "hub cache") and source.is_relative_to(folder.path):
        key = hashlib.sha256(str(source.resolve()).encode("utf-8", "replace")).hexdigest()[:16]
        return user_models_dir() / "optimised" / key / "model.int8.onnx"
    return source.with_name(f"{source.stem}.int8.onnx")


def made_from(source: Path) -> dict[str, Any]:
    """Return what a receipt says of a graph."""
    size, mtime = _state(source)
    return {
        "source": source.name,
        "source_size": size,
        "source_mtime_ns": mtime,
        "source_sha256": _digest(source),
    }


def read_receipt(copy: Path) -> Receipt | None:
    """Return the receipt of an 8-bit copy, or None where there is none that makes sense."""
    try:
        written = json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))
        if written.pop("format") != FORMAT:
            return None
        return Receipt(**written)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_receipt(copy: Path, receipt: Receipt) -> None:
    """Write the receipt of an 8-bit copy, whole or not at all."""
    file = copy.with_suffix(".json")
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        text = json.dumps({"format": FORMAT, **asdict(receipt)}, indent=2)
        unfinished.write_text(f"{text}\n", encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _fits(receipt: Receipt, source: Path) -> bool:
    if not source.is_file():
        return False
    size, mtime = _state(source)
    if receipt.source != source.name or receipt.source_size != size:
        return False
    return receipt.source_mtime_ns == mtime or receipt.source_sha256 == _digest(source)


def _state(source: Path) -> tuple[int, int]:
    parts = [part.stat() for part in _parts(source)]
    return sum(part.st_size for part in parts), max(part.st_mtime_ns for part in parts)


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for part in _parts(source):
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _parts(source: Path) -> list[Path]:
    """Return the file of a graph, and that of its weights where they lie beside it."""
    beside = (source.with_name(source.name + end) for end in (".data", "_data"))
    return [source, *(file for file in beside if file.is_file())]
