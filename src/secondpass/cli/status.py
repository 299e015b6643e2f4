"""``secondpass status``: what is in the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, settings

if TYPE_CHECKING:
    from ..index import DocumentSummary, IndexStatus

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "status"
EXAMPLE = "secondpass status --documents"


def command(
    index: options.IndexFolder = None,
    documents: Annotated[bool, typer.Option("--documents", help="Also list the documents.")] = False,
    as_json: options.Json = False,
) -> int:
    """Show what is in the index."""
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


def _show(status: IndexStatus, documents: Sequence[DocumentSummary] | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..wording import document
    from .terminal import count, emit, output, shown_path

    console = output()
    sizes = [f"{name} {status.splitter[name]}" for name in ("size", "overlap") if name in status.splitter]
    splitter = ", ".join([str(status.splitter.get("name", "")), *sizes])
    facts = {
        "documents": f"{status.documents:,}",
        "passages": f"{status.passages:,} ({count(status.texts, 'different text')})",
        "embedder": f"{status.embedder}, {status.dimension} dimensions",
        "splitter": splitter,
        "store": status.store + (f", {status.pending:,} changes pending" if status.pending else ""),
        "on disk": megabytes(status.size_bytes),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    emit(console, Text(shown_path(status.path), style="bold"), table)
    if documents is None:
        return
    emit(console, "")
    for each in documents:
        line = Text(document(each.source, each.id), style="cyan", overflow="fold")
        emit(console, line.append(f"  {count(each.passages, 'passage')}", style="dim"))


def megabytes(size: int) -> str:
    """Return a size in bytes as a person says it."""
    return f"{size / 2**20:,.1f} MB" if size >= 2**20 else f"{max(size / 2**10, 0.1):,.1f} KB"
