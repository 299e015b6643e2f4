"""What loading takes and what it says: options, skipped files, and how a path is written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["LoadOptions", "Paths", "Skipped", "absolute", "named_paths", "printable"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One path, or several."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to find and read files.

    Attributes:
        text_field: the column or field of CSV/TSV/JSON/JSONL rows that holds the text; None takes
            ``text``, ``content``, ``body`` or ``passage`` if there is one, else all string fields.
        max_bytes: a larger file is not read, >= 1.
        gitignore: whether what git ignores inside a repository is left out of folders.
        encoding: a Python codec name for text files; None detects it for each file.
        include_hidden: whether files and folders whose name starts with a dot are read in folders.
    """

    text_field: str | None = None
    max_bytes: int = 50 * 2**20
    gitignore: bool = True
    encoding: str | None = None
    include_hidden: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.max_bytes, int) or isinstance(self.max_bytes, bool) or self.max_bytes < 1:
            raise InputError(
                f"the largest file size must be a whole number of bytes >= 1, got {self.max_bytes!r}"
            )
        if self.text_field is not None and not (isinstance(self.text_field, str) and self.text_field):
            raise InputError(f"the text field must be the name of a field, got {self.text_field!r}")
        if self.encoding is not None:
            _check_codec(self.encoding)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gave no document.

    Attributes:
        path: the file, as it can be printed.
        reason: a few words a person can act on.
        error: False for a file that merely holds no text, True for all else.
    """

    path: str
    reason: str
    error: bool


def named_paths(paths: Paths) -> list[str]:
    """Return the paths a caller named, as strings.

    Raises:
        InputError: one of them is no path, or is empty.
    """
    if not isinstance(paths, (str, os.PathLike, Iterable)):
        raise InputError(f"name one path or several, got {paths!r}")
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    names = []
    for path in several:
        name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
        if not isinstance(name, str):
            raise InputError(f"a path must be a string or a Path, got {path!r}")
        if not name:
            raise InputError("a path is empty; name a file or a folder")
        names.append(name)
    return names


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path, symbolic links kept as they are where ``..`` does not depend on them."""
    # ".." after a symbolic link leads to the parent of its target, which only realpath knows.
    return Path(os.path.realpath(path)) if ".." in Path(path).parts else Path(path).absolute()


def printable(path: str | Path) -> str:
    """Return a path with ``/`` between its parts, and with bytes that are not UTF-8 written as an escape."""
    return Path(path).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _check_codec(encoding: str) -> None:
    try:
        b"a".decode(encoding, "replace")
    except (LookupError, UnicodeError, ValueError, TypeError) as exc:
        raise InputError(
            f"{encoding!r} is not the name of a text encoding; examples: utf-8, cp1252, utf-16, shift_jis"
        ) from exc
