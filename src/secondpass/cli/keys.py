"""Answers of one key: read at once on a terminal, by lines from a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["END", "Answers", "answers"]

END = ""
"""No more answers will come."""

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
"""What keys without a letter send: arrows, F1, Alt with another key."""


class Answers(Protocol):
    """Where answers come from."""

    def read(self) -> str:
        """Wait for an answer; return its character, or ``END``."""
        ...

    def forget(self) -> None:
        """Drop what was typed so far: it was meant for an earlier question."""
        ...


@contextmanager
def answers() -> Iterator[Answers]:
    """Give the answers of stdin.

    On a terminal they come with the key, and the terminal is as before when the context ends, whatever ends
    it. Elsewhere each line is one, of which the first character counts; blank lines are left out.
    """
    if not sys.stdin.isatty():
        yield _Lines()
    elif os.name == "nt":
        yield _Console()
    else:
        with _one_key_at_a_time() as terminal:
            yield _Terminal(terminal)


class _Lines:
    def read(self) -> str:
        for line in iter(sys.stdin.readline, ""):
            if answer := str(line).strip():
                return answer[0]
        return END

    def forget(self) -> None:
        """Nothing: whoever wrote the lines knew all the questions."""


class _Console:
    """The console of Windows."""

    def __init__(self) -> None:
        import msvcrt

        self._console: Any = msvcrt

    def read(self) -> str:
        key = str(self._console.getwch())
        return END if key in "\x04\x1a" else key

    def forget(self) -> None:
        while self._console.kbhit():
            self._console.getwch()


class _Terminal:
    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def read(self) -> str:
        while True:
            pressed = os.read(self._terminal, 64).decode("utf-8", "ignore")
            if pressed in ("", "\x04"):  # hung up, Ctrl-D
                return END
            if keys := _ESCAPES.sub("", pressed):
                return keys[0]

    def forget(self) -> None:
        import termios

        termios.tcflush(self._terminal, termios.TCIFLUSH)


@contextmanager
def _one_key_at_a_time() -> Iterator[int]:
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
