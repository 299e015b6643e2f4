"""The queries of a labelling session, as people give them: texts, a file of lines, or JSONL with ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ..errors import InputError, QueryError

__all__ = ["Asked", "from_lines", "from_text"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query to be judged.

    Attributes:
        id: without whitespace, as TREC files want it.
        query: the text.
        synthetic: made from the documents themselves.
    """

    id: str
    query: str
    synthetic: bool = False


def from_text(query: str) -> Asked:
    """Return a query with an id made from its text, so that the same question is known again.

    Raises:
        QueryError: it is empty.
    """
    text = " ".join(query.split())
    if not text:
        raise QueryError("a query is empty; ask for something")
    return Asked(f"q{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}", text)


def from_lines(lines: Iterable[str], where: str) -> list[Asked]:
    """Return the queries of a file: one a line, or one JSON object a line with ``query`` (or ``text``).

    An object may have ``id`` (or ``_id``) and ``synthetic``. Blank lines are left out, and so is a query that
    came before.

    Args:
        lines: the file's.
        where: its name, for messages.

    Raises:
        InputError: a line cannot be used, or two queries have the same id.
    """
    found: dict[str, Asked] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        is_json = line.lstrip().startswith("{")
        asked = _from_json(line, f"{where}:{number}") if is_json else from_text(line)
        if found.setdefault(asked.id, asked).query != asked.query:
            raise InputError(
                f"{where}:{number}: the id {asked.id!r} stands for two queries; give one another"
            )
    if not found:
        raise QueryError(f"there is no query in {where}; write one a line")
    return list(found.values())


def _from_json(line: str, where: str) -> Asked:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError as exc:
        raise InputError(f"{where}: this is no JSON ({exc}); mend the line") from exc
    text = entry.get("query", entry.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{where}: there is no query; a line looks like {{"id": "q1", "query": "..."}}')
    key = entry.get("id", entry.get("_id"))
    synthetic = entry.get("synthetic") is True
    if key is None:
        made = from_text(text)
        return Asked(made.id, made.query, synthetic)
    if not isinstance(key, str | int) or not str(key) or any(letter.isspace() for letter in str(key)):
        raise InputError(f"{where}: the id {key!r} must be text without spaces")
    return Asked(str(key), " ".join(text.split()), synthetic)
