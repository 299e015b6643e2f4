"""Folders in BEIR layout (``corpus.jsonl``, ``queries.jsonl``, ``qrels/*.tsv``).

The layout is that of Thakur et al., BEIR (NeurIPS 2021 Datasets and Benchmarks).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import Document
from .lines import LONGEST_DOCUMENT, fault, json_lines, numbered_lines, whole_grade
from .trec import Judgment

__all__ = ["documents", "has_corpus", "is_beir", "joined", "qrels_lines"]

_CORPUS = "corpus.jsonl"


def is_beir(folder: Path) -> bool:
    """Whether a path is a folder in BEIR layout."""
    return folder.is_dir() and (_corpus(folder).is_file() or (folder / "qrels").is_dir())


def has_corpus(folder: Path) -> bool:
    """Whether a path is a folder that holds the documents of a collection, too."""
    return folder.is_dir() and _corpus(folder).is_file()


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
            f"no {_CORPUS} in {folder}; a folder in BEIR layout has one, with _id and text a line"
        )
    seen: set[str] = set()
    for number, row in json_lines(path, LONGEST_DOCUMENT):
        key = _text_field(path, number, row, "_id")
        if key in seen:
            raise fault(
                path, number, f"the _id {key!r} stands on an earlier line already; ids must be unique"
            )
        seen.add(key)
        title = row.get("title") or ""
        if not isinstance(title, str) or not isinstance(row.get("text"), str):
            raise fault(
                path, number, f"the document {key!r} needs a 'text' (and may have a 'title'), both strings"
            )
        text = joined(title, row["text"])
        yield Document(key, text, {"title": title.strip()} if title.strip() else {})
    if not seen:
        raise InputError(f"{path} holds no document; each line is a JSON object with _id, title and text")


def qrels_lines(path: Path) -> Iterator[Judgment]:
    """Yield the judgments in three columns parted by tabs: query id, document id, grade; a header may lead.

    Raises:
        InputError: a line is wrong; it is named.
    """
    first = True
    for number, text in numbered_lines(path):
        fields = [field.strip() for field in text.split("\t")]
        if len(fields) != 3 or not all(fields):
            raise fault(
                path, number, f"{len(fields)} columns instead of 3: query-id, corpus-id, score, with tabs"
            )
        if not first or any(character.isdecimal() for character in fields[2]):
            yield number, fields[0], fields[1], whole_grade(path, number, fields[2])
        first = False


def joined(title: str, text: str) -> str:
    """Return title and text as one text."""
    return f"{title} {text}".strip()


def _text_field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    """Return a field that must hold something; a number is taken as written.

    Raises:
        InputError: it is missing, blank, or of another kind.
    """
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise fault(path, number, f"{name!r} is missing or empty; each line needs it")
    return value


def _corpus(folder: Path) -> Path:
    plain, packed = folder / _CORPUS, folder / f"{_CORPUS}.gz"
    return packed if packed.is_file() and not plain.is_file() else plain
