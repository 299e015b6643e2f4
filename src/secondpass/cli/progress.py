"""Progress on stderr: a bar on a terminal, nothing elsewhere or when asked to be quiet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ..index import Progress

__all__ = ["counting", "downloading", "fraction", "indexing"]


@contextmanager
def counting(what: str, total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a bar of ``total`` steps; the function given advances it by one."""
    if quiet or not sys.stderr.isatty():
        yield _nothing
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=_stderr(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def fraction(what: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar for work that says itself how far it is; gives a function of steps done and their total."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=_stderr(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def downloading(what: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar of bytes with their speed; gives a function of bytes here and their total."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=_stderr(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def indexing(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar for an indexing run; gives what ``Index.add`` wants as ``progress``, or None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("indexing"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[current]}", style="dim"),
    )
    with Bar(*columns, console=_stderr(), transient=True, refresh_per_second=8) as bar:
        task = bar.add_task("", total=None, done="", current="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.documents_done,
                total=progress.documents_total,
                done=_done(progress),
                current=_tail(progress.current),
            )

        yield show


def _nothing() -> None:
    pass


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _done(progress: Progress) -> str:
    documents = f"{progress.documents_done:,}"
    if progress.documents_total is not None:
        documents += f"/{progress.documents_total:,}"
    return f"{documents} documents, {progress.passages_done:,} passages"


def _tail(current: str, width: int = 30) -> str:
    from .terminal import shown_path

    path = shown_path(current)
    return path if len(path) <= width else "…" + path[1 - width :]
