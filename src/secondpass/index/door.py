"""What may come into an index: documents, queries and numbers are checked and made storable here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from ..arguments import checked_text
from ..errors import InputError
from ..types import Document, MetadataValue

__all__ = [
    "Prepared",
    "checked_query",
    "prepared",
    "storable",
    "text_hash",
]

LARGEST_TEXT = 900_000_000
"""Bytes in UTF-8. SQLite takes no value of more than a billion."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL ends a text for parts of SQLite; half a surrogate pair is no character and has no UTF-8."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document whose text and metadata can be stored, with a hash of all that can change."""

    document: Document
    metadata: str
    content_hash: bytes


def prepared(document: Document) -> Prepared:
    """Check a document; NUL and lone surrogates in text and metadata become U+FFFD, one for one.

    Raises:
        InputError: something in it cannot be stored.
    """
    if not isinstance(document, Document):
        raise InputError(
            f"an index takes paths or Documents, got {type(document).__name__}; "
            "a text goes into Document(id, text)"
        )
    key = document.id
    if not isinstance(key, str) or not key or _UNSTORABLE.search(key):
        raise InputError(f"the id of a document must be a text without NUL or lone surrogates, got {key!r}")
    if not isinstance(document.text, str) or not isinstance(document.source, str):
        raise InputError(f"text and source of the document {key!r} must be strings")
    text = storable(document.text)
    if len(text) > LARGEST_TEXT // 4 and len(text.encode()) > LARGEST_TEXT:
        raise InputError(f"the document {key!r} is longer than {LARGEST_TEXT:,} bytes; cut it into several")
    metadata = {
        _checked_name(key, name): _checked_value(key, name, document.metadata[name])
        for name in document.metadata
    }
    pages = tuple(document.page_starts)
    if list(pages) != sorted(pages) or not all(0 <= page <= len(text) for page in pages):
        raise InputError(f"the page starts of the document {key!r} must ascend and lie within its text")
    cleaned = Document(key, text, metadata, storable(document.source) or key, pages)
    written = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    digest = blake2b(digest_size=16)
    for part in (cleaned.source, written, json.dumps(pages), text):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return Prepared(cleaned, written, digest.digest())


def text_hash(text: str) -> bytes:
    """Return 16 bytes that stand for a text."""
    return blake2b(text.encode(), digest_size=16).digest()


def checked_query(query: object) -> str:
    """Return a query that can be stored and tokenised.

    Raises:
        QueryError: not a string, or nothing but whitespace.
    """
    return checked_text(_UNSTORABLE.sub(" ", checked_text(query)))


def storable(text: str) -> str:
    """Return a text with U+FFFD in place of what SQLite cannot store; offsets stay."""
    return _UNSTORABLE.sub("\ufffd", text)


def _checked_name(key: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise InputError(f"metadata of the document {key!r}: a name must be a text, got {name!r}")
    return storable(name)


def _checked_value(key: str, name: str, value: object) -> MetadataValue:
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (Mapping, list, tuple)) or not isinstance(value, float):
        raise InputError(
            f"metadata {name!r} of the document {key!r} must be a text, a number, a boolean or None, "
            f"got {type(value).__name__}"
        )
    raise InputError(f"metadata {name!r} of the document {key!r} is {value}; numbers must be finite")
