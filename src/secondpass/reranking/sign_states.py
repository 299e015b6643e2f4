"""Token states in one bit a dimension: turned, then only their signs; and a passage's states as bytes.

A state is turned by a fixed matrix that spreads it evenly over all dimensions; of each dimension the sign is
kept, 48 bytes instead of 1,536. Its product with a turned query word of unit length, which stays in float32,
tells their cosine: ``sqrt(pi / (2 d)) * sum(sign * word)``, for d dimensions, is right on the mean over such
matrices (the estimate of J. Gao and C. Long, RaBitQ, SIGMOD 2024, with the mean length of the sign vectors'
shadow instead of each one's own).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ..batching import Starts
from ..inference import Floats
from .windows import PassageSpans

__all__ = [
    "COSINE",
    "WIDTH",
    "PassageStates",
    "WindowStates",
    "packed",
    "side_by_side",
    "signs_of",
    "turned",
    "unpacked",
]

Bytes = npt.NDArray[np.uint8]

WIDTH = 384
COSINE = math.sqrt(math.pi / 2 / WIDTH)
"""Times the sum of a word's values, each with the sign of the state, is their cosine, about."""

_BLOCK = 128
_ROUNDS = 3
_BYTES = WIDTH // 8
_HEAD = struct.Struct("<IIH")
_WINDOW = struct.Struct("<IIHf")


@dataclass(frozen=True, slots=True)
class WindowStates:
    """One window of a passage.

    Attributes:
        mean: ``(384,)`` int8, the pooled vector over its largest value, times 127.
        scale: of ``mean``, so that it has unit length.
        signs: ``(tokens, 48)``, a bit a dimension, the lowest first.
    """

    mean: npt.NDArray[np.int8]
    scale: float
    signs: Bytes


@dataclass(frozen=True, slots=True)
class PassageStates:
    """What is kept of a passage: where its windows stand, and the states of each."""

    spans: PassageSpans
    windows: tuple[WindowStates, ...]


@cache
def _rounds() -> tuple[tuple[Floats, npt.NDArray[np.int64]], ...]:
    """Return each round's signs and permutation, drawn from SHAKE-256: the same everywhere."""
    found = []
    for number in range(_ROUNDS):
        drawn = hashlib.shake_256(f"secondpass rotation {number}".encode()).digest(WIDTH * 9)
        keys = np.frombuffer(drawn[: WIDTH * 8], dtype="<u8")
        low = np.frombuffer(drawn[WIDTH * 8 :], dtype=np.uint8) & 1
        found.append(((1 - 2 * low.astype(np.float32)) / math.sqrt(_BLOCK), np.argsort(keys, kind="stable")))
    return tuple(found)


def turned(states: Floats) -> Floats:
    """Return ``(n, 384)`` states after the rotation: signs, Hadamard matrices, a permutation; three times.

    Sums of two in a fixed order, no product of matrices: what a state gives does not depend on the others.
    """
    count = len(states)
    for signs, order in _rounds():
        states = states * signs
        half = 1
        while half < _BLOCK:
            pairs = states.reshape(count, WIDTH // half // 2, 2, half)
            first, second = pairs[:, :, 0], pairs[:, :, 1]
            states = np.stack([first + second, first - second], axis=2).reshape(count, WIDTH)
            half *= 2
        states = states[:, order]
    return np.asarray(states, dtype=np.float32)


def signs_of(states: Floats) -> Bytes:
    """Return the signs of ``(n, 384)`` states after the rotation: ``(n, 48)``, a set bit for above zero."""
    return np.packbits(turned(states) > 0, axis=1, bitorder="little")


def packed(states: PassageStates) -> bytes:
    """Return the states as bytes: 48 for each token, and some 400 for each window."""
    spans = states.spans
    parts = [_HEAD.pack(spans.total, spans.seen, len(states.windows))]
    for (start, end), each in zip(spans.windows, states.windows, strict=True):
        parts += [_WINDOW.pack(start, end, len(each.signs), each.scale), each.mean.tobytes()]
    parts += [each.signs.tobytes() for each in states.windows]
    return b"".join(parts)


def unpacked(kept: bytes) -> PassageStates:
    """Return the states from their bytes.

    Raises:
        ValueError: they are not what ``packed`` gave.
    """
    spans: list[tuple[int, int]] = []
    heads: list[tuple[int, float, int]] = []
    try:
        total, seen, count = _HEAD.unpack_from(kept)
        place = _HEAD.size
        for _ in range(count):
            start, end, tokens, scale = _WINDOW.unpack_from(kept, place)
            spans.append((start, end))
            heads.append((tokens, scale, place + _WINDOW.size))
            place += _WINDOW.size + WIDTH
    except struct.error as exc:
        raise ValueError("the states end too soon") from exc
    if not heads or place + sum(tokens for tokens, _, _ in heads) * _BYTES != len(kept):
        raise ValueError("the states have another length than they say")
    windows = []
    for tokens, scale, mean in heads:
        if not tokens:
            raise ValueError("a window has no token")
        signs = np.frombuffer(kept, np.uint8, tokens * _BYTES, place).reshape(tokens, _BYTES)
        windows.append(WindowStates(np.frombuffer(kept, np.int8, WIDTH, mean), scale, signs))
        place += signs.size
    return PassageStates(PassageSpans(total, seen, tuple(spans)), tuple(windows))


def side_by_side(windows: Sequence[WindowStates]) -> tuple[Bytes, Starts]:
    """Return the signs of all windows, and where each starts, ``(n + 1,)``."""
    starts = np.cumsum([0, *(len(each.signs) for each in windows)], dtype=np.int32)
    return np.concatenate([each.signs for each in windows]), starts
