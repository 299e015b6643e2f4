"""Judged queries as people write them: JSONL or CSV rows of a query and what is relevant to it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from .lines import fault, json_lines, numbered_lines, raw_lines, whole_grade

__all__ = ["Entry", "JudgedRow", "QueryText", "delimiter_of", "query_id", "read_queries", "read_rows"]

Kind = Literal["any", "document", "passage", "quote"]
_KINDS: Mapping[str, Kind] = {
    "document": "document",
    "source": "document",
    "passage": "passage",
    "quote": "quote",
    "text": "quote",
}
"""Keys of an object in ``relevant``, and what each says that its value is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody judged for a query, as it was written.

    Attributes:
        line: where, from 1.
        query_id: of the query.
        text: a document's id or path, a passage's id, or a quoted text.
        grade: above 0 is relevant.
        kind: which of these it is; ``any`` where it was not said.
    """

    line: int
    query_id: str
    text: str
    grade: int
    kind: Kind = "any"


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One row: a query, what is relevant to it, and perhaps a reference answer."""

    line: int
    id: str
    query: str
    entries: tuple[Entry, ...]
    reference: str
    synthetic: bool


@dataclass(frozen=True, slots=True)
class QueryText:
    """One line of a file of queries."""

    text: str
    synthetic: bool
    reference: str


def query_id(query: str) -> str:
    """Return an id for a query that has none, from its text: the same in every run, as baselines want it."""
    return f"q{blake2b(' '.join(query.split()).encode(), digest_size=4).hexdigest()}"


def read_rows(path: Path, *, is_csv: bool) -> list[JudgedRow]:
    """Read rows of ``{query, relevant, id, grade, reference}``; the last three may lack.

    In JSONL ``relevant`` is a text, an object with one of ``source``, ``document``, ``passage``, ``quote``
    and perhaps ``grade``, or a list of these. In CSV it is one text, or a JSON list; rows of the same query
    are put together.

    Raises:
        InputError: a line is wrong; it is named. An id stands for two queries, or there is no row.
    """
    found: dict[str, JudgedRow] = {}
    for line, row in _csv_rows(path) if is_csv else json_lines(path):
        new = _row(path, line, row)
        old = found.get(new.id)
        if old is None:
            found[new.id] = new
        elif is_csv and old.query == new.query:
            found[new.id] = JudgedRow(
                old.line, old.id, old.query, old.entries + new.entries, old.reference, old.synthetic
            )
        else:
            what = "has the same query" if old.query == new.query else f"has the id {new.id!r} too"
            raise fault(path, line, f"line {old.line} {what}; put all that is relevant into one row")
    if not found:
        raise fault(
            path, 1, 'no row; each is a query and what is relevant: {"query": "...", "relevant": ["..."]}'
        )
    return list(found.values())


def read_queries(path: Path) -> dict[str, QueryText]:
    """Read a file of queries: JSONL with ``_id`` and ``text`` (or ``id``, ``query``), or TSV of id and text.

    Raises:
        InputError: a line is wrong; it is named. An id stands there twice, or there is no query.
    """
    found: dict[str, QueryText] = {}
    for line, key, query in _jsonl_queries(path) if _starts_object(path) else _tsv_queries(path):
        if key in found:
            raise fault(
                path, line, f"the query id {key!r} stands on an earlier line already; ids must be unique"
            )
        found[key] = query
    if not found:
        raise fault(
            path, 1, "no query; each line is an id, a tab and a text, or a JSON object with _id and text"
        )
    return found


def delimiter_of(header: str) -> str:
    """Return whichever of comma, semicolon, tab and bar a header line holds most of."""
    return max(",;\t|", key=header.count)


def _jsonl_queries(path: Path) -> Iterator[tuple[int, str, QueryText]]:
    for line, row in json_lines(path):
        key = _identifier(path, line, row.get("_id", row.get("id")))
        text = _text(path, line, row, ("text", "query"))
        if not key:
            raise fault(path, line, "the query has no '_id'; judgments name queries by their ids")
        yield line, key, QueryText(text, row.get("synthetic") is True, _reference(path, line, row))


def _tsv_queries(path: Path) -> Iterator[tuple[int, str, QueryText]]:
    for line, row in numbered_lines(path):
        key, tab, text = row.partition("\t")
        if not tab or not key.strip() or not text.strip():
            raise fault(path, line, "a query id, a tab and the query's text are wanted")
        if line == 1 and key.strip().lower() in ("id", "_id", "qid", "query_id", "query-id"):
            continue
        yield line, key.strip(), QueryText(text.strip(), synthetic=False, reference="")


def _starts_object(path: Path) -> bool:
    return next((text.lstrip().startswith("{") for _, text in numbered_lines(path)), False)


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of its first line and the fields of each row, by the header's names."""
    header_line = next((text for _, text in numbered_lines(path)), "")
    reader = csv.reader(
        (text for _, text in raw_lines(path)), delimiter=delimiter_of(header_line), strict=True
    )
    names: list[str] = []
    line = 1
    try:
        for record in reader:
            if any(field.strip() for field in record):
                if not names:
                    names = [name.strip().lower() for name in record]
                    _check_names(path, line, names)
                elif len(record) != len(names):
                    raise fault(
                        path, line, f"{len(record)} fields under a header of {len(names)}; quote the texts"
                    )
                else:
                    yield line, {name: field for name, field in zip(names, record, strict=True) if field}
            line = reader.line_num + 1
    except csv.Error as exc:
        raise fault(path, line, f"broken row: {exc}") from exc


def _check_names(path: Path, line: int, names: list[str]) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise fault(path, line, f"two columns are called {twice!r}; rename or drop one")


def _row(path: Path, line: int, row: Mapping[str, Any]) -> JudgedRow:
    query = _text(path, line, row, ("query", "question"))
    key = _identifier(path, line, row.get("id", row.get("_id"))) or query_id(query)
    grade = _grade(path, line, row.get("grade", 1))
    given = row.get("relevant")
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = _listed(given)
    several = given if isinstance(given, list) else [given]
    if given is None or not several:
        raise fault(
            path,
            line,
            f"the query {query!r} has nothing 'relevant'; name a source or quote a text, or drop it",
        )
    entries = tuple(_entry(path, line, key, each, grade) for each in several)
    reference = _reference(path, line, row)
    return JudgedRow(line, key, query, entries, reference, str(row.get("synthetic")).lower() == "true")


def _listed(given: str) -> Any:
    """Return a cell's JSON list; a text that only begins like one stays the text."""
    try:
        value = json.loads(given)
    except ValueError:
        return given
    return value if isinstance(value, list) else given


def _entry(path: Path, line: int, key: str, given: object, grade: int) -> Entry:
    kind: Kind = "any"
    if isinstance(given, dict):
        kinds = [name for name in given if name in _KINDS]
        if len(kinds) != 1:
            raise fault(
                path, line, f"an object in 'relevant' needs one of {', '.join(_KINDS)}, got {sorted(given)}"
            )
        kind = _KINDS[kinds[0]]
        grade = _grade(path, line, given.get("grade", grade))
        given = given[kinds[0]]
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not given.strip():
        raise fault(path, line, f"'relevant' wants sources, ids or quoted texts, got {given!r}")
    return Entry(line, key, given.strip(), grade, kind)


def _grade(path: Path, line: int, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise fault(path, line, f"the grade {given!r} is no whole number; 0 is not relevant, above is")
    return whole_grade(path, line, given)


def _identifier(path: Path, line: int, given: object) -> str:
    """Return an id as text, empty where none is given."""
    if given is None:
        return ""
    if not isinstance(given, (str, int)) or isinstance(given, bool) or not str(given).strip():
        raise fault(path, line, f"the query id {given!r} is empty or no text")
    return str(given).strip()


def _text(path: Path, line: int, row: Mapping[str, Any], names: Sequence[str]) -> str:
    given = next((row[name] for name in names if name in row), None)
    if not isinstance(given, str) or not given.strip():
        raise fault(path, line, f"{names[0]!r} is missing or empty; each line needs the text of a query")
    return given.strip()


def _reference(path: Path, line: int, row: Mapping[str, Any]) -> str:
    given = row.get("reference", row.get("answer")) or ""
    if not isinstance(given, str):
        raise fault(path, line, f"'reference' is the text of an answer, got {type(given).__name__}")
    return given.strip()
