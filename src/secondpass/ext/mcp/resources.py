"""Documents as resources: ``secondpass://documents/{id}``, listed page by page."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote, unquote

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Resource, ResourceTemplate, TextResourceContents

from ...errors import InputError
from ...index import DocumentSummary
from ...wording import count
from .library import Library

__all__ = ["TEMPLATE", "listed", "read", "uri_of"]

PREFIX = "secondpass://documents/"
PAGE = 200
"""Documents of one page of the list."""

TEMPLATE = ResourceTemplate(
    uri_template=PREFIX + "{id}",
    name="document",
    title="A document of the index",
    description="The whole text of a document. Its id, percent-encoded, stands for {id}; "
    "list_documents gives the whole address.",
    mime_type="text/plain",
)


def uri_of(document_id: str) -> str:
    """Return the address of a document; ids are paths as a rule, so every slash is encoded."""
    return PREFIX + quote(document_id, safe="")


def listed(library: Library, cursor: str | None) -> tuple[list[Resource], str | None]:
    """Return one page of the documents, and where the next one begins (None behind the last).

    ``cursor`` is the encoded id of the last document that was given, so that documents which come or go
    between two pages make none appear twice or be left out.
    """
    after = None if cursor is None else unquote(cursor)
    documents, _, more = library.documents("", after, PAGE)
    return [_resource(each) for each in documents], quote(documents[-1].id, safe="") if more else None


def _resource(document: DocumentSummary) -> Resource:
    return Resource(
        uri=uri_of(document.id),
        name=PurePath(document.source).name or document.id,
        title=document.source,
        description=f"{count(document.characters, 'character')}, {count(document.passages, 'passage')}",
        mime_type="text/plain",
    )


def read(library: Library, uri: str) -> TextResourceContents:
    """Return the text of a document.

    Raises:
        MCPError: no such address, or no such document.
    """
    if not uri.startswith(PREFIX) or uri == PREFIX:
        raise _unknown(uri, f"addresses of documents begin with {PREFIX}")
    try:
        document = library.index.document(unquote(uri[len(PREFIX) :]))
    except InputError as exc:
        raise _unknown(uri, "list_documents gives those there are") from exc
    return TextResourceContents(uri=uri, text=document.text, mime_type="text/plain")


def _unknown(uri: str, hint: str) -> MCPError:
    return MCPError(INVALID_PARAMS, f"no document at {uri[:300]}; {hint}", {"uri": uri[:300]})
