"""``where``: which documents a search may show."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..errors import InputError
from ..loading.options import absolute, printable
from ..types import MetadataValue
from .door import storable

__all__ = ["EVERYTHING", "Filter", "field_value", "parse"]

BUILT_IN = ("id", "source")
"""What every document can be filtered by, besides its metadata."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition in SQL on the documents ``d``, with its parameters; an empty one lets everything pass."""

    condition: str = ""
    parameters: tuple[str | int | float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.condition)

    @property
    def texts(self) -> str:
        """A query for the ids of the texts that stand in a document that passes."""
        return (
            "SELECT DISTINCT p.text_id FROM documents d JOIN passages p ON p.document_id = d.id"  # noqa: S608
            f" WHERE {self.condition}"
        )

    @property
    def and_condition(self) -> str:
        """The condition, to be put behind another."""
        return f" AND {self.condition}" if self.condition else ""


EVERYTHING = Filter()


def parse(connection: sqlite3.Connection, where: Mapping[str, MetadataValue] | None) -> Filter:
    """Turn ``where`` into a condition: all its keys must agree.

    A text equals the same text; where it reads as a number it also equals that number, however written
    (``"7"`` and ``7.0``), and ``"true"`` and ``"false"`` equal booleans. ``source`` also takes a relative
    path.

    Raises:
        InputError: no document has that key (the message lists those there are), or a value is not plain.
    """
    if where is None:
        return EVERYTHING
    if not isinstance(where, Mapping):
        raise InputError(f"where must map names to values, got {type(where).__name__}")
    conditions: list[str] = []
    parameters: list[str | int | float] = []
    for key, value in where.items():
        if not isinstance(key, str) or not isinstance(value, (str, int, float)):
            raise InputError(
                f"where takes names and plain values (texts, numbers, booleans), got {key!r}: {value!r}"
            )
        values = _alternatives(value)
        any_of = f"IN ({', '.join('?' * len(values))})"
        known = _is_known(connection, key)
        if not known and key not in BUILT_IN:
            raise InputError(
                f"no document has the metadata {key!r}; there is: {', '.join(_names(connection))}"
            )
        parts = []
        if known:
            of_field = f"SELECT document_id FROM fields WHERE key = ? AND value {any_of}"  # noqa: S608
            parts.append(f"d.id IN ({of_field})")
            parameters += [storable(key), *values]
        if key in BUILT_IN:
            column = "key" if key == "id" else "source"
            texts = [str(value), _full_path(str(value))]
            parts.append(f"d.{column} IN (?, ?)")
            parameters += [storable(text) for text in texts]
        conditions.append(f"({' OR '.join(parts)})")
    return Filter(" AND ".join(conditions), tuple(parameters))


def field_value(value: MetadataValue) -> str | int | float | None:
    """Return a metadata value as it is filtered on."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _float(str(value))
    return value


def _alternatives(value: str | int | float) -> list[str | int | float]:
    """Return what equals a value: texts and numbers are different things to SQLite."""
    plain = field_value(value)
    if isinstance(plain, str):
        number = _float(plain) if not isinstance(value, bool) else None
        exact: list[str | int | float] = [storable(plain)]
        with suppress(ValueError):
            exact += [int(plain)] if -(2**63) <= int(plain) < 2**63 else []
        return exact if number is None else [*exact, number]
    if plain is None or (isinstance(plain, float) and not math.isfinite(plain)):
        raise InputError(f"where compares with finite numbers, got {value!r}")
    return [plain, str(value)]


def _full_path(text: str) -> str:
    """Return a relative path as the loader writes it; what is no path stays."""
    try:
        return printable(absolute(text))
    except (OSError, ValueError):
        return text


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_known(connection: sqlite3.Connection, key: str) -> bool:
    row = connection.execute("SELECT 1 FROM fields WHERE key = ? LIMIT 1", (storable(key),)).fetchone()
    return row is not None


def _names(connection: sqlite3.Connection) -> list[str]:
    names = [row[0] for row in connection.execute("SELECT DISTINCT key FROM fields ORDER BY key")]
    return sorted({*names, *BUILT_IN})
