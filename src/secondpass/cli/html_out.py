"""Where ``--html`` writes: checked before the work begins, written whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

__all__ = ["Html", "destination", "write"]

Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Also write a report: one HTML file.", show_default=False),
]

_HTML_NAMES = (".html", ".htm")


def destination(name: str | None) -> Path | None:
    """Return the file to write, or None where none was asked for.

    Raises:
        InputError: it cannot be written, or it is there and is no HTML file of any name.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if name.strip() in ("", "-") or path.is_dir():
        raise InputError(f"--html names a file to write, {name!r} is none; try --html report.html")
    if not path.parent.is_dir():
        raise InputError(f"--html: there is no folder {str(path.parent)!r}; make it first")
    if path.exists() and path.suffix.lower() not in _HTML_NAMES:
        raise InputError(f"--html would overwrite {name!r}, which is no .html file; name another one")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise InputError(f"--html: {name!r} cannot be written; check the permissions of its folder")
    return path


def write(path: Path, page: str) -> None:
    """Write a page in place of what was there, and say so on stderr.

    Raises:
        InputError: the disk refused it.
    """
    try:
        handle, staged = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(page)
            Path(staged).chmod(0o644)
            Path(staged).replace(path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise InputError(f"--html: {str(path)!r} could not be written: {exc.strerror or exc}") from exc
    print(f"wrote {path}", file=sys.stderr)
