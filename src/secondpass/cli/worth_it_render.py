"""Human output of ``worth-it``: the verdict first, then why, then the settings that were tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..verdict import SweepRow, Verdict
from .terminal import count, emit, milliseconds, shown_path

__all__ = ["show", "show_written"]

_STYLES = {"use": "bold green", "skip": "bold yellow", "unclear": "bold", "unjudged": "bold"}
_GAP = 2


def show(console: Console, verdict: Verdict, *, every: bool = False) -> None:
    """Print a verdict.

    Args:
        console: where to.
        verdict: what was found.
        every: all rows; else stage 1 alone, the frontier (or what is used now), and the verdict's own.
    """
    head, *others = verdict.sentences
    mark = Text("[synthetic queries] ", style="bold red") if verdict.synthetic else Text()
    emit(console, mark.append(head, style=_STYLES[verdict.kind]), "")
    for sentence in others:
        emit(console, sentence, "")
    rows = list(verdict.rows) if every else _telling(verdict)
    emit(console, _table(verdict, rows), Text(_legend(verdict, len(rows)), style="dim"))
    if verdict.gate is None:
        emit(console, Text(verdict.gate_note, style="dim"))
    emit(console, Text(_asked(verdict), style="dim"))


def _telling(verdict: Verdict) -> list[SweepRow]:
    """Return the rows that show where to look; without judgments those of the stage 1 in use."""
    challenger = verdict.challenger

    def tells(row: SweepRow) -> bool:
        if row.setting == challenger or row.setting.reranker == "none" or row.pareto:
            return True
        return verdict.measure is None and row.setting.stage1 == verdict.baseline.stage1

    return [row for row in verdict.rows if tells(row)]


def _table(verdict: Verdict, rows: Sequence[SweepRow]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", width=1)
    table.add_column("setting", overflow="fold")
    titles = ("new", "first", "time") if verdict.measure is None else (verdict.measure, "gain", "time")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        style = "bold" if row.setting in (verdict.challenger, verdict.baseline) else ""
        figures = _change(row) if verdict.measure is None else _quality(row)
        mark = "*" if row.pareto else ""
        table.add_row(mark, row.setting.name, *figures, milliseconds(row.latency_ms), style=style)
    return table


def _quality(row: SweepRow) -> tuple[str, str]:
    quality = "" if row.quality is None else f"{row.quality:.3f}"
    return quality, "" if row.gain is None else f"{row.gain.difference:+.3f}"


def _change(row: SweepRow) -> tuple[str, str]:
    if row.change is None:
        return "", ""
    return f"{row.change.changed:.2f}", f"{row.change.new_first_share:.0%}"


def _legend(verdict: Verdict, shown: int) -> str:
    more = f" {len(verdict.rows) - shown} more settings: --all." if shown < len(verdict.rows) else ""
    if verdict.measure is None:
        return (
            f"new: of the first {verdict.k}, how many are others than in stage 1; first: share of queries "
            f"with another first hit.{more}"
        )
    return (
        f"*: nothing is both better and faster. gain: over {verdict.baseline.stage1} alone, on all queries; "
        f"the best of many rows looks better here than it is.{more}"
    )


def _asked(verdict: Verdict) -> str:
    queries = count(verdict.queries, "synthetic query" if verdict.synthetic else "query")
    judged = f", {verdict.unit}s judged" if verdict.unit else ""
    origin = f" from {shown_path(verdict.origin)}" if verdict.origin else ""
    return (
        f"{queries}{origin}{judged}; {count(verdict.passages, 'passage')}; {verdict.scored:,} pairs read "
        f"in {verdict.seconds:.0f} s."
    )


def show_written(console: Console, written: tuple[Path, list[str]] | str) -> None:
    """Print what went into the settings file, or why nothing did."""
    if isinstance(written, str):
        emit(console, "", written)
        return
    file, lines = written
    emit(console, "", f"wrote into {shown_path(str(file))}:", *(Text(f"   {line}") for line in lines))
    if any(line.startswith("gate =") for line in lines):
        emit(console, Text("The gate is off until you ask for it: --reranker gated.", style="dim"))
