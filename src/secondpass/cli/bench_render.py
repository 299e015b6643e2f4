"""Human output of ``bench``: two tables that fit 60 columns, the machine, and one plain sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..benching import Bench
from .render import flowing
from .terminal import count, emit, milliseconds, output, shown_path, without_controls

__all__ = ["sentence", "show"]

ALONE = "stage 1 alone"


def show(bench: Bench, plot: Path | None) -> None:
    """Print a bench."""
    console = output()
    head = Text(f"{count(bench.passages, 'passage')} in ", style="bold")
    emit(console, head.append(shown_path(bench.index)), "")
    emit(console, _latency(bench), "", _further(bench), "")
    emit(console, Text(_legend(bench), style="dim"), "")
    emit(console, Text(sentence(bench), style="bold"), "")
    emit(console, flowing(console.width, _facts(bench), style="dim"))
    for each in bench.failures:
        line = f"not measured: {without_controls(each.name)}: {without_controls(each.reason)}"
        emit(console, Text(line, style="yellow"))
    if plot is not None:
        emit(console, "", Text(f"plot: {shown_path(str(plot.absolute()))}"))
    _hint(console, bench)


def _latency(bench: Bench) -> Table:
    """Return the table of times: a line for each way to search and number of candidates."""
    table = _table("milliseconds", ("reads", "adds", "p95", "whole", "p95"))
    alone = bench.stage1.at[0]
    table.add_row(ALONE, "", "", "", _ms(alone.total.p50), _ms(alone.total.p95))
    for each in bench.rerankers:
        for place, at in enumerate(each.at):
            added = ("", "") if at.rerank is None else (_ms(at.rerank.p50), _ms(at.rerank.p95))
            name = without_controls(each.name) if place == 0 else ""
            table.add_row(name, f"{at.candidates:,}", *added, _ms(at.total.p50), _ms(at.total.p95))
    return table


def _further(bench: Bench) -> Table:
    table = _table("", ("passages/s", "memory", "cold start"))
    for each in (bench.stage1, *bench.rerankers):
        name = ALONE if each is bench.stage1 else without_controls(each.name)
        speed = "" if each.passages_per_second is None else f"{each.passages_per_second:,.0f}"
        table.add_row(name, speed, _memory(each.peak_memory), f"{each.cold.p50 / 1000:.2f} s")
    return table


def _table(first: str, columns: Iterable[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold", max_width=24)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def sentence(bench: Bench) -> str:
    """Return what each re-ranker adds to a search, in one sentence."""
    alone = f"stage 1 takes {milliseconds(bench.stage1.at[0].total.p50)}"
    adds = [
        f"{without_controls(each.name)} adds {milliseconds(each.at[0].rerank.p50)}"
        for each in bench.rerankers
        if each.at[0].rerank is not None
    ]
    if not adds:
        return f"{alone[0].upper()}{alone[1:]}."
    listed = adds[0] if len(adds) == 1 else f"{', '.join(adds[:-1])} and {adds[-1]}"
    return f"At {count(bench.stage1.at[0].candidates, 'candidate')}, {alone}; {listed}."


def _facts(bench: Bench) -> list[str]:
    machine = bench.machine
    cores = f"{count(machine.cores, 'core')} used ({machine.affinity} allowed"
    cores += ")" if machine.quota is None else f", quota {machine.quota:g})"
    tokens = next((each.tokens_per_passage for each in bench.rerankers if each.tokens_per_passage), None)
    facts = [machine.cpu, cores]
    if tokens is not None:
        facts.append(f"{tokens:.0f} tokens a passage")
    facts.append(count(bench.queries, "query"))
    return [*facts, *(f"{name} {version}" for name, version in machine.versions.items())]


def _legend(bench: Bench) -> str:
    runs = max(at.total.samples for each in (bench.stage1, *bench.rerankers) for at in each.at)
    return (
        f"Medians and 95th percentiles of up to {runs} searches: what re-ranking that many candidates adds, "
        "and the whole search. Memory is that of the whole process."
    )


def _hint(console: Console, bench: Bench) -> None:
    fewer = bench.passages < 100
    if fewer:
        line = f"The index holds only {count(bench.passages, 'passage')}: no more candidates were read."
        emit(console, Text(line, style="dim"))


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _memory(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:,.0f} MB"
