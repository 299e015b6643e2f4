"""Where human output goes: consoles, and what makes text fit to be shown on one."""

from __future__ import annotations

import os
import sys

from rich.console import Console, RenderableType

from ..wording import count, milliseconds, place, shown_path, without_controls

__all__ = ["INDENT", "count", "emit", "milliseconds", "output", "place", "shown_path", "without_controls"]

INDENT = 3
PIPED_WIDTH = 100
LEAST_WIDTH = 30


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def output(*, stderr: bool = False) -> Console:
    """Return the console of stdout (or stderr): as wide as the terminal, plain where it is none."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else PIPED_WIDTH
    console = _Output(highlight=False, markup=False, emoji=False, width=width, stderr=stderr)
    if console.width < LEAST_WIDTH:
        console.width = LEAST_WIDTH
    return console


def emit(console: Console, *renderables: RenderableType) -> None:
    """Print; without a terminal no line ends in padding."""
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    with console.capture() as captured:
        console.print(*renderables, sep="\n")
    lines = [line.rstrip() for line in captured.get().split("\n")]
    console.file.write("\n".join(lines))
