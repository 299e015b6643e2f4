"""Human output of ``calibrate``: how reliable the probabilities are, and what thresholds promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..calibration import Calibration
from ..calibration.thresholds import least
from ..wording import percent
from .render import flowing
from .terminal import count, shown_path

__all__ = ["report"]

NAMES = {"sigmoid": "the plain sigmoid", "platt": "Platt scaling", "isotonic": "isotonic regression"}


def report(console: Console, made: Calibration, path: Path) -> Iterator[RenderableType]:
    """Yield what is printed of one calibration."""
    yield Text(f"{made.reranker}: {NAMES[made.curve.method]}", style="bold")
    others = "left out" if made.unjudged == "left out" else "counted as not relevant"
    facts = [
        count(made.queries, "query"),
        f"{made.pairs:,} {made.unit}s among {made.candidates} candidates ({made.stage1})",
        f"{made.relevant:,} relevant",
        f"unjudged ones {others}",
    ]
    yield flowing(console.width, facts, style="dim")
    if made.synthetic:
        yield Text(
            "The queries are synthetic: people ask otherwise. Judge some real ones before you rely on this.",
            style="yellow",
        )
    yield ""
    yield _figures(made)
    yield ""
    yield _bins(made)
    yield ""
    yield _thresholds(made)
    yield ""
    yield f"kept in {shown_path(str(path))}; search uses it from now on"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", header_style="dim")
    return table


def _figures(made: Calibration) -> Table:
    """Return log-loss, Brier score and calibration error, before and after."""
    before = made.before
    table = _table("on held-out queries", "before", "after")
    for name, one, other in (
        ("log-loss", before and f"{before.log_loss:.3f}", f"{made.after.log_loss:.3f}"),
        ("Brier score", before and f"{before.brier:.3f}", f"{made.after.brier:.3f}"),
        ("calibration error", before and percent(before.ece), percent(made.after.ece)),
    ):
        table.add_row(name, one or "-", other)
    return table


def _bins(made: Calibration) -> Table:
    """Return what share was relevant where a probability was given, before and after."""
    table = _table("probability", "before: found", "of", "after: found", "of")
    for number, after in enumerate(made.after.bins):
        row = [f"{after.low:.0%}-{after.high:.0%}"]
        for each in (made.before.bins[number] if made.before else None, after):
            filled = each is not None and each.pairs
            row += [f"{each.relevant:.0%}", f"{each.pairs:,}"] if each is not None and filled else ["-", "0"]
        table.add_row(*row)
    return table


def _thresholds(made: Calibration) -> Table:
    """Return what each wanted precision takes, and what it gave on held-out queries."""
    table = _table("min-precision", "threshold", "held out", "keeps", "no hit left")
    for each in made.held_out:
        step = least(made.steps, each.wanted)
        if step is None:
            table.add_row(f"{each.wanted:g}", "never reached", "-", "-", "-")
            continue
        measured = "-" if each.precision is None else f"{each.precision:.2f}"
        table.add_row(
            f"{each.wanted:g}", percent(step.probability), measured, f"{each.kept:.0%}", f"{each.silent:.0%}"
        )
    return table
