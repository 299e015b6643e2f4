"""How the suites say that something must be refused, without needing pytest to be installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["refused"]


@contextmanager
def refused(error: type[Exception], what: str) -> Iterator[None]:
    """Fail unless the block raises that error, with a message."""
    try:
        yield
    except error as exc:
        assert str(exc), f"{what}: the error says nothing"
        return
    raise AssertionError(f"{what} must raise {error.__name__}, and was accepted")
