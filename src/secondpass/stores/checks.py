"""The door of every vector store: what may come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..types import Floats, Ids

__all__ = ["UNIT_TOLERANCE", "checked_ids", "checked_k", "checked_query", "checked_vectors"]

UNIT_TOLERANCE = 1e-3
"""How far the length of a vector may be from 1: far above float32 rounding, far below a forgotten scaling."""

_LARGEST = 2**63 - 1


def checked_ids(ids: Sequence[int]) -> Ids:
    """Return ids as an int64 array.

    Raises:
        InputError: not whole numbers from 0 to 2**63 - 1, or one of them twice.
    """
    listed = list(ids)
    for each in listed:
        if isinstance(each, bool) or not isinstance(each, (int, np.integer)) or not 0 <= each <= _LARGEST:
            raise InputError(f"an id must be a whole number from 0 to 2**63 - 1, got {each!r}")
    if len(set(listed)) != len(listed):
        repeated = next(each for each in listed if listed.count(each) > 1)
        raise InputError(f"the id {repeated} is given twice in one call; give each id once")
    return np.asarray(listed, dtype=np.int64)


def checked_vectors(vectors: object, count: int, dimension: int) -> Floats:
    """Return ``(count, dimension)`` unit vectors as one contiguous float32 array.

    Raises:
        InputError: another shape, not numbers, NaN or infinite, or not of unit length.
    """
    try:
        array = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InputError(f"vectors must be a ({count}, {dimension}) array of numbers") from exc
    if count == 0 and array.size == 0:
        return np.empty((0, dimension), dtype=np.float32)
    if array.shape != (count, dimension):
        raise InputError(f"vectors must have the shape ({count}, {dimension}), got {array.shape}")
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if len(wrong):
        place = int(wrong[0])
        what = (
            "is not finite" if not np.isfinite(lengths[place]) else f"has length {lengths[place]:.4g}, not 1"
        )
        raise InputError(f"vector {place} of {count} {what}; a store takes finite vectors of unit length")
    return array


def checked_query(vector: object, dimension: int) -> Floats:
    """Return one unit vector as ``(dimension,)`` float32.

    Raises:
        InputError: as for ``checked_vectors``.
    """
    shape = getattr(vector, "shape", None)
    if shape is not None and tuple(shape) != (dimension,):
        raise InputError(f"a query vector must have the shape ({dimension},), got {tuple(shape)}")
    row: Floats = checked_vectors([vector], 1, dimension)[0]
    return row


def checked_k(k: int) -> int:
    """Return how many hits are wanted.

    Raises:
        InputError: not a whole number of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise InputError(f"k must be a whole number, got {k!r}")
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    return int(k)
