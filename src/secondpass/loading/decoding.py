"""Bytes of a file to text: reading within a limit, telling text from binary, and detecting the encoding."""

from __future__ import annotations

import codecs
import os
import re
import stat
from pathlib import Path

from ..errors import LoadError
from .options import LoadOptions, printable

__all__ = ["clean", "decode", "read_bytes"]

_BOMS = (
    # UTF-32 first: its little-endian mark starts with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"(?:coding|charset)\s*[:=]\s*[\"']?([-\w.]+)", re.IGNORECASE)
"""PEP 263 in sources, ``charset`` in HTML, ``encoding`` in XML."""

_LEGACY = [
    "cp1252",
    "cp1250",
    "iso8859_2",
    "cp1251",
    "koi8_r",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
]
"""Encodings that files are really found in; where the detector is undecided, the first one wins."""

_UNDECIDED_CHAOS, _UNDECIDED_COHERENCE = 0.03, 0.06
"""Two guesses nearer than this in the detector's measures are taken as equally good."""

_SAMPLE_BYTES = 2**16
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1a\x1b")) + b"\x7f"
_MOST_CONTROL = 0.02
"""Share of control characters above which bytes that are not UTF-8 are binary (random bytes: 0.1)."""

_UNFIT = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace each NUL and lone surrogate by U+FFFD, so that offsets stay and any store can hold the text."""
    return _UNFIT.sub("\ufffd", text) if _UNFIT.search(text) else text


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; nothing else (a FIFO, a device, a socket) is ever opened.

    Raises:
        LoadError: it is missing, unreadable, not a regular file, or larger than ``limit`` bytes.
    """
    try:
        _refuse_irregular(path, path.stat(), limit)
        # Should the path become a FIFO in between, opening it must not wait for a writer.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  Path.open takes no flags
            _refuse_irregular(path, os.fstat(file.fileno()), limit)
            data = file.read(limit + 1)
            if len(data) > limit:
                raise LoadError(printable(path), _too_large(os.fstat(file.fileno()).st_size, limit))
            return data
    except (OSError, ValueError) as exc:
        raise LoadError(printable(path), _cause(path, exc)) from exc


def decode(path: Path, data: bytes, options: LoadOptions) -> str:
    """Return the text of a file, without byte order mark, newlines as they are, cleaned by ``clean``.

    Tried in this order: the encoding of the options, a byte order mark, UTF-16 without a mark,
    UTF-8, the encoding that the file declares, the detector's guess. A guess can be wrong between
    relatives (a short Czech text in cp1250 also reads as cp1252): the options' encoding settles it.

    Raises:
        LoadError: the file is binary or fits no encoding.
    """
    encoding = options.encoding or _marked(data)
    if encoding is None and b"\0" in data:
        encoding = _unmarked_utf16(data)
        if encoding is None:
            raise LoadError(printable(path), "binary file")
    if encoding is not None:
        return clean(_strict(path, data, encoding).removeprefix("\ufeff"))
    try:
        return clean(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if len(data) - len(data.translate(None, _CONTROL)) > _MOST_CONTROL * len(data):
        raise LoadError(printable(path), "binary file")
    declared = _decode_as_declared(data)
    return clean(declared if declared is not None else _strict(path, data, _guess(data)))


def _refuse_irregular(path: Path, status: os.stat_result, limit: int) -> None:
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        os.scandir(path).close()  # says why, where the folder cannot be listed
        raise LoadError(printable(path), "a folder, not a file")
    if kind != stat.S_IFREG:
        raise LoadError(
            printable(path), f"{kinds.get(kind, 'something')} and not a regular file; it is never opened"
        )
    if status.st_size > limit:
        raise LoadError(printable(path), _too_large(status.st_size, limit))


def _too_large(size: int, limit: int) -> str:
    return (
        f"too large: {size:,} bytes ({size / 2**20:.1f} MiB), the limit is {limit:,} "
        f"({limit / 2**20:.1f} MiB); raise it with --max-file-size"
    )


def _cause(path: Path, exc: OSError | ValueError) -> str:
    if isinstance(exc, ValueError):
        return "not a usable path: it holds a NUL or characters that no file name can have"
    if isinstance(exc, FileNotFoundError):
        if path.is_symlink():
            return f"a symbolic link to {printable(path.readlink())}, which does not exist"
        return "no such file or folder"
    if isinstance(exc, PermissionError):
        return "permission denied; make it readable for the user who runs this"
    return f"cannot be read: {exc.strerror or exc}"


def _marked(data: bytes) -> str | None:
    for mark, encoding in _BOMS:
        if data.startswith(mark) and not (encoding == "utf-32" and len(data) % 4):
            return encoding
    return None


def _unmarked_utf16(data: bytes) -> str | None:
    """Tell mostly Latin text in UTF-16 without a mark from binary: every zero is a high byte."""
    for encoding, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros = data[high::2].count(0)
        if len(data) % 2 or data[1 - high :: 2].count(0) or zeros < 0.7 * len(data) / 2:
            continue
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(character) < 32 and not character.isspace() for character in set(text)):
            return encoding
    return None


def _strict(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError as exc:
        where = f" at byte {exc.start:,}" if isinstance(exc, UnicodeDecodeError) else ""
        raise LoadError(
            printable(path),
            f"not valid {encoding}{where}; name its encoding with --encoding, or convert it to UTF-8",
        ) from exc


def _decode_as_declared(data: bytes) -> str | None:
    declared = _DECLARED.search(data, 0, 2048)
    if declared is None:
        return None
    try:
        return data.decode(declared[1].decode("ascii", "replace"))
    except (LookupError, ValueError):  # an unknown name, or not true of this file
        return None


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    guesses = list(from_bytes(_sample(data), cp_isolation=_LEGACY))
    if not guesses:
        return _LEGACY[0]
    good = {
        encoding
        for guess in guesses
        if guess.chaos <= guesses[0].chaos + _UNDECIDED_CHAOS
        and guess.coherence >= guesses[0].coherence - _UNDECIDED_COHERENCE
        for encoding in (guess.encoding, *guess.could_be_from_charset)
    }
    return next(encoding for encoding in _LEGACY if encoding in good)


def _sample(data: bytes) -> bytes:
    """Return lines that are not ASCII: what tells one encoding from another, wherever it stands."""
    if len(data) <= _SAMPLE_BYTES:
        return data
    chosen: list[bytes] = []
    room = _SAMPLE_BYTES
    for line in data.split(b"\n"):
        if room > 0 and not line.isascii():
            # A cut at a blank never goes through a character of several bytes.
            chosen.append(line if len(line) <= room else line[: line.rfind(b" ", 0, room) + 1] or line)
            room -= len(chosen[-1])
    return b"\n".join(chosen)
