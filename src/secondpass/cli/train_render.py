"""Human output of ``train``: whether it helped, the held-out figures, and where the weights are."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..tuning import Tuned, sentences
from .render import flowing
from .terminal import count, emit, milliseconds, shown_path

__all__ = ["show"]

_STYLES = {"helped": "bold green", "unclear": "bold", "harmed": "bold red", "below stage 1": "bold yellow"}


def show(console: Console, done: Tuned) -> None:
    """Print what came out."""
    head, *others = sentences(done)
    mark = Text("[synthetic queries] ", style="bold red") if done.judged.synthetic else Text()
    emit(console, mark.append(head, style=_STYLES[done.outcome]), "")
    emit(console, _table(done), "")
    for sentence in others:
        emit(console, sentence, "")
    emit(console, flowing(console.width, _learnt(done), style="dim"))
    if done.installed is not None:
        emit(console, "", f"in {shown_path(str(done.installed))}")
        emit(console, Text(f'next: secondpass search "..." --reranker {done.name}', style="dim"))
    else:
        emit(console, "", f"weights and report are in {shown_path(str(done.work.absolute()))}")


def _table(done: Tuned) -> Table:
    found = done.held_out.evaluation
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(f"{found.queries} held-out queries", overflow="fold")
    for name in (*found.measures, "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        figures = [f"{row.means[name]:.3f}" for name in found.measures]
        spent = "" if row.latency_ms is None else milliseconds(row.latency_ms)
        table.add_row(row.setting.name, *figures, spent)
    return table


def _learnt(done: Tuned) -> list[str]:
    learnt = done.learnt
    pieces = [
        f"learnt from {count(learnt.examples, 'query')}",
        f"{learnt.negatives:.0f} hard negatives each",
        f"{count(done.validation, 'query')} chose step {learnt.best.step} of {learnt.steps}",
        f"{done.seconds:,.0f} s",
    ]
    if done.unusable:
        pieces.append(f"{count(done.unusable, 'query')} left out: nothing relevant is in the index")
    if learnt.resumed_at is not None:
        pieces.append(f"went on from step {learnt.resumed_at}")
    return pieces
