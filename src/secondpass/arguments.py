"""Checks that several doors share: a query, a count, a way to search."""

from __future__ import annotations

from .errors import InputError, QueryError

__all__ = ["PRECISIONS", "STAGE1", "checked_count", "checked_precision", "checked_stage1", "checked_text"]

STAGE1 = ("dense", "lexical", "hybrid")
"""The ways stage 1 can search."""
PRECISIONS = ("int8", "fp32")
"""What a model's activations can be computed in."""


def checked_text(query: object) -> str:
    """Return a query that is text and not blank.

    Raises:
        QueryError: not a string, or nothing but whitespace.
    """
    if not isinstance(query, str):
        raise QueryError(f"a query is text, got {type(query).__name__}")
    if not query.strip():
        raise QueryError("the query is empty; ask for something")
    return query


def checked_count(name: str, value: object, more: str = "") -> int:
    """Return a whole number of at least 1; ``more`` is added to what the message says of the bound.

    Raises:
        InputError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise InputError(f"{name} must be at least 1{more}, got {value}")
    return value


def checked_stage1(stage1: object) -> str:
    """Return the name of a way to search.

    Raises:
        InputError: there is no such way.
    """
    if stage1 not in STAGE1:
        raise InputError(f"stage1 must be one of {', '.join(STAGE1)}, got {stage1!r}")
    return str(stage1)


def checked_precision(precision: object) -> str:
    """Return the name of a precision.

    Raises:
        InputError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return str(precision)
