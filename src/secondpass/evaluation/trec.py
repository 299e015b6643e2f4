"""Runs and qrels as trec_eval reads and writes them; ``.gz`` is packed and unpacked on the way.

A line of a run is ``query Q0 document rank score tag``, one of qrels ``query iteration document grade``. In
both, whitespace parts the fields, so that an id may hold none. Our ids are paths, and may: a space is written
as U+2420 (the symbol for a space), a tab or line end as its own such symbol, and read back.
"""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..ranking import rank
from .lines import fault, numbered_lines, whole_grade
from .values import Qrels, Run

__all__ = [
    "Judgment",
    "collected",
    "ordered",
    "qrels_lines",
    "read_qrels",
    "read_run",
    "write_qrels",
    "write_run",
]

Judgment = tuple[int, str, str, int]
"""Number of the line, query id, id of what was judged, grade."""

LARGEST = 1e38
"""Scores are kept within this: room enough below 3.4e38, where 32 bits end."""

_RUN = ("query", "Q0", "document", "rank", "score", "tag")
_QRELS = ("query", "iteration", "document", "grade")
_SPACES = " \t\n\v\f\r"
"""What parts fields for trec_eval, in C's ``isspace``; Python's ``split()`` knows more."""
_TO_SYMBOL = str.maketrans({space: chr(0x2400 + ord(space)) for space in _SPACES})
_ONE_SPACE = str.maketrans(dict.fromkeys(_SPACES, " "))
_FROM_SYMBOL = str.maketrans({chr(0x2400 + ord(space)): space for space in _SPACES})


def ordered(ranking: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return a ranking, best first, with scores that fall strictly: whoever sorts by them keeps the order.

    trec_eval keeps scores in 32 bits and breaks ties by id. So scores are cut to the digits that 32 bits
    hold; one that is not below the score before it becomes the next smaller number.

    Raises:
        InputError: a score is NaN or infinite, or an id stands there twice.
    """
    if len({key for key, _ in ranking}) != len(ranking):
        raise InputError("an id stands twice in a ranking; each has one place")
    falling: list[tuple[str, float]] = []
    before = np.float32(np.inf)
    for key, score in ranking:
        if not math.isfinite(score):
            raise InputError(f"the score of {key!r} is {score}; a run needs finite scores")
        value = np.float32(min(max(score, -LARGEST), LARGEST))
        before = value if value < before else np.nextafter(before, np.float32(-np.inf))
        falling.append((key, float(str(before))))
    return falling


def read_run(path: str | Path) -> Run:
    """Read a run, ranked as trec_eval ranks it: by score in 32 bits, ties by id from the end of the alphabet.

    The column of ranks is ignored, as trec_eval ignores it. The scores come back as ``ordered`` gives them.

    Raises:
        InputError: the file is empty or a line is wrong; it is named.
    """
    path = Path(path)
    scores: dict[str, dict[str, float]] = {}
    for number, (query_id, _, key, _, score, _) in _fields(path, _RUN):
        row = scores.setdefault(query_id, {})
        if key in row:
            raise fault(path, number, f"the document {key!r} stands twice for the query {query_id!r}")
        row[key] = _score(path, number, score)
    if not scores:
        raise InputError(f"{path} is empty; a run has a line for each document found")
    return {query_id: dict(ordered(_as_trec_eval_ranks(row))) for query_id, row in scores.items()}


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """Write a run so that trec_eval scores it as we do: best first, ties by id, scores falling strictly.

    Args:
        path: replaced where it exists, whole or not at all.
        run: a query without documents is left out; trec_eval counts it as 0 all the same with ``-c``.
        tag: what the run is called.

    Raises:
        InputError: nothing to write, a score is not finite, an id or the tag cannot be written, or the file.
    """
    path = Path(path)
    name = _written(tag)
    lines = (
        f"{_written(query_id)} Q0 {_written(key)} {place} {score!r} {name}\n"
        for query_id, scores in run.items()
        for place, (key, score) in enumerate(ordered(rank(scores.items())), start=1)
    )
    if not any(run.values()):
        raise InputError(f"no document was found for any query; there is no run to write to {path}")
    _write(path, lines)


def read_qrels(path: str | Path) -> Qrels:
    """Read judgments; grades above 0 are relevant, those below 0 are kept, and count as judged, not relevant.

    Raises:
        InputError: the file is empty or a line is wrong; it is named.
    """
    return collected(Path(path), qrels_lines(Path(path)))


def qrels_lines(path: Path) -> Iterator[Judgment]:
    """Yield the judgments one by one.

    Raises:
        InputError: a line is wrong; it is named.
    """
    for number, (query_id, _, key, grade) in _fields(path, _QRELS):
        yield number, query_id, key, whole_grade(path, number, grade)


def collected(path: Path, judgments: Iterable[Judgment]) -> dict[str, dict[str, int]]:
    """Return the judgments by query and id.

    Raises:
        InputError: there is none, or one pair was judged twice.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, query_id, key, grade in judgments:
        grades = qrels.setdefault(query_id, {})
        if key in grades:
            raise fault(
                path, number, f"{key!r} is judged twice for the query {query_id!r}; one judgment each"
            )
        grades[key] = grade
    if not qrels:
        raise InputError(f"{path} holds no judgment; qrels have a line for each")
    return qrels


def write_qrels(path: str | Path, qrels: Qrels) -> None:
    """Write judgments; the file is replaced where it exists, whole or not at all.

    Raises:
        InputError: there is none, an id cannot be written, or the file.
    """
    path = Path(path)
    if not any(qrels.values()):
        raise InputError(f"no judgment to write to {path}")
    lines = (
        f"{_written(query_id)} 0 {_written(key)} {grade}\n"
        for query_id, grades in qrels.items()
        for key, grade in grades.items()
    )
    _write(path, lines)


def _fields(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line, escaped spaces restored."""
    for number, text in numbered_lines(path):
        fields = text.translate(_ONE_SPACE).split(" ")
        fields = [field for field in fields if field]
        if len(fields) != len(names):
            raise fault(path, number, f"{len(fields)} fields instead of {len(names)}: {' '.join(names)}")
        yield number, [field.translate(_FROM_SYMBOL) for field in fields]


def _score(path: Path, number: int, written: str) -> float:
    try:
        score = float(written) if "_" not in written else math.nan
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise fault(path, number, f"the score {written!r} is no finite number")
    return score


def _as_trec_eval_ranks(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the pairs by score in 32 bits, then by id, both from the top."""
    with np.errstate(over="ignore"):  # beyond 32 bits lies infinity, for trec_eval as well
        return sorted(scores.items(), key=lambda pair: (np.float32(pair[1]), pair[0]), reverse=True)


def _written(name: str) -> str:
    """Return an id or a tag without whitespace."""
    if not name or any(symbol in name for symbol in map(chr, _FROM_SYMBOL)):
        raise InputError(f"{name!r} cannot stand in a TREC file: it is empty or holds a symbol for a space")
    return name.translate(_TO_SYMBOL)


def _write(path: Path, lines: Iterable[str]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        packed = path.suffix == ".gz"
        with gzip.open(unfinished, "wb") if packed else unfinished.open("wb") as stream:
            for line in lines:
                stream.write(line.encode())
        unfinished.replace(path)
    except (OSError, UnicodeEncodeError) as exc:
        raise InputError(f"cannot write {path}: {getattr(exc, 'strerror', None) or exc}") from exc
    finally:
        unfinished.unlink(missing_ok=True)
