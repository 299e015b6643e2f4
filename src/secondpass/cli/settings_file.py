"""Writing settings into ``secondpass.toml``, line by line: other keys and comments stay as they are."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from ..errors import SettingsError

__all__ = ["changed_text", "write_settings"]

Value = str | int | float | bool


def write_settings(file: Path, values: Mapping[str, Value]) -> list[str]:
    """Set keys of a settings file, making it where there is none; return the lines that were written.

    Raises:
        SettingsError: the file cannot be read or written, or is not in a shape that can be edited safely;
            it is then as it was.
    """
    try:
        old = file.read_bytes().decode("utf-8") if file.exists() else ""
        new = changed_text(old, values, file)
        _replace(file, new)
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"cannot write {file}: {exc}; nothing was changed") from exc
    return [_line(key, value) for key, value in values.items()]


def changed_text(text: str, values: Mapping[str, Value], file: Path) -> str:
    """Return the text of a settings file with keys set; everything else keeps its place.

    Args:
        text: of the file; may be empty.
        values: what to set.
        file: for messages.

    Raises:
        SettingsError: the text is no TOML, or says something else after the edit than it should.
    """
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"cannot read {file}: {exc}; mend it first, nothing was changed") from exc
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    added = []
    for key, value in values.items():
        place = _place_of(key, lines[:end])
        if place is None:
            added.append(_line(key, value))
        else:
            lines[place] = _line(key, value) + _comment(lines[place])
    lines[end:end] = [*added, ""] if added and end < len(lines) else added
    new = newline.join(lines) + (newline if lines else "")
    _check(new, {**before, **values}, values, file)
    return new


def _place_of(key: str, lines: list[str]) -> int | None:
    pattern = re.compile(rf"\s*(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')\s*=")
    return next((at for at, line in enumerate(lines) if pattern.match(line)), None)


def _comment(line: str) -> str:
    """Return the comment that ends a line, with the space before it; a # inside a string is none."""
    inside = ""
    for at, char in enumerate(line):
        if inside:
            inside = "" if char == inside else inside
        elif char in "\"'":
            inside = char
        elif char == "#":
            return line[len(line[:at].rstrip()) :]
    return ""


def _line(key: str, value: Value) -> str:
    """Return one line of TOML; JSON's strings, numbers and truth values are TOML's too."""
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _check(text: str, wanted: Mapping[str, object], values: Mapping[str, Value], file: Path) -> None:
    """Refuse an edit that hit something else, e.g. a line inside a string of several lines."""
    try:
        if tomllib.loads(text) == wanted:
            return
    except tomllib.TOMLDecodeError:
        pass
    lines = "; ".join(_line(key, value) for key, value in values.items())
    raise SettingsError(f"{file} cannot be edited safely; nothing was changed. Write there yourself: {lines}")


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all; a symbolic link stays one, and so do the file's permissions."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    handle, staged = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        Path(staged).chmod(mode)
        Path(staged).replace(target)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
