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


def report(console: Console, made: Calibration, asked: int, path: Path) -> Iterator[RenderableType]:
    """Yield what is printed of one calibration, of so many judged queries."""
    yield Text(f"{made.reranker}: {NAMES[made.curve.method]}", style="bold")
    others = "left out" if made.unjudged == "left out" else "counted as not relevant"
    facts = [
        count(made.queries, "query") if made.queries == asked else f"{made.queries:,} of {asked:,} queries",
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
    """Return log-loss, Brier score and calibration error, before (where there was one) and after."""
    sides = [each for each in (made.before, made.after) if each is not None]
    table = _table("on held-out queries", *["before", "after"][-len(sides) :])
    table.add_row("log-loss", *[f"{each.log_loss:.3f}" for each in sides])
    table.add_row("Brier score", *[f"{each.brier:.3f}" for each in sides])
    table.add_row("calibration error", *[percent(each.ece) for each in sides])
    return table


def _bins(made: Calibration) -> Table:
    """Return what share was relevant where a probability was given, before and after."""
    sides = [each for each in (made.before, made.after) if each is not None]
    columns = [("before: found", "of"), ("after: found", "of")][-len(sides) :]
    table = _table("probability", *[name for pair in columns for name in pair])
    for number, one in enumerate(made.after.bins):
        cells = [f"{one.low * 100:.0f}-{one.high:.0%}"]
        for each in (side.bins[number] for side in sides):
            cells += [f"{each.relevant:.0%}" if each.pairs else "-", f"{each.pairs:,}"]
        table.add_row(*cells)
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
