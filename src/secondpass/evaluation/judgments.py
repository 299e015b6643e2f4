"""Judged queries from whatever a person has: a BEIR folder, TREC qrels, rows of JSONL or CSV, own marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import InputError
from . import beir, trec
from .lines import fault, numbered_lines
from .resolving import Resolved, resolve, unresolved
from .rows import Entry, QueryText, delimiter_of, read_queries, read_rows
from .values import Judged

if TYPE_CHECKING:
    from ..index import Index

__all__ = ["read_judged"]

_Format = Literal["jsonl", "csv", "beir", "trec"]
_MARKS = "qrels.txt"
"""What ``secondpass judge`` writes into its folder, beside ``queries.jsonl``."""
_QUERIES = ("queries.jsonl", "queries.tsv", "queries.jsonl.gz", "queries.tsv.gz")


def read_judged(
    path: str | Path,
    *,
    queries: str | Path | None = None,
    index: Index | None = None,
    split: str = "test",
) -> Judged:
    """Read judged queries; what the file is, is seen from its content.

    - a folder in BEIR layout: ``queries.jsonl`` and ``qrels/<split>.tsv``;
    - the folder of ``secondpass judge``: ``queries.jsonl`` and ``qrels.txt``;
    - qrels (TREC's four columns, BEIR's three), with a file of queries given or beside it;
    - JSONL or CSV rows of ``query`` and ``relevant`` (and ``id``, ``grade``, ``reference``, ``synthetic``),
      see ``rows.read_rows``.

    A ``.gz`` of each will do. What is relevant is looked up in the index, see ``resolving.resolve``; without
    one, ids are taken as those of documents. Queries without judgments are left out. Grades below 0 stay, and
    count as judged and not relevant.

    Args:
        path: the file or folder.
        queries: the texts of the queries: JSONL of ``_id`` and ``text``, or TSV of id and text.
        index: where to look up what is relevant.
        split: which qrels of a BEIR folder.

    Raises:
        InputError: something is missing, wrong or ambiguous; file and line are named. Or nothing in it is
            relevant, or nothing of that is in the index.
    """
    path = Path(path)
    file = _file(path, split)
    kind = _format(file)
    if kind in ("jsonl", "csv"):
        if queries is not None:
            raise InputError(f"{file} holds its queries itself; leave out {queries}, or give qrels")
        judged = _from_rows(file, index, is_csv=kind == "csv")
    else:
        judged = _from_qrels(file, kind, Path(queries) if queries is not None else _beside(file), index)
    if not any(grade > 0 for grades in judged.qrels.values() for grade in grades.values()):
        raise InputError(f"nothing in {file} is judged relevant (above 0); there is nothing to be found")
    return replace(judged, origin=str(path))


def _file(path: Path, split: str) -> Path:
    """Return the file that holds the judgments."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"no file or folder {path}; judged queries are read from there")
        return path
    if (path / _MARKS).is_file() and not beir.is_beir(path):
        return path / _MARKS
    if not beir.is_beir(path):
        raise InputError(
            f"no judged queries in {path}: neither BEIR's queries.jsonl and qrels/{split}.tsv, nor "
            f"queries.jsonl and {_MARKS} as 'secondpass judge' writes them"
        )
    for name in (f"{split}.tsv", f"{split}.tsv.gz"):
        if (path / "qrels" / name).is_file():
            return path / "qrels" / name
    there = sorted({file.name.split(".")[0] for file in (path / "qrels").glob("*.tsv*")})
    raise InputError(
        f"no judgments {split!r} in {path / 'qrels'}; "
        + (f"there are: {', '.join(there)}" if there else f"a BEIR folder has {split}.tsv there")
    )


def _format(file: Path) -> _Format:
    """Return what a file is, by its first line."""
    number, first = next(numbered_lines(file), (0, ""))
    if not number:
        raise InputError(f"{file} is empty; it should hold judged queries")
    if first.lstrip().startswith("{"):
        return "jsonl"
    columns = [name.strip().strip('"').lower() for name in first.split(delimiter_of(first))]
    if "relevant" in columns and {"query", "question"} & set(columns):
        return "csv"
    if first.count("\t") == 2:
        return "beir"
    if len(first.split()) == 4:
        return "trec"
    what = "it looks like a TREC run, not like judgments" if len(first.split()) == 6 else "no known form"
    raise fault(
        file,
        number,
        f"{what}; judged queries come as JSON objects (one a line) or CSV with 'query' and 'relevant', or as "
        "qrels of three or four columns",
    )


def _beside(file: Path) -> Path:
    """Return the file of queries that belongs to qrels: in their folder, or above a folder ``qrels``."""
    folders = [file.parent] + ([file.parent.parent] if file.parent.name == "qrels" else [])
    for folder in folders:
        for name in _QUERIES:
            if (folder / name).is_file():
                return folder / name
    raise InputError(
        f"{file} names queries by their ids, and no {' or '.join(_QUERIES[:2])} with their texts lies beside "
        "it; name the file that holds them"
    )


def _from_qrels(file: Path, kind: _Format, queries: Path, index: Index | None) -> Judged:
    lines = list((beir.qrels_lines if kind == "beir" else trec.qrels_lines)(file))
    trec.collected(file, lines)
    texts = read_queries(queries)
    for number, query_id, _, _ in lines:
        if query_id not in texts:
            raise fault(file, number, f"the query {query_id!r} is judged, but {queries} has no text for it")
    entries = [Entry(number, query_id, key, grade) for number, query_id, key, grade in lines]
    resolved = unresolved(file, entries) if index is None else resolve(file, entries, index, quotes=False)
    return _judged(file, entries, resolved, texts, quotes=False)


def _from_rows(file: Path, index: Index | None, *, is_csv: bool) -> Judged:
    rows = read_rows(file, is_csv=is_csv)
    entries = [entry for row in rows for entry in row.entries]
    resolved = unresolved(file, entries) if index is None else resolve(file, entries, index, quotes=True)
    texts = {row.id: QueryText(row.query, row.synthetic, row.reference) for row in rows}
    return _judged(file, entries, resolved, texts, quotes=True)


def _judged(
    file: Path, entries: Sequence[Entry], resolved: Resolved, texts: dict[str, QueryText], *, quotes: bool
) -> Judged:
    """Put together what was judged.

    Raises:
        InputError: one thing has two grades for a query. Only of two quotes in one passage the higher counts.
    """
    qrels: dict[str, dict[str, int]] = {}
    for entry, keys in zip(entries, resolved.keys, strict=True):
        grades = qrels.setdefault(entry.query_id, {})
        for key in keys:
            before = grades.setdefault(key, entry.grade)
            if before != entry.grade and not (quotes and resolved.unit == "passage"):
                what = f"{entry.text!r} has the grades {before} and {entry.grade} for one query; keep one"
                raise fault(file, entry.line, what)
            grades[key] = max(entry.grade, before)
    missing: dict[str, tuple[str, ...]] = {}
    for entry in resolved.missing:
        missing[entry.query_id] = (*missing.get(entry.query_id, ()), entry.text)
    references = {key: texts[key].reference for key in qrels if texts[key].reference}
    return Judged(
        queries={key: texts[key].text for key in qrels},
        qrels=qrels,
        unit=resolved.unit,
        synthetic=any(texts[key].synthetic for key in qrels),
        references=references or None,
        missing=missing,
    )
