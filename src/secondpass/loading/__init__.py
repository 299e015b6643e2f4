"""From paths to documents: finding files, reading their text, and saying which could not be read.

Text, Markdown, reStructuredText, source code, HTML, CSV/TSV/JSON/JSONL (each row a document) and
PDF (with pages); Word, PowerPoint, Excel and EPUB with the extra ``office``. Whatever else is
text is read as text; what is not is reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import LoadError
from ..types import Document, MetadataValue
from .decoding import clean, decode, read_bytes
from .discovery import discover
from .office import OFFICE_CONVERTERS, read_office
from .options import LoadOptions, Paths, Skipped, absolute, printable
from .page import looks_like_html, visible_text
from .pdf import looks_like_pdf, read_pdf
from .rows import ROW_READERS

__all__ = ["LoadOptions", "Skipped", "discover", "load", "read"]

_HTML = {".html", ".htm", ".xhtml"}


def load(paths: Paths, options: LoadOptions | None = None) -> Iterator[Document | Skipped]:
    """Yield the documents of files and folders, and each file that gave none, in order of discovery.

    One bad file never stops the others: it comes as a ``Skipped`` with the reason.

    Raises:
        InputError: something in ``paths`` is no path.
    """
    options = options or LoadOptions()
    return _load(discover(paths, options), options)


def _load(files: Iterator[Path], options: LoadOptions) -> Iterator[Document | Skipped]:
    for path in files:
        try:
            documents = read(path, options)
        except LoadError as exc:
            yield Skipped(exc.path, exc.reason, error=True)
            continue
        yield from documents
        if not documents:
            yield Skipped(printable(path), "empty: no text in it", error=False)


def read(path: str | os.PathLike[str], options: LoadOptions | None = None) -> list[Document]:
    """Return the documents of one file: one, or one a row; none if it holds no text.

    A document's id is the absolute path (``path#3`` for the third row of a CSV or JSON file, or
    for line 3 of a JSONL file). Newlines are as in the file. A NUL or a lone surrogate in a
    text or in metadata is replaced by U+FFFD, character for character.

    Raises:
        LoadError: the file is missing, unreadable, not a regular file, too large, binary, of an
            unknown encoding, or broken for its kind.
    """
    options = options or LoadOptions()
    path = absolute(path)
    name = printable(path)
    if name != path.as_posix():
        raise LoadError(name, "its name is not valid UTF-8; rename it")
    data = read_bytes(path, options.max_bytes)
    extension = path.suffix.lower()
    metadata: dict[str, MetadataValue] = {
        "name": path.name,
        "extension": extension,
        "folder": path.parent.as_posix(),
    }
    if looks_like_pdf(data) or (extension == ".pdf" and data):
        text, page_starts, title = read_pdf(path, data)
        return _documents(name, [(0, text, _titled(title))], metadata, page_starts)
    if extension in OFFICE_CONVERTERS and data:
        return _documents(name, [(0, read_office(path, data, options.max_bytes), {})], metadata)
    text = decode(path, data, options)
    if extension in ROW_READERS and text.strip():
        rows = ROW_READERS[extension](path, text, options)
        return _documents(name, [(row.number, row.text, row.metadata) for row in rows], metadata)
    if extension in _HTML or (not extension and looks_like_html(text)):
        text, title = visible_text(path, text)
        return _documents(name, [(0, text, _titled(title))], metadata)
    return _documents(name, [(0, text, {})], metadata)


def _documents(
    name: str,
    rows: list[tuple[int, str, Mapping[str, MetadataValue]]],
    file_metadata: Mapping[str, MetadataValue],
    page_starts: tuple[int, ...] = (),
) -> list[Document]:
    return [
        Document(
            id=f"{name}#{number}" if number else name,
            text=clean(text),
            metadata={
                **file_metadata,
                **{clean(key): _clean_value(value) for key, value in metadata.items()},
            },
            source=name,
            page_starts=page_starts,
        )
        for number, text, metadata in rows
        if text.strip()
    ]


def _clean_value(value: MetadataValue) -> MetadataValue:
    return clean(value) if isinstance(value, str) else value


def _titled(title: str) -> dict[str, MetadataValue]:
    return {"title": title} if title else {}
