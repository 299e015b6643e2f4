"""Folders in BEIR layout (``corpus.jsonl``, ``queries.jsonl``, ``qrels/*.tsv``).

The layout is that of Thakur et al., BEIR (NeurIPS 2021 Datasets and Benchmarks).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import Document
from .lines import LONGEST_DOCUMENT, fault, json_lines

__all__ = ["CORPUS", "documents", "is_beir", "joined", "text_field"]

CORPUS = "corpus.jsonl"


def is_beir(folder: Path) -> bool:
    """Whether a path is a folder in BEIR layout."""
    return folder.is_dir() and (_corpus(folder).is_file() or (folder / "qrels").is_dir())


def documents(folder: str | Path) -> Iterator[Document]:
    """Yield the documents of ``corpus.jsonl`` (or ``corpus.jsonl.gz``) one by one.

    A document's id is its ``_id``; its text is title and text joined by one space, as BEIR's own baselines
    take it; a title also stands in the metadata.

    Raises:
        InputError: there is no such file, or a line of it is no document or repeats an id.
    """
    path = _corpus(Path(folder))
    if not path.is_file():
        raise InputError(
            f"no {CORPUS} in {folder}; a folder in BEIR layout has one, with _id and text a line"
        )
    seen: set[str] = set()
    for number, row in json_lines(path, LONGEST_DOCUMENT):
        key = text_field(path, number, row, "_id")
        if key in seen:
            fault(path, number, f"the _id {key!r} stands on an earlier line already; ids must be unique")
        seen.add(key)
        title = row.get("title") or ""
        if not isinstance(title, str) or not isinstance(row.get("text"), str):
            fault(path, number, f"the document {key!r} needs a 'text' (and may have a 'title'), both strings")
        text = joined(title, row["text"])
        yield Document(key, text, {"title": title.strip()} if title.strip() else {})
    if not seen:
        raise InputError(f"{path} holds no document; each line is a JSON object with _id, title and text")


def joined(title: str, text: str) -> str:
    """Return title and text as one text."""
    return f"{title} {text}".strip()


def text_field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    """Return a field that must hold something; a number is taken as written.

    Raises:
        InputError: it is missing, blank, or of another kind.
    """
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        fault(path, number, f"{name!r} is missing or empty; each line needs it")
    return value


def _corpus(folder: Path) -> Path:
    plain, packed = folder / CORPUS, folder / f"{CORPUS}.gz"
    return packed if packed.is_file() and not plain.is_file() else plain
