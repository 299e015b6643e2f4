"""``secondpass index``: files and folders into an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import options, settings

if TYPE_CHECKING:
    from ..index import AddReport
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command", "fill"]

NAME = "index"
EXAMPLE = "secondpass index notes.txt docs/ --prune"


def command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files and folders.")],
    index: options.IndexFolder = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove indexed documents whose files are gone.")
    ] = False,
    text_field: Annotated[
        str | None,
        typer.Option("--text-field", metavar="NAME", help="Field of CSV, JSON and JSONL rows with the text."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="N", help="Most characters of a passage.", show_default="500"),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="N", help="Characters that neighbours share.", show_default="50"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="KIND", help="Keeper of the vectors: sqlite or chroma.", show_default="sqlite"
        ),
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option("--max-file-size", metavar="SIZE", help="Skip larger files.", show_default="50MB"),
    ] = None,
    gitignore: Annotated[
        bool | None,
        typer.Option(
            "--gitignore/--no-gitignore", help="Leave out what .gitignore names.", show_default="yes"
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Read files, split them into passages, embed and store them. Unchanged files cost nothing."""
    flags = {
        "index": index,
        "text_field": text_field,
        "size": size,
        "overlap": overlap,
        "store": store,
        "max_file_size": max_file_size,
        "gitignore": gitignore,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    report = fill(chosen, paths, prune=prune)
    failed = any(each.error for each in report.skipped)
    if as_json:
        _emit_json(chosen, report)
    else:
        _show(chosen, report)
    return int(failed)


def fill(chosen: Settings, paths: list[str], *, prune: bool = False) -> AddReport:
    """Index paths as the settings say, with a progress bar on stderr."""
    from ..index import Index
    from ..loading import LoadOptions
    from ..splitting import RecursiveSplitter
    from .progress import indexing

    options_ = LoadOptions(
        text_field=chosen.text_field, max_bytes=chosen.max_file_size, gitignore=chosen.gitignore
    )
    splitter = None
    if {"size", "overlap"} & chosen.given:
        splitter = RecursiveSplitter(chosen.size, chosen.overlap)
    with (
        Index.open(chosen.index, store=chosen.store, splitter=splitter) as index,
        indexing(chosen.quiet) as progress,
    ):
        return index.add(paths, prune=prune, options=options_, progress=progress)


def _emit_json(chosen: Settings, report: AddReport) -> None:
    from . import jsonout

    jsonout.emit(jsonout.add_report(str(chosen.index), report))


def _show(chosen: Settings, report: AddReport) -> None:
    from rich.text import Text

    from .render import flowing
    from .terminal import count, emit, output, shown_path, without_controls

    console = output()
    documents = report.added + report.changed + report.unchanged
    head = Text(f"{count(documents, 'document')} in {shown_path(str(chosen.index))}", style="bold")
    changes = [f"{report.added:,} added", f"{report.changed:,} changed", f"{report.unchanged:,} unchanged"]
    if report.removed:
        changes.append(f"{report.removed:,} removed")
    emit(console, head, flowing(console.width, changes))
    speed = f" ({report.embedded / report.seconds:,.0f}/s)" if report.embedded and report.seconds else ""
    cost = [
        count(report.passages, "passage"),
        f"{report.embedded:,} embedded{speed}",
        f"{report.seconds:.1f} s",
    ]
    emit(console, flowing(console.width, cost, style="dim"))
    for each in report.skipped:
        style = "yellow" if each.error else "dim"
        line = f"skipped {shown_path(each.path)}: {without_controls(each.reason)}"
        emit(console, Text(line, style=style, overflow="fold"))
    if console.is_terminal:
        emit(console, Text('next: secondpass search "your question"', style="dim"))
