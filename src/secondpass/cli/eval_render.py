"""Human output of ``eval``: the ceiling, the means, the differences, who gained and lost, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..evaluation.values import Ceiling, Evaluation, Paired, PerQuery
from .render import flowing
from .terminal import INDENT, count, emit, milliseconds, shown_path, without_controls

if TYPE_CHECKING:
    from ..evaluation.baseline import Checked
    from .eval_work import Found

__all__ = ["show"]

_GAP = 2
_MOST = 5
"""Gains and losses that are shown."""
_WIDE = 60
"""From here on differences fit into a table."""
_FEW = 25
"""Queries below which an interval is too narrow to be taken at its word."""


def show(console: Console, found: Found, *, every: bool = False) -> None:
    """Print an evaluation; ``every`` shows all queries."""
    evaluation = found.evaluation
    if evaluation.synthetic:
        emit(
            console,
            Text("[synthetic queries] made from the documents: real ones will do worse", style="bold red"),
            "",
        )
    head = f"first relevant {evaluation.unit}, share of {_queries(evaluation)}"
    emit(console, Text(head, style="bold"), _ceilings(found), "")
    for part in _means(console, evaluation):
        emit(console, part, "")
    parts = _differences(console, evaluation)
    if found.checked is not None:
        parts += _baseline(console, found.checked)
    parts += _all_queries(console, evaluation) if every else _changes(console, evaluation)
    if parts:
        emit(console, *parts)
    for note in _notes(found):
        emit(console, Text(note, style="dim"))


def _ceilings(found: Found) -> Table:
    """Say in words where the first relevant one stands in each stage 1."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    evaluation = found.evaluation
    several = len(evaluation.ceilings) > 1 or found.depth is None
    reranked = {row.setting.stage1 for row in evaluation.rows if row.setting.reranker != "none"}
    for each in evaluation.ceilings:
        if several:
            table.add_row("", Text(_shown(each.stage1), style="bold"))
        for share, words in _ceiling(each, mending=each.stage1 in reranked, searched=found.depth is not None):
            table.add_row(f"{share:.0%}", words)
    return table


def _ceiling(value: Ceiling, *, mending: bool, searched: bool) -> Iterator[tuple[float, str]]:
    yield value.in_top, f"in the top {value.k} already"
    among = f"among the {value.candidates:,} candidates" if searched else "further down in the run"
    yield value.in_candidates, among + (", which is what stage 2 can mend" if mending else "")
    advice = ""
    if searched and value.absent > 0:
        advice = ": raise --candidates" + ("" if value.stage1 == "hybrid" else " or try --stage1 hybrid")
    yield value.absent, f"absent{advice}"


def _queries(evaluation: Evaluation) -> str:
    return count(evaluation.queries, "synthetic query" if evaluation.synthetic else "query")


def _shown(name: str) -> str:
    """Return a setting's name; of a finished run it is a path."""
    return shown_path(name)


def _means(console: Console, evaluation: Evaluation) -> Iterator[Table]:
    """Yield the means, in as many tables as the width needs."""
    names = max(len(row.setting.name) for row in evaluation.rows)
    widths = [max(5, len(each)) + _GAP for each in evaluation.measures]
    timed = any(row.latency_ms is not None for row in evaluation.rows)
    room = console.width - min(names, max(16, console.width // 3)) - (8 + _GAP if timed else 0)
    parts: list[list[str]] = [[]]
    left = room
    for measure, width in zip(evaluation.measures, widths, strict=True):
        if parts[-1] and width > left:
            parts.append([])
            left = room
        parts[-1].append(measure)
        left -= width
    for place, part in enumerate(parts):
        yield _table(evaluation, part, timed=timed and place == 0)


def _table(evaluation: Evaluation, measures: Sequence[str], *, timed: bool) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("setting", overflow="fold")
    for name in measures:
        table.add_column(name, justify="right", no_wrap=True)
    if timed:
        table.add_column("time", justify="right", no_wrap=True)
    first = evaluation.measures[0]
    highest = max(row.means[first] for row in evaluation.rows)
    for row in evaluation.rows:
        cells = [f"{row.means[name]:.3f}" for name in measures]
        if timed:
            cells.append("-" if row.latency_ms is None else milliseconds(row.latency_ms))
        style = "bold" if row.means[first] == highest else ""
        table.add_row(_shown(row.setting.name), *cells, style=style)
    return table


def _differences(console: Console, evaluation: Evaluation) -> list[RenderableType]:
    """Return each difference of the measure that decides, with how sure it is."""
    measure = evaluation.measures[0]
    rows = [(_shown(row.setting.name), row.against[measure]) for row in evaluation.rows if row.against]
    if not rows:
        return []
    reranked = any(row.setting.reranker != "none" for row in evaluation.rows)
    base = "the same stage 1 alone" if reranked else _shown(evaluation.rows[0].setting.name)
    return [Text(f"{measure} against {base}", style="bold"), *_paired_rows(console, rows), ""]


def _paired_rows(console: Console, rows: Sequence[tuple[str, Paired]]) -> list[RenderableType]:
    if console.width < _WIDE:
        return [
            Text(
                f"{name}: {each.difference:+.3f} [{each.low:+.3f}, {each.high:+.3f}], p {_p(each)}, won "
                f"{each.wins:,}, lost {each.losses:,}, same {each.ties:,}"
            )
            for name, each in rows
        ]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("setting", overflow="fold")
    for title in ("diff", "95 % interval", "p", "won/lost"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in rows:
        style = "green" if each.low > 0 else "red" if each.high < 0 else ""
        table.add_row(
            name,
            Text(f"{each.difference:+.3f}", style=style),
            f"{each.low:+.3f} {each.high:+.3f}",
            _p(each),
            f"{each.wins:,}/{each.losses:,}",
        )
    return [table]


def _p(each: Paired) -> str:
    return "<0.001" if each.p < 0.001 else f"{each.p:.3f}"


def _baseline(console: Console, checked: Checked) -> list[RenderableType]:
    head = Text(f"{checked.measure} against {shown_path(str(checked.path))}", style="bold")
    rows = [(_shown(row.setting.name), row.paired) for row in checked.rows]
    told = (
        Text(f"worse by more than is allowed ({checked.fail_under:+g})", style="bold red")
        if checked.failed
        else Text(f"no setting fell by more than is allowed ({checked.fail_under:+g})", style="green")
    )
    return [head, *_paired_rows(console, rows), told, ""]


def _pair(evaluation: Evaluation) -> tuple[int, int] | None:
    """Return the places of the best setting that is compared with another, and of that other one."""
    measure = evaluation.measures[0]
    compared = [place for place, row in enumerate(evaluation.rows) if row.against]
    if not compared:
        return None
    ours = max(compared, key=lambda place: evaluation.rows[place].means[measure])
    alone = (place for place, row in enumerate(evaluation.rows) if not row.against)
    stage1 = evaluation.rows[ours].setting.stage1
    same = [place for place in alone if evaluation.rows[place].setting.stage1 == stage1]
    return ours, same[0] if same else 0


def _changed(evaluation: Evaluation, pair: tuple[int, int]) -> list[tuple[float, PerQuery]]:
    """Return every query with its change, the biggest gain first."""
    measure = evaluation.measures[0]
    ours, base = pair
    changes = [
        (each.values[measure][ours] - each.values[measure][base], each) for each in evaluation.per_query
    ]
    return sorted(changes, key=lambda change: -change[0])


def _changes(console: Console, evaluation: Evaluation) -> list[RenderableType]:
    """Return the biggest gains and losses of the best setting."""
    pair = _pair(evaluation)
    if pair is None:
        return []
    ordered = _changed(evaluation, pair)
    ours, base = (_shown(evaluation.rows[place].setting.name) for place in pair)
    lines: list[RenderableType] = []
    for word, changes in (
        ("gains", [each for each in ordered if each[0] > 0][:_MOST]),
        ("losses", [each for each in reversed(ordered) if each[0] < 0][:_MOST]),
    ):
        if changes:
            lines.append(Text(f"biggest {word}, {ours} over {base}", style="bold"))
            lines += [_change(console, evaluation, pair, *each) for each in changes]
            lines.append("")
    return lines


def _change(
    console: Console, evaluation: Evaluation, pair: tuple[int, int], change: float, each: PerQuery
) -> Text:
    measure = evaluation.measures[0]
    after, before = (each.values[measure][place] for place in pair)
    line = Text(f"{change:+.3f}  {before:.3f} > {after:.3f}  {_asked(each)}", no_wrap=True)
    line.truncate(console.width, overflow="ellipsis")
    return line


def _asked(each: PerQuery) -> str:
    return f"{each.query_id}: {' '.join(without_controls(each.query).split())}"


def _all_queries(console: Console, evaluation: Evaluation) -> list[RenderableType]:
    """Return every query with its value under every setting, the biggest gain first."""
    measure = evaluation.measures[0]
    pair = _pair(evaluation)
    ordered = [(0.0, each) for each in evaluation.per_query] if pair is None else _changed(evaluation, pair)
    order = (
        "" if pair is None else f", the biggest gain of {_shown(evaluation.rows[pair[0]].setting.name)} first"
    )
    lines: list[RenderableType] = [Text(f"{measure} of every query{order}", style="bold")]
    for change, each in ordered:
        mark = "" if pair is None else f"{change:+.3f}  "
        lines.append(Text(f"{mark}{_asked(each)}"))
        values = zip(evaluation.rows, each.values[measure], strict=True)
        told = [f"{_shown(row.setting.name)} {value:.3f}" for row, value in values]
        lines.append(Padding(flowing(console.width - INDENT, told, style="dim"), (0, 0, 0, INDENT)))
    return [*lines, ""]


def _notes(found: Found) -> Iterator[str]:
    """Yield what one has to know to read the figures."""
    evaluation, missing = found.evaluation, found.judged.missing
    origin = f" from {shown_path(evaluation.origin)}" if evaluation.origin else ""
    place = "" if found.passages is None else f", {count(found.passages, 'passage')}"
    yield f"{_queries(evaluation)}{origin}, {evaluation.unit}s judged{place}; {found.seconds:.1f} s."
    if found.depth is not None:
        yield _depth(found)
    if found.refused:
        key, why = next(iter(found.refused.items()))
        yield f"{count(len(found.refused), 'query')} left out as too long for a model, e.g. {key}: {why}."
    if missing:
        names = sum(map(len, missing.values()))
        yield (
            f"{names:,} of what is judged relevant ({count(len(missing), 'query')}) "
            f"{'is' if names == 1 else 'are'} not in the index, e.g. {next(iter(missing.values()))[0]!r}: "
            "counted as not found."
        )
    nothing = sum(not any(grade > 0 for grade in grades.values()) for grades in found.judged.qrels.values())
    if nothing:
        yield f"{count(nothing, 'query')} with nothing judged relevant: counted as 0."
    if any(row.against for row in evaluation.rows):
        few = " With so few queries it is too narrow." if evaluation.queries < _FEW else ""
        yield (
            "Interval: 95 % bootstrap over the queries; one that holds 0 settles nothing."
            f"{few} p: two-sided paired randomisation test, how often chance alone makes as big a difference."
        )
    if any(row.latency_ms is not None for row in evaluation.rows):
        yield "Time: median of a few warm searches, no score taken from the cache."


def _depth(found: Found) -> str:
    lists = f"lists are {found.depth:,} passages deep"
    if found.evaluation.unit == "passage":
        return f"Passages of one text count once; {lists}."
    return (
        f"A document scores as its best passage; {lists}, {found.documents_deep:,.0f} documents on average."
    )
