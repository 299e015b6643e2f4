"""PDF to text, with the offset at which each page starts."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from ..errors import LoadError
from .decoding import clean
from .options import printable

__all__ = ["PAGE_BREAK", "looks_like_pdf", "read_pdf"]

PAGE_BREAK = "\n\n"
"""Stands between two pages; a page starts after it."""

# pypdf tells of every oddity it repairs; without a handler Python would print that to stderr.
logging.getLogger("pypdf").addHandler(logging.NullHandler())


def looks_like_pdf(data: bytes) -> bool:
    """Say whether the first bytes are those of a PDF, whatever the file is called."""
    return data.startswith(b"%PDF-")


def read_pdf(path: Path, data: bytes) -> tuple[str, tuple[int, ...], str]:
    """Return the text, the offset of each page (ascending, one a page), and the title (``""`` without).

    Raises:
        LoadError: the file is damaged, needs a password, or holds pictures of text only.
    """
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    try:
        pages, title = _extract(data)
    except (FileNotDecryptedError, WrongPasswordError) as exc:
        raise LoadError(printable(path), "encrypted PDF: it needs a password; save it without one") from exc
    except DependencyError as exc:
        raise LoadError(
            printable(path), "encrypted PDF: reading it needs one more package: pip install cryptography"
        ) from exc
    except Exception as exc:  # a damaged file can raise anything in a parser
        raise LoadError(printable(path), f"damaged PDF: {type(exc).__name__}: {exc}") from exc
    if not any(page.strip() for page in pages):
        raise LoadError(
            printable(path),
            f"PDF without text: {len(pages)} pages, of images only? Run a text recognition (OCR) first",
        )
    starts = []
    offset = 0
    for page in pages:
        starts.append(offset)
        offset += len(page) + len(PAGE_BREAK)
    return clean(PAGE_BREAK.join(pages)), tuple(starts), title


def _extract(data: bytes) -> tuple[list[str], str]:
    import warnings

    from pypdf import PdfReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old ciphers and repaired structures: not for our users
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted:
            reader.decrypt("")  # many files only forbid printing, and open without a password
        pages = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata is not None else None
    return pages, clean(title.strip()) if isinstance(title, str) else ""
