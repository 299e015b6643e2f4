"""Word, PowerPoint, Excel and EPUB to Markdown, with the extra ``office``."""

from __future__ import annotations

import importlib
import io
import warnings
import zipfile
from pathlib import Path

from ..errors import LoadError, MissingExtraError
from .decoding import clean
from .options import printable

__all__ = ["OFFICE_CONVERTERS", "read_office"]

OFFICE_CONVERTERS = {
    ".docx": "DocxConverter",
    ".pptx": "PptxConverter",
    ".xlsx": "XlsxConverter",
    ".epub": "EpubConverter",
}

_MOST_INFLATION = 20
"""A file may unpack to this many times the largest file size; more is a decompression bomb."""


def read_office(path: Path, data: bytes, max_bytes: int) -> str:
    """Return the text of an Office file as Markdown.

    Raises:
        LoadError: the extra is not installed (the reason says how), or the file is damaged,
            encrypted, or of another kind than its extension says.
    """
    extension = path.suffix.lower()
    _check_archive(path, data, max_bytes)
    try:
        markitdown = importlib.import_module("markitdown")
        converters = importlib.import_module("markitdown.converters")
        missing = importlib.import_module("markitdown._exceptions").MissingDependencyException
    except ImportError as exc:
        raise LoadError(printable(path), _missing(extension)) from exc
    # One converter, chosen by us: the library would otherwise load a model to guess the kind of file.
    converter = getattr(converters, OFFICE_CONVERTERS[extension])()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = converter.convert(io.BytesIO(data), markitdown.StreamInfo(extension=extension))
    except missing as exc:
        raise LoadError(printable(path), _missing(extension)) from exc
    except Exception as exc:  # a damaged file can raise anything in a parser
        raise LoadError(printable(path), f"damaged {extension} file: {type(exc).__name__}: {exc}") from exc
    return clean(done.markdown)


def _missing(extension: str) -> str:
    return str(MissingExtraError("markitdown", "office", f"reading {extension} files"))


def _check_archive(path: Path, data: bytes, max_bytes: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
        extension = path.suffix.lower()
        raise LoadError(
            printable(path), f"not a {extension} file: damaged, encrypted, or of another kind"
        ) from exc
    if unpacked > _MOST_INFLATION * max_bytes:
        raise LoadError(
            printable(path),
            f"unpacks to {unpacked:,} bytes, more than {_MOST_INFLATION} times the limit; "
            "raise it with --max-file-size",
        )
