"""From arguments to an exit code: every error becomes one line on stderr, never a traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from ..errors import InputError, SecondpassError
from . import warming

__all__ = ["INTERRUPTED", "OK", "TROUBLE", "WRONG_USAGE", "main"]

OK = 0
TROUBLE = 1
"""Some files were skipped with errors, or something failed."""
WRONG_USAGE = 2
"""Wrong options, settings or queries."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    _make_streams_forgiving()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        warming.start(given)
        code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads us has seen enough
        _close_stdout()
        return OK
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001  the last resort: a person sees one line, not a traceback
        return _explain(exc)
    return code


def _run(arguments: list[str]) -> int:
    import typer
    from typer.main import get_command

    from .app import app

    command = get_command(app)
    try:
        with command.make_context("secondpass", arguments or ["--help"]) as context:
            code = command.invoke(context)
    except typer.Exit as exc:
        return exc.exit_code
    return code if isinstance(code, int) else OK


def _explain(exc: Exception) -> int:
    if os.environ.get("SECONDPASS_DEBUG", "").strip() not in ("", "0"):
        import traceback

        traceback.print_exception(exc, file=sys.stderr)
    format_message = getattr(exc, "format_message", None)
    if format_message is not None:  # the parser's own errors: unknown option, missing argument
        _say(f"error: {_one_line(format_message()).rstrip('.')}; see: {_help_of(exc)}")
        return WRONG_USAGE
    if isinstance(exc, SecondpassError):
        _say(f"error: {_one_line(str(exc))}")
        return WRONG_USAGE if isinstance(exc, InputError) else TROUBLE
    if isinstance(exc, OSError):  # the machine's trouble, not ours: a full disk behind stdout, say
        _close_stdout()
        about = f": {exc.filename}" if exc.filename else ""
        _say(f"error: {_one_line(f'{exc.strerror or exc}{about}')}")
        return TROUBLE
    what = _one_line(f"{type(exc).__name__}: {exc}")
    _say(f"error: unexpected {what}; this is a bug; run with SECONDPASS_DEBUG=1 to see where")
    return TROUBLE


def _help_of(exc: Exception) -> str:
    context = getattr(exc, "ctx", None)
    return f"{context.command_path if context is not None else 'secondpass'} --help"


def _one_line(text: str) -> str:
    """Return the text on one line, without control characters that would act on a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # where stderr is full or closed, the exit code has to do
        print(line, file=sys.stderr, flush=True)


def _make_streams_forgiving() -> None:
    """Let no character that a stream's encoding lacks end a command."""
    sys.stdin, sys.stdout, sys.stderr = (
        sys.stdin or _nowhere(),
        sys.stdout or _nowhere(),
        sys.stderr or _nowhere(),
    )
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _nowhere() -> TextIO:
    """Return what stands in for a standard stream that was closed before we began."""
    return os.fdopen(os.open(os.devnull, os.O_RDWR), "r+", encoding="utf-8", closefd=False)


def _close_stdout() -> None:
    """Point stdout nowhere, so that Python's own flush at exit does not complain."""
    with suppress(OSError, ValueError):  # it may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
