"""Pairs and click logs: JSONL of a query and what answered it, looked up in the index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..evaluation.lines import fault, json_lines
from ..evaluation.resolving import Resolved, resolve
from ..evaluation.rows import Entry, query_id
from ..evaluation.values import Judged

if TYPE_CHECKING:
    from ..index import Index

__all__ = ["read_pairs"]

_POSITIVE = ("positive", "clicked")


def read_pairs(path: str | Path, index: Index) -> Judged:
    """Read lines of ``{"query", "positive"}`` or ``{"query", "clicked"}``, each perhaps with ``negatives``.

    What was clicked, a positive or a negative is a document's id or path, a passage's id, or a text that
    stands in a document, or a list of these; see ``resolving.resolve``. Lines of the same query are put
    together; what is positive in one of them and negative in another counts as positive.

    Raises:
        InputError: a line is wrong, names documents where others name passages, or fits several places; or
            nothing that is positive is in the index.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise InputError(f"no file {path}; pairs are read from there, one JSON object a line")
    queries: dict[str, str] = {}
    entries: list[Entry] = []
    for line, row in json_lines(path):
        query = row.get("query")
        if not isinstance(query, str) or not query.strip():
            raise fault(path, line, "'query' is missing or empty; each line needs the text of a query")
        key = query_id(query)
        queries.setdefault(key, query.strip())
        entries += _entries(path, line, key, row)
    if not entries:
        raise fault(path, 1, 'no pair; each line is {"query": "...", "positive": "..."}')
    resolved = resolve(path, entries, index, quotes=True)
    return Judged(
        queries=queries,
        qrels=_grades(entries, resolved),
        unit=resolved.unit,
        origin=str(path),
        missing=_missing(resolved),
    )


def _entries(path: Path, line: int, key: str, row: Mapping[str, Any]) -> Iterator[Entry]:
    named = [name for name in _POSITIVE if name in row]
    if len(named) != 1:
        raise fault(path, line, "one of 'positive' and 'clicked' is wanted: what answers the query")
    positives = list(_texts(path, line, named[0], row[named[0]]))
    if not positives:
        raise fault(path, line, f"{named[0]!r} is empty; name what answers the query, or drop the line")
    for text in positives:
        yield Entry(line, key, text, 1)
    for text in _texts(path, line, "negatives", row.get("negatives", [])):
        yield Entry(line, key, text, 0)


def _texts(path: Path, line: int, name: str, given: object) -> Iterator[str]:
    for each in given if isinstance(given, list) else [given]:
        if not isinstance(each, str) or not each.strip():
            raise fault(path, line, f"{name!r} wants sources, ids or texts of the index, got {each!r}")
        yield each.strip()


def _grades(entries: list[Entry], resolved: Resolved) -> dict[str, dict[str, int]]:
    grades: dict[str, dict[str, int]] = {}
    for entry, keys in zip(entries, resolved.keys, strict=True):
        of_query = grades.setdefault(entry.query_id, {})
        for key in keys:
            of_query[key] = max(entry.grade, of_query.get(key, 0))
    return grades


def _missing(resolved: Resolved) -> dict[str, tuple[str, ...]]:
    missing: dict[str, tuple[str, ...]] = {}
    for entry in resolved.missing:
        missing[entry.query_id] = (*missing.get(entry.query_id, ()), entry.text)
    return missing
