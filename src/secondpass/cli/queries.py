"""Queries and filters as people give them on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, QueryError

__all__ = ["STDIN", "from_arguments", "one", "text", "where"]

STDIN = "-"


def one(query: str) -> str:
    """Return the query, from stdin where it is ``-``.

    Raises:
        QueryError: it is empty.
    """
    asked = sys.stdin.read() if query == STDIN else query
    if not asked.strip():
        raise QueryError(
            "the query on stdin is empty" if query == STDIN else "the query is empty; ask for something"
        )
    return asked.strip()


def from_arguments(queries: Sequence[str], file: str | None) -> list[str]:
    """Return the queries of the command line and then those of a file, one a line, blank lines left out.

    Raises:
        InputError: there is none, or the file cannot be read.
    """
    found = [one(query) for query in queries]
    if file is not None:
        found += [line.strip() for line in text(file).splitlines() if line.strip()]
    if not found:
        raise QueryError("no query; give one, or a file with one a line: --queries FILE")
    return found


def text(file: str) -> str:
    """Return what a file of queries holds, stdin where it is ``-``.

    Raises:
        InputError: it cannot be read.
    """
    if file == STDIN:
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InputError(f"cannot read the queries in {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"the queries in {file} are not UTF-8 text; convert the file first") from exc


def where(conditions: Sequence[str] | None) -> dict[str, str] | None:
    """Return ``key=value`` conditions as a mapping; None for none.

    Raises:
        InputError: one has no ``=`` or no key, or a key is given twice.
    """
    found: dict[str, str] = {}
    for condition in conditions or ():
        key, equals, value = condition.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--where wants KEY=VALUE, e.g. extension=.md, got {condition!r}")
        if key.strip() in found:
            raise InputError(f"--where gives {key.strip()!r} twice; a passage has one value for it")
        found[key.strip()] = value
    return found or None
