"""The four tools: what a host is told of them, and what each does with its arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import Tool, ToolAnnotations
from pydantic import ValidationError

from ...errors import InputError
from . import schemas, texts
from .arguments import Arguments, CompareArguments, ListArguments, ReadArguments, SearchArguments
from .library import Library
from .resources import uri_of

__all__ = ["TOOLS", "ToolKind", "checked", "described"]

Answer = tuple[dict[str, Any], str]
"""The structured answer, and the same in words."""


@dataclass(frozen=True, slots=True)
class ToolKind:
    """One tool.

    Attributes:
        title, description: what the host shows, and what the model chooses by.
        arguments: what it takes.
        gives: JSON schema of its structured answer.
        run: takes the library, the arguments and an event that is set when nobody waits any more.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    gives: dict[str, Any]
    run: Callable[[Library, Any, threading.Event], Answer]


def _search(library: Library, given: SearchArguments, cancel: threading.Event) -> Answer:
    result, shape = library.search(
        given.query, given.k, given.candidates, given.stage1, given.reranker, _where(given.where), cancel
    )
    return shape, texts.search(result)


def _compare(library: Library, given: CompareArguments, cancel: threading.Event) -> Answer:
    found, shape = library.compare(
        given.query, given.rerankers, given.k, given.candidates, given.stage1, _where(given.where), cancel
    )
    return shape, texts.comparison(found)


def _where(given: dict[str, Any] | None) -> dict[str, str] | None:
    """Return conditions as the engine takes them; ``true`` and ``1`` are written as JSON writes them."""
    if not given:
        return None
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in given.items()
    }


def _read_passage(library: Library, given: ReadArguments, _cancel: threading.Event) -> Answer:
    shape = library.passage(given.passage_id, given.context)
    shape["document"]["uri"] = uri_of(shape["document"]["id"])
    return shape, texts.passage(shape)


def _list_documents(library: Library, given: ListArguments, _cancel: threading.Event) -> Answer:
    found, total, more = library.documents(given.contains, given.after, given.limit)
    next_after = found[-1].id if more else None
    shape = {
        "documents": [
            {
                "id": each.id,
                "source": each.source,
                "passages": each.passages,
                "characters": each.characters,
                "uri": uri_of(each.id),
            }
            for each in found
        ],
        "total": total,
        "next_after": next_after,
    }
    return shape, texts.documents(found, total, next_after)


TOOLS = (
    ToolKind(
        "search",
        "Search the documents",
        "Find the passages of the user's own documents that answer a question. A first stage searches all of "
        "them, a re-ranker then reads each candidate together with the question; the best come back with "
        "their text, where they stand, and how likely each is relevant.",
        SearchArguments,
        schemas.SEARCH,
        _search,
    ),
    ToolKind(
        "compare",
        "Compare rankings",
        "Show what re-ranking changes for a question: the first stage's list beside that of each re-ranker, "
        "with the move of each passage. For finding out how the search works; to answer a question, search.",
        CompareArguments,
        schemas.COMPARE,
        _compare,
    ),
    ToolKind(
        "read_passage",
        "Read around a passage",
        "Read a passage that search found together with the text before and after it in its document.",
        ReadArguments,
        schemas.PASSAGE,
        _read_passage,
    ),
    ToolKind(
        "list_documents",
        "List the documents",
        "List the documents that can be searched, with their addresses as resources, page by page.",
        ListArguments,
        schemas.DOCUMENTS,
        _list_documents,
    ),
)

_READS_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def described(kind: ToolKind, library: Library) -> Tool:
    """Return what a host is told; the re-rankers that are there stand in the schema."""
    takes = kind.arguments.model_json_schema()
    takes.pop("title", None)
    takes.pop("description", None)
    if kind.name == "search":
        takes["properties"]["reranker"]["anyOf"][0] = {"type": "string", "enum": list(library.names)}
    elif kind.name == "compare":
        takes["properties"]["rerankers"]["anyOf"][0]["items"]["enum"] = list(library.names[:-1])
    for each in takes["properties"].values():
        each.pop("title", None)
    return Tool(
        name=kind.name,
        title=kind.title,
        description=kind.description,
        input_schema=takes,
        output_schema=kind.gives,
        annotations=_READS_ONLY,
    )


def checked(kind: ToolKind, given: dict[str, Any] | None) -> Arguments:
    """Return the arguments of a call.

    Raises:
        InputError: one is missing, unknown, or not what the tool takes; all are named in one message.
    """
    try:
        return kind.arguments.model_validate(given or {})
    except ValidationError as exc:
        wrong = "; ".join(_said(each) for each in exc.errors(include_url=False, include_context=False))
        raise InputError(f"{kind.name} cannot use its arguments: {wrong}") from exc


def _said(error: Any) -> str:
    """Return one complaint without the value, which may be long."""
    where = ".".join(str(part) for part in error["loc"]) or "arguments"
    words = {"missing": "it is needed", "extra_forbidden": "there is no such argument"}
    message = words.get(error["type"], str(error["msg"]))
    return f"{where}: {message[0].lower()}{message[1:]}"
