"""``secondpass index``: files and folders into an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import options, settings
from .options import option

if TYPE_CHECKING:
    from ..index import AddReport, IndexStatus
    from ..reranking import Precomputed
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command", "fill"]

NAME = "index"
EXAMPLE = "secondpass index notes.txt docs/ --prune"


def command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files and folders.")],
    index: options.IndexFolder = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove what was indexed below the paths given and is gone.")
    ] = False,
    text_field: Annotated[str | None, option("--text-field", key="text-field", metavar="NAME")] = None,
    encoding: Annotated[str | None, option("--encoding", key="encoding", metavar="NAME")] = None,
    size: Annotated[str | None, option("--size", key="size", metavar="N")] = None,
    overlap: Annotated[str | None, option("--overlap", key="overlap", metavar="N")] = None,
    embedder: Annotated[str | None, option("--embedder", key="embedder", metavar="NAME")] = None,
    store: Annotated[str | None, option("--store", key="store", metavar="KIND")] = None,
    max_file_size: Annotated[
        str | None, option("--max-file-size", key="max-file-size", metavar="SIZE")
    ] = None,
    gitignore: Annotated[bool | None, option("--gitignore/--no-gitignore", key="gitignore")] = None,
    precompute: Annotated[
        bool,
        typer.Option(
            "--precompute",
            help="Also keep what --reranker late-interaction-1bit reads of each passage, some 6 KB.",
        ),
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Index files and folders.

    They are read, split into passages, embedded and stored. Files that have not changed cost nothing; one
    that cannot be read is reported and skipped (exit code 1).

    With --precompute, now or in an earlier run, stage 2 by late-interaction-1bit costs a few milliseconds.
    """
    flags = {
        "index": index,
        "text_field": text_field,
        "encoding": encoding,
        "size": size,
        "overlap": overlap,
        "embedder": embedder,
        "store": store,
        "max_file_size": max_file_size,
        "gitignore": gitignore,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    report, after = fill(chosen, paths, prune=prune)
    kept = _precomputed(chosen, precompute)
    failed = any(each.error for each in report.skipped)
    if as_json:
        from . import jsonout

        jsonout.emit(jsonout.add_report(report, after, kept))
    else:
        _show(report, after, kept)
    return int(failed)


def fill(chosen: Settings, paths: list[str], *, prune: bool = False) -> tuple[AddReport, IndexStatus]:
    """Index paths as the settings say, with a progress bar; return what was done and what is there now."""
    from ..embedding import load_embedder
    from ..index import Index
    from ..loading import LoadOptions
    from ..splitting import RecursiveSplitter
    from .progress import indexing

    options_ = LoadOptions(
        text_field=chosen.text_field,
        max_bytes=chosen.max_file_size,
        gitignore=chosen.gitignore,
        encoding=chosen.encoding,
    )
    store = chosen.store if "store" in chosen.given else None
    splitter = None
    if {"size", "overlap"} & chosen.given:
        splitter = RecursiveSplitter(chosen.size, chosen.overlap)
    embedder = load_embedder(chosen.embedder) if "embedder" in chosen.given else None
    with (
        Index.open(chosen.index, embedder=embedder, store=store, splitter=splitter) as index,
        indexing(chosen.quiet) as progress,
    ):
        report = index.add(paths, prune=prune, options=options_, progress=progress)
        return report, index.status()


def _precomputed(chosen: Settings, wanted: bool) -> Precomputed | None:
    """Keep token states of all passages, where that is wanted or was done before."""
    from pathlib import Path

    from ..reranking.state_store import STATES_FILE

    if not wanted and not (Path(chosen.index) / STATES_FILE).is_file():
        return None
    from ..catalogue import BINARY_INTERACTION
    from ..index import Index
    from ..reranking import BinaryInteraction
    from .progress import fraction

    with Index.open(chosen.index, create=False) as index:
        reranker = BinaryInteraction(precision=chosen.precision)
        with fraction(f"reading ahead for {BINARY_INTERACTION}", chosen.quiet) as progress:
            return reranker.precompute(index.path, index.texts(), index.status().texts, progress)


def _show(report: AddReport, after: IndexStatus, kept: Precomputed | None) -> None:
    from rich.text import Text

    from .render import flowing
    from .terminal import count, emit, output, shown_path, without_controls

    console = output()
    head = Text(f"{count(after.documents, 'document')}, {count(after.passages, 'passage')} in ", style="bold")
    head.append(shown_path(after.path))
    changes = [f"{report.added:,} added", f"{report.changed:,} changed", f"{report.unchanged:,} unchanged"]
    if report.removed:
        changes.append(f"{report.removed:,} removed")
    emit(console, head, flowing(console.width, changes))
    speed = f" ({report.embedded / report.seconds:,.0f}/s)" if report.embedded and report.seconds else ""
    cost = [f"{count(report.embedded, 'text')} embedded{speed}", f"{report.seconds:.1f} s"]
    emit(console, flowing(console.width, cost, style="dim"))
    if kept is not None:
        from .status import megabytes

        emit(console, flowing(console.width, kept_words(kept, megabytes(kept.size_bytes)), style="dim"))
    for each in report.skipped:
        style = "yellow" if each.error else "dim"
        line = f"skipped {shown_path(each.path)}: {without_controls(each.reason)}"
        emit(console, Text(line, style=style, overflow="fold"))
    if console.is_terminal:
        emit(console, Text('next: secondpass search "your question"', style="dim"))


def kept_words(kept: Precomputed, size: str) -> list[str]:
    """Return in words what is kept for late-interaction-1bit."""
    from .terminal import count

    words = [f"{count(kept.texts, 'text')} read ahead, {size}"]
    if kept.added:
        words.append(f"{kept.added:,} new in {kept.seconds:.1f} s")
    return words
