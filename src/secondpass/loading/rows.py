"""CSV, TSV, JSON and JSONL: each row a text with its other fields as metadata."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LoadError
from ..types import MetadataValue
from .options import LoadOptions, printable

__all__ = ["ROW_READERS", "Row"]

_TEXT_FIELDS = ("text", "content", "body", "passage")
_LONGEST_FILTER_VALUE = 256
"""Where a row's fields make up its text, those up to this many characters can also be filtered on."""


@dataclass(frozen=True, slots=True)
class Row:
    """The text of one row.

    Attributes:
        number: from 1; 0 where the whole file is one text.
    """

    number: int
    text: str
    metadata: Mapping[str, MetadataValue]


def read_csv(path: Path, text: str, options: LoadOptions) -> list[Row]:
    """Read rows under a header line.

    ``.tsv`` is separated by tabs, ``.csv`` by whatever of ``, ; tab |`` its header line holds most of.

    Raises:
        LoadError: a quote is never closed, or the text field is no column.
    """
    header_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header_line.count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = [record for record in reader if any(field.strip() for field in record)]
    except csv.Error as exc:
        raise LoadError(printable(path), f"broken row that ends in line {reader.line_num}: {exc}") from exc
    if not records:
        return []
    names = _column_names(max(len(record) for record in records), records[0])
    return _rows(
        path, [(n, dict(zip(names, row, strict=False))) for n, row in enumerate(records[1:], 1)], options
    )


def read_jsonl(path: Path, text: str, options: LoadOptions) -> list[Row]:
    """Read a JSON value from each line that is not blank; a row's number is that of its line.

    Raises:
        LoadError: a line is not JSON (it is named), or no row has the text field.
    """
    values = []
    # Only \n ends a line here: JSON strings may hold the others that splitlines() knows.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            values.append((number, _parse(path, line, number)))
    return _rows(path, values, options)


def read_json(path: Path, text: str, options: LoadOptions) -> list[Row]:
    """Read a list as rows, an object as one text, and any other JSON as the text it is written in.

    Raises:
        LoadError: the file is not JSON, or the text field is nowhere in it.
    """
    value = _parse(path, text, 0)
    if isinstance(value, list) and any(isinstance(inner, (dict, str)) for inner in value):
        rows = _rows(path, list(enumerate(value, 1)), options)
    elif isinstance(value, dict) and _text_field(value, options) is not None:
        rows = _rows(path, [(0, value)], options)
    elif options.text_field is not None:
        raise LoadError(
            printable(path), f"no field {options.text_field!r} in it; name another with --text-field"
        )
    else:
        rows = []
    return rows or [Row(0, text, {})]


ROW_READERS = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
}


def _rows(path: Path, values: Sequence[tuple[int, object]], options: LoadOptions) -> list[Row]:
    """Turn values into rows; those without any text are left out."""
    wanted = options.text_field
    if wanted is not None and not any(isinstance(value, dict) and wanted in value for _, value in values):
        names = sorted({name for _, value in values[:100] if isinstance(value, dict) for name in value})
        there = f"it has {', '.join(names[:20])}" if names else "it has none"
        if values:
            raise LoadError(printable(path), f"no field {wanted!r}: {there}; name another with --text-field")
    rows = [_row(number, value, options) for number, value in values]
    return [row for row in rows if row.text.strip()]


def _row(number: int, value: object, options: LoadOptions) -> Row:
    if not isinstance(value, dict):
        return Row(number, _as_text(value) if options.text_field is None else "", {})
    field = _text_field(value, options)
    if field is not None:
        return Row(number, _as_text(value[field]), dict(_scalars(value, leave_out=field)))
    if options.text_field is not None:
        return Row(number, "", {})
    lines = [f"{name}: {inner}" for name, inner in value.items() if isinstance(inner, str) and inner.strip()]
    short = {
        name: inner
        for name, inner in _scalars(value, leave_out=None)
        if not (isinstance(inner, str) and len(inner) > _LONGEST_FILTER_VALUE)
    }
    return Row(number, "\n".join(lines), short)


def _text_field(value: Mapping[str, object], options: LoadOptions) -> str | None:
    if options.text_field is not None:
        return options.text_field if options.text_field in value else None
    by_name = {name.strip().lower(): name for name, inner in value.items() if isinstance(inner, str)}
    return next((by_name[name] for name in _TEXT_FIELDS if name in by_name), None)


def _scalars(value: Mapping[str, object], leave_out: str | None) -> Iterator[tuple[str, MetadataValue]]:
    for name, inner in value.items():
        if name == leave_out:
            continue
        if isinstance(inner, float) and not math.isfinite(inner):
            yield name, str(inner)
        elif inner is None or isinstance(inner, (str, int, float, bool)):
            yield name, inner


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _column_names(width: int, header: Sequence[str]) -> list[str]:
    """Name every column: as the header says, with a number where it says nothing or repeats itself."""
    names: list[str] = []
    for position in range(1, width + 1):
        name = header[position - 1].strip() if position <= len(header) else ""
        name = name or f"column {position}"
        names.append(f"{name} {position}" if name in names else name)
    return names


def _parse(path: Path, text: str, line: int) -> Any:
    where = f"line {line}: " if line else ""
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        place = f"{exc.msg} at column {exc.colno}" if line else str(exc)
        raise LoadError(printable(path), f"{where}not valid JSON: {place}") from exc
    except ValueError as exc:
        raise LoadError(printable(path), f"{where}JSON that cannot be read: {exc}") from exc
    except RecursionError as exc:
        raise LoadError(printable(path), f"{where}JSON nested too deeply") from exc
