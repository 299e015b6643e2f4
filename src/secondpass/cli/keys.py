"""Answers of one key: read at once on a terminal, by lines from a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["END", "answers"]

END = ""
"""No more answers will come."""


@contextmanager
def answers() -> Iterator[Callable[[], str]]:
    """Give a function that waits for one answer: a character, or ``END``.

    On a terminal it returns with the key, and the terminal is as before when the context ends, whatever ends
    it. Elsewhere it reads a line and returns its first character; blank lines are left out.
    """
    if not sys.stdin.isatty():
        yield _from_line
    elif sys.platform == "win32":
        yield _from_console
    else:
        with _one_key_at_a_time() as read:
            yield read


def _from_line() -> str:
    for line in iter(sys.stdin.readline, ""):
        if line.strip():
            return line.strip()[0]
    return END


def _from_console() -> str:
    import msvcrt

    getwch: Callable[[], str] = msvcrt.getwch  # type: ignore[attr-defined,unused-ignore]
    key = getwch()
    return END if key in "\x04\x1a" else key


@contextmanager
def _one_key_at_a_time() -> Iterator[Callable[[], str]]:
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read() -> str:
        while True:
            pressed = os.read(terminal, 32).decode("utf-8", "ignore")
            if pressed in ("", "\x04"):  # hung up, Ctrl-D
                return END
            if len(pressed) == 1:  # an arrow or a paste comes as several
                return pressed

    try:
        tty.setcbreak(terminal)
        yield read
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
