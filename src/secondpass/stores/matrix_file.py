"""The file that holds all vectors as one matrix, so that it can be mapped into memory; written whole or not
at all.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .checks import UNIT_TOLERANCE

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["Block", "SavedMatrix", "Version", "are_unit", "read_matrix", "temporary_name", "write_matrix"]

_MAGIC = b"2ndpassV"
_HEADER = struct.Struct(
    "<8sIqqqq16s"
)  # magic, dimension, generation, stamp, last id, rows, checksum of the rest
_START = 64
"""Where the matrix starts, aligned to a cache line. The ids follow it."""
_SAMPLED = 512


class Version(NamedTuple):
    """One state of the vectors: a counter, and a random number that no other state of that count shares."""

    generation: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows with their ids, ascending."""

    ids: Ids
    matrix: Floats


@dataclass(frozen=True, slots=True)
class SavedMatrix:
    """What the file holds: all vectors at one version; ``last_id`` is the highest id that was ever used by
    then.
    """

    version: Version
    last_id: int
    block: Block


def write_matrix(path: Path, version: Version, last_id: int, dimension: int, blocks: Iterable[Block]) -> None:
    """Write the blocks, ids ascending, beside ``path`` and put the file in its place.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(bytes(_START))
            ids = [np.empty(0, dtype="<i8")]
            for block in blocks:
                file.write(block.matrix.astype("<f4").tobytes())
                ids.append(block.ids.astype("<i8"))
            all_ids = np.concatenate(ids)
            file.write(all_ids.tobytes())
            file.seek(0)
            sizes = (dimension, version.generation, version.stamp, last_id, len(all_ids))
            file.write(_HEADER.pack(_MAGIC, *sizes, _checksum(sizes, all_ids)))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_matrix(path: Path, dimension: int) -> SavedMatrix | None:
    """Map the file into memory; None where it is missing or cannot be trusted, which costs only time.

    Checked are sizes, ids (checksum) and the length of sampled vectors; not each vector, since that would
    read the whole file at every start.
    """
    try:
        with path.open("rb") as file:
            magic, *sizes, checksum = _HEADER.unpack(file.read(_HEADER.size))
            given_dimension, generation, stamp, last_id, rows = sizes
            size = os.fstat(file.fileno()).st_size
            if magic != _MAGIC or given_dimension != dimension or rows < 0:
                return None
            if size != _START + rows * (4 * dimension + 8):
                return None
            file.seek(_START + rows * 4 * dimension)
            ids = np.frombuffer(file.read(), dtype="<i8").astype(np.int64)
            if checksum != _checksum(tuple(sizes), ids):
                return None
            matrix = (
                np.memmap(file, dtype="<f4", mode="r", offset=_START, shape=(rows, dimension))
                if rows
                else np.empty((0, dimension), dtype=np.float32)
            )
    except (OSError, struct.error, ValueError):
        return None
    sample = np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLED)).astype(np.int64))
    if rows and not are_unit(matrix[sample]):
        return None
    return SavedMatrix(Version(generation, stamp), last_id, Block(ids, matrix))


def are_unit(matrix: Floats) -> bool:
    """Say whether all rows are finite and of unit length."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
        return bool(np.all(np.abs(squares - 1) <= 2.5 * UNIT_TOLERANCE))


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path`` that no other process or thread uses."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def _checksum(sizes: tuple[int, ...], ids: Ids) -> bytes:
    digest = blake2b(repr(sizes).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
    return digest.digest()
