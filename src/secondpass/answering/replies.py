"""An LLM's answer as it comes, which knows at its end what was used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from .values import Usage

__all__ = ["Reply"]


class Reply(Iterator[str]):
    """The pieces of an answer; what ``Llm.stream`` of both our LLMs returns.

    Args:
        speak: yields the pieces, and sets ``usage`` and ``cut_off`` of the reply it is given.
    """

    def __init__(self, speak: Callable[[Reply], Generator[str, None, None]]) -> None:
        self.usage: Usage | None = None
        self.cut_off = False
        self._pieces = speak(self)

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End the work; what is not said yet stays unsaid."""
        self._pieces.close()
