"""What the methods of our vector store may be asked: ids, sizes, and no unknown arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...arguments import checked_count
from ...errors import InputError

__all__ = ["considered", "listed", "refuse"]


def listed(ids: Sequence[str]) -> Sequence[str]:
    """Return ids as a list; a single text is one id, not its letters."""
    return [ids] if isinstance(ids, str) else ids


def considered(fetch_k: int, k: int, lambda_mult: float) -> int:
    """Return how many documents a diverse search looks at.

    Raises:
        InputError: a number is out of range.
    """
    if not 0 <= lambda_mult <= 1:
        raise InputError(f"lambda_mult must be between 0 and 1, got {lambda_mult}")
    return max(checked_count("fetch_k", fetch_k), checked_count("k", k))


def refuse(unknown: Mapping[str, Any]) -> None:
    """Refuse arguments that a method does not know.

    Raises:
        InputError: there is one.
    """
    if unknown:
        raise InputError(f"unknown arguments: {', '.join(unknown)}")
