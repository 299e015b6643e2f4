"""A score as bytes, with a checksum, and the key under which it is kept."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from hashlib import blake2b
from zlib import crc32

from ..types import Reading

__all__ = ["Given", "keepable", "keys", "pack", "unpack"]

Given = Reading | float
"""What a re-ranker made of a passage: a ``Reading`` where it tells what it read, else the score."""

_SCORE = struct.Struct("<d")
_READING = struct.Struct("<d4Q")
_CHECKSUM = struct.Struct("<I")
_KEY_BYTES = 16


def keys(fingerprint: str, query: str, texts: Sequence[str]) -> list[bytes]:
    """Return 16 bytes for each text: the BLAKE2b digest of re-ranker, query and text, which tells none."""
    common = blake2b(digest_size=_KEY_BYTES)
    for part in (fingerprint, query):
        encoded = part.encode("utf-8", "surrogatepass")
        common.update(len(encoded).to_bytes(8, "little") + encoded)
    found = []
    for text in texts:
        own = common.copy()
        own.update(text.encode("utf-8", "surrogatepass"))
        found.append(own.digest())
    return found


def keepable(given: Given) -> bool:
    """Whether a score can be kept: it is finite, and a reading counts in whole numbers from 0."""
    if not isinstance(given, Reading):
        return math.isfinite(given)
    numbers = (given.tokens_seen, given.tokens_total, given.start, given.end)
    return math.isfinite(given.score) and all(0 <= number < 2**63 for number in numbers)


def pack(key: bytes, given: Given) -> bytes:
    """Return a score or a reading as bytes, followed by the checksum of key and bytes."""
    if isinstance(given, Reading):
        numbers = (given.tokens_seen, given.tokens_total, given.start, given.end)
        body = _READING.pack(given.score, *numbers)
    else:
        body = _SCORE.pack(given)
    return body + _CHECKSUM.pack(crc32(key + body))


def unpack(key: bytes, packed: object) -> Given:
    """Return what ``pack`` was given.

    Raises:
        ValueError: these are not bytes that ``pack`` made for this key.
    """
    if not isinstance(packed, bytes):
        raise ValueError("a packed score is bytes")
    body, checksum = packed[: -_CHECKSUM.size], packed[-_CHECKSUM.size :]
    if len(checksum) != _CHECKSUM.size or _CHECKSUM.unpack(checksum)[0] != crc32(key + body):
        raise ValueError("the checksum of a packed score is wrong")
    if len(body) == _SCORE.size:
        return float(_SCORE.unpack(body)[0])
    if len(body) != _READING.size:
        raise ValueError(f"a packed score has {len(packed)} bytes")
    score, seen, total, start, end = _READING.unpack(body)
    return Reading(score, seen, total, start, end)
