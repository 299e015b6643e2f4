"""The lines of a text file, one after the other, with their numbers; every fault names file and line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["LONGEST", "LONGEST_DOCUMENT", "fault", "json_lines", "numbered_lines", "raw_lines", "whole_grade"]

_SURROGATE = re.compile("[\ud800-\udfff]")
LONGEST = 1_000_000
"""Bytes of a line that holds a judgment, a query or a place in a run."""
LARGEST_GRADE = 1_000
"""trec_eval takes memory for each grade up to the largest."""
LONGEST_DOCUMENT = 100_000_000
"""Bytes of a line that holds a document."""


def fault(path: Path, line: int, what: str) -> InputError:
    """Return the error that says what is wrong, and where."""
    return InputError(f"{path}:{line}: {what}")


def whole_grade(path: Path, line: int, written: str | int) -> int:
    """Return a grade.

    Raises:
        InputError: it is no whole number.
    """
    try:
        grade = int(written)
    except ValueError as exc:
        raise fault(
            path, line, f"the grade {written!r} is no whole number; 0 is not relevant, above is"
        ) from exc
    if abs(grade) > LARGEST_GRADE:
        raise fault(path, line, f"the grade {grade} is beyond {LARGEST_GRADE}; 0 is not relevant, above is")
    return grade


def raw_lines(path: Path, longest: int = LONGEST) -> Iterator[tuple[int, str]]:
    r"""Yield number (from 1) and text of each line, with its line end.

    UTF-8, a byte order mark is skipped; ``\n`` ends a line; a name that ends in ``.gz`` is unpacked on the
    way. One line is held at a time.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or not text, or has a line that is too long.
    """
    number = 0
    try:
        with _opened(path) as stream:
            while raw := stream.readline(longest + 1):
                number += 1
                if len(raw) > longest:
                    raise fault(
                        path, number, f"the line is longer than {longest:,} bytes; one entry a line, please"
                    )
                yield number, _decoded(path, number, raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise fault(path, number + 1, f"not a whole gzip file ({exc}); pack or fetch it again") from exc
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc


def numbered_lines(path: Path, longest: int = LONGEST) -> Iterator[tuple[int, str]]:
    r"""Yield number and text of each line that is not blank, without its ``\n`` or ``\r\n``.

    Raises:
        InputError: as for ``raw_lines``.
    """
    for number, text in raw_lines(path, longest):
        if text.strip():
            yield number, text.removesuffix("\n").removesuffix("\r")


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _decoded(path: Path, number: int, raw: bytes) -> str:
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        what = f"not UTF-8 (byte {exc.start + 1} of the line); convert the file first"
        raise fault(path, number, what) from exc
    if "\0" in text:
        raise fault(path, number, "a NUL byte; this is no text in UTF-8")
    return text


def json_lines(path: Path, longest: int = LONGEST) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and value of each line that is not blank: a JSON object each.

    Raises:
        InputError: as for ``numbered_lines``, or a line holds something else.
    """
    for number, text in numbered_lines(path, longest):
        try:
            value = json.loads(text)
        except ValueError as exc:
            raise fault(path, number, f"not JSON ({exc}); each line holds one object, {{...}}") from exc
        except RecursionError as exc:
            raise fault(path, number, "nested too deeply to be a judgment, a query or a document") from exc
        if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
            raise fault(path, number, "half of a surrogate pair (\\ud800 to \\udfff) that is no character")
        if not isinstance(value, dict):
            raise fault(path, number, f"a JSON object is wanted, {{...}}, got {type(value).__name__}")
        yield number, value
