"""``secondpass status``: what is in the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, settings

if TYPE_CHECKING:
    from ..index import IndexStatus

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "status"
EXAMPLE = "secondpass status --documents"


def command(
    index: options.IndexFolder = None,
    documents: Annotated[bool, typer.Option("--documents", help="Also list the documents.")] = False,
    as_json: options.Json = False,
) -> int:
    """Show what is in the index: documents, passages, models, and size on disk."""
    chosen = settings.load({"index": index})
    from ..index import Index

    with Index.open(chosen.index, create=False) as source:
        status = source.status()
        listed = source.documents() if documents else None
    if as_json:
        from . import jsonout

        jsonout.emit(jsonout.status(status, listed))
        return 0
    _show(status, listed)
    return 0
