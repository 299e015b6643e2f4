"""What one setting found, for tools that judge generated answers: one JSON object a line, one a query.

``ragas`` has the columns of its version 0.2 and later (``SingleTurnSample``), ``jsonl`` those it had before,
which many other tools read. Two layouts, not one with both: where ragas renames the older
columns, both sets would leave two columns of one name (seen with 0.4.3).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from ..arguments import checked_count
from ..errors import InputError
from ..types import Passage
from .trials import Trials
from .values import Judged, Setting

__all__ = ["KINDS", "Kind", "check_replaceable", "write_export"]

Kind = Literal["ragas", "jsonl"]
KINDS: tuple[Kind, ...] = ("ragas", "jsonl")

_CONTEXTS = ("retrieved_contexts", "contexts")
_FIRST = 10_000_000
"""Characters of an existing file that are looked at; a line of ours is shorter."""


def write_export(
    kind: str,
    path: str | Path,
    trials: Trials,
    judged: Judged,
    setting: Setting,
    passage_of: Callable[[str], Passage],
    k: int,
) -> int:
    """Write the ``k`` best passages of each query; return how many lines that makes.

    The answer (``response``, ``answer``) is null: nothing here generates text. The reference answer is null
    where the judgments have none. The file is replaced in one step.

    Args:
        kind: ``ragas`` or ``jsonl``, see ``KINDS``.
        path: the file; one that is there must be such an export.
        trials: must hold ``setting``.
        judged: their judgments.
        setting: whose ranking is written.
        passage_of: looks a passage up, ``Index.passage``.
        k: how many contexts, at least 1.

    Raises:
        InputError: an argument is wrong, something else is in the file's place, or it cannot be written.
    """
    if kind not in KINDS:
        raise InputError(f"an export is one of {', '.join(KINDS)}, got {kind!r}")
    checked_count("k", k)
    path = Path(path)
    check_replaceable(path)
    lines = [
        json.dumps(_named(kind, row), ensure_ascii=False)
        for row in _rows(trials, judged, setting, passage_of, k)
    ]
    _write(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _rows(
    trials: Trials, judged: Judged, setting: Setting, passage_of: Callable[[str], Passage], k: int
) -> Iterator[dict[str, object]]:
    """Yield a row for each judged query, in the names of ragas."""
    by_document = judged.unit == "document"
    for query_id, query in judged.queries.items():
        found = [passage_of(key) for key, _ in trials.ranking(query_id, setting)[:k]]
        absent = set(judged.missing.get(query_id, ()))
        relevant = [key for key, grade in judged.qrels[query_id].items() if grade > 0]
        there = [key for key in relevant if key not in absent]
        yield {
            "id": query_id,
            "user_input": query,
            "retrieved_contexts": [passage.text for passage in found],
            "response": None,
            "reference": (judged.references or {}).get(query_id),
            "reference_contexts": None if by_document else [passage_of(key).text for key in there],
            "retrieved_context_ids": [each.document_id if by_document else each.id for each in found],
            "reference_context_ids": relevant,
        }


def _named(kind: str, row: dict[str, object]) -> dict[str, object]:
    """Return a row in the names of a kind."""
    if kind == "ragas":
        return row
    older = {
        "user_input": "question",
        "retrieved_contexts": "contexts",
        "response": "answer",
        "reference": "ground_truth",
    }
    return {older.get(name, name): value for name, value in row.items()}


def check_replaceable(path: Path) -> None:
    """Refuse to overwrite what is no export: judgments, say, are JSON lines too.

    Raises:
        InputError: something else is there, or it cannot be read.
    """
    if not os.path.lexists(path):
        return
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline(_FIRST)
        row = json.loads(first) if first.strip() else dict.fromkeys(_CONTEXTS)
    except OSError as exc:
        raise InputError(f"{path} cannot be replaced: {exc.strerror}; name another file") from exc
    except ValueError:
        row = None
    if not isinstance(row, dict) or not any(name in row for name in _CONTEXTS):
        raise InputError(f"{path} is there, and is no such export; name another file, or remove it first")


def _write(path: Path, text: str) -> None:
    try:
        handle, staged = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(staged).chmod(0o644)
            Path(staged).replace(path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise InputError(f"{path} could not be written: {exc.strerror or exc}; name another file") from exc
