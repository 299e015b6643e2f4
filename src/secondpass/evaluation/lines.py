"""The lines of a text file, one after the other, with their numbers; every fault names file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError

__all__ = ["LONGEST", "LONGEST_DOCUMENT", "fault", "json_lines", "numbered_lines"]

LONGEST = 1_000_000
"""Bytes of a line that holds a judgment, a query or a place in a run."""
LONGEST_DOCUMENT = 100_000_000
"""Bytes of a line that holds a document."""


def fault(path: Path, line: int, what: str) -> NoReturn:
    """Say what is wrong, and where."""
    raise InputError(f"{path}:{line}: {what}")


def numbered_lines(path: Path, longest: int = LONGEST) -> Iterator[tuple[int, str]]:
    r"""Yield number (from 1) and text of each line that is not blank, its line end left out.

    UTF-8, a byte order mark is skipped; ``\n`` and ``\r\n`` end a line; a name that ends in ``.gz`` is
    unpacked on the way. One line is held at a time.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or not text, or has a line that is too long.
    """
    number = 0
    try:
        with _opened(path) as stream:
            while raw := stream.readline(longest + 1):
                number += 1
                if len(raw) > longest:
                    fault(
                        path, number, f"the line is longer than {longest:,} bytes; one entry a line, please"
                    )
                if text := _decoded(path, number, raw):
                    yield number, text
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        fault(path, number + 1, f"not a whole gzip file ({exc}); pack or fetch it again")
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _decoded(path: Path, number: int, raw: bytes) -> str:
    """Return the text of a line, empty for a blank one."""
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        fault(path, number, "a NUL byte; this is no text in UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        fault(path, number, f"not UTF-8 (byte {exc.start + 1} of the line); convert the file first")
    text = text.removesuffix("\n").removesuffix("\r")
    return "" if text.isspace() else text


def json_lines(path: Path, longest: int = LONGEST) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and value of each line that is not blank: a JSON object each.

    Raises:
        InputError: as for ``numbered_lines``, or a line holds something else.
    """
    for number, text in numbered_lines(path, longest):
        try:
            value = json.loads(text)
        except ValueError as exc:
            fault(path, number, f"not JSON ({exc}); each line holds one object, {{...}}")
        except RecursionError:
            fault(path, number, "nested too deeply to be a judgment, a query or a document")
        if not isinstance(value, dict):
            fault(path, number, f"a JSON object is wanted, {{...}}, got {type(value).__name__}")
        yield number, value
