"""The report of ``eval``: what re-ranking gained, how sure that is, and query by query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..wording import count, milliseconds
from .drill import DEPTH, MOST_LISTS, Sources, drill_down, most_changed
from .markup import Child, Markup, tag
from .page import Stamp, page, section, table
from .plots import ceiling_bar, interval, interval_scale

if TYPE_CHECKING:
    from ..evaluation.trials import Trials
    from ..evaluation.values import Evaluation, Judged, Paired, Row
    from ..types import Passage

__all__ = ["evaluation_page", "sources_for"]


def evaluation_page(evaluation: Evaluation, stamp: Stamp, sources: Sources | None = None) -> str:
    """Return the report as one HTML file.

    Args:
        evaluation: what was found.
        stamp: when and where.
        sources: what was found for each query, for the lists of the drill-down; None leaves those out.
    """
    best = _best(evaluation)
    title, lead = _headline(evaluation, best)
    body = [
        _warning(evaluation),
        _ceilings(evaluation),
        _rows(evaluation),
        _differences(evaluation),
        _per_query(evaluation, best, sources),
        _notes(evaluation),
    ]
    return page("eval", title, tag("p", {"class": "lead"}, lead), body, stamp)


def sources_for(
    evaluation: Evaluation, trials: Trials, judged: Judged, passage_of: Callable[[str], Passage]
) -> Sources:
    """Return what the lists of the report are made from: of the queries that changed most.

    Args:
        evaluation: what was found.
        trials: what it was found in.
        judged: what is relevant.
        passage_of: passage id to the passage, e.g. ``Index.passage``.
    """
    best = _best(evaluation)
    shown: dict[str, Passage] = {}
    if best is not None:
        alone = _alone(evaluation, best)
        for _, each in most_changed(evaluation, alone, best)[:MOST_LISTS]:
            for setting in (alone.setting, best.setting):
                for passage_id, _ in trials.ranking(each.query_id, setting)[:DEPTH]:
                    if passage_id not in shown:
                        shown[passage_id] = passage_of(passage_id)
    return Sources(trials, judged, shown)


def _best(evaluation: Evaluation) -> Row | None:
    """Return the re-ranked row with the highest mean of the measure that decides; of equals the first."""
    measure = evaluation.measures[0]
    reranked = [row for row in evaluation.rows if row.setting.reranker != "none"]
    return max(reranked, key=lambda row: row.means[measure], default=None)


def _alone(evaluation: Evaluation, row: Row) -> Row:
    """Return the row of a setting's stage 1 without stage 2."""
    stage1 = row.setting.stage1
    return next(
        each for each in evaluation.rows if each.setting.stage1 == stage1 and each.setting.reranker == "none"
    )


def _headline(evaluation: Evaluation, best: Row | None) -> tuple[str, str]:
    """Return the finding in a few words, and in a sentence with its figures."""
    measure = evaluation.measures[0]
    asked = f"{count(evaluation.queries, 'query')} of {evaluation.origin}" if evaluation.origin else ""
    asked = asked or count(evaluation.queries, "query")
    if best is None:
        top = max(evaluation.rows, key=lambda row: row.means[measure])
        text = f"On {asked}. No re-ranker was tried."
        return f"{top.setting.name} reaches {top.means[measure]:.3f} {measure}", text
    gain = best.against[measure]
    alone = _alone(evaluation, best)
    title = f"{_verdict(gain)}: {gain.difference:+.3f} {measure}"
    text = (
        f"On {asked}, {best.setting.name} reaches {best.means[measure]:.3f} {measure}, "
        f"{alone.setting.name} alone {alone.means[measure]:.3f}: a difference of {gain.difference:+.3f} "
        f"(95 % interval {gain.low:+.3f} to {gain.high:+.3f}). It won on {count(gain.wins, 'query')}, "
        f"lost on {gain.losses:,}, and left {gain.ties:,} as they were."
    )
    return title, text + _higher_alone(evaluation, best)


def _verdict(gain: Paired) -> str:
    if gain.low > 0:
        return "The second pass helps"
    return "The second pass hurts" if gain.high < 0 else "The second pass makes no sure difference"


def _higher_alone(evaluation: Evaluation, best: Row) -> str:
    """Say where another stage 1 alone does better than the best re-ranked setting."""
    measure = evaluation.measures[0]
    alone = [row for row in evaluation.rows if row.setting.reranker == "none"]
    top = max(alone, key=lambda row: row.means[measure])
    if top.means[measure] <= best.means[measure] or top.setting.stage1 == best.setting.stage1:
        return ""
    return f" But {top.setting.name} alone reaches {top.means[measure]:.3f}, without a second pass."


def _warning(evaluation: Evaluation) -> Markup | str:
    if not evaluation.synthetic:
        return ""
    return tag(
        "p",
        {"class": "warning"},
        tag("b", None, "Synthetic queries. "),
        "They were made from the documents themselves, not asked by anybody: they share their words with the "
        "passages they came from, so every way to search looks better than it will be for real questions.",
    )


def _ceilings(evaluation: Evaluation) -> Markup | str:
    if not evaluation.ceilings:
        return ""
    return section("What stage 2 could mend at best", [ceiling_bar(each) for each in evaluation.ceilings])


def _rows(evaluation: Evaluation) -> Markup:
    timed = any(row.latency_ms is not None for row in evaluation.rows)
    head = ["Setting", *evaluation.measures, *(["Latency"] if timed else [])]
    rows = [
        [
            row.setting.name,
            *(f"{row.means[measure]:.3f}" for measure in evaluation.measures),
            *([_latency(row)] if timed else []),
        ]
        for row in evaluation.rows
    ]
    decisive = evaluation.measures[0]
    chosen = max(range(len(rows)), key=lambda place: evaluation.rows[place].means[decisive])
    return section("All settings", table("Means over all queries", head, rows, sortable=True, chosen=chosen))


def _latency(row: Row) -> str:
    return "-" if row.latency_ms is None else milliseconds(row.latency_ms)


def _differences(evaluation: Evaluation) -> Markup | str:
    rows = [row for row in evaluation.rows if row.against]
    if not rows:
        return ""
    first, *others = [
        _against(measure, rows) for measure in evaluation.measures if measure in rows[0].against
    ]
    more = tag("details", None, tag("summary", None, "The other measures"), others) if others else ""
    return section("Against the same stage 1 alone", first, more)


def _against(measure: str, rows: Sequence[Row]) -> Markup:
    reach = interval_scale([row.against[measure] for row in rows])
    head: list[Child] = ["Setting", "Difference", "95 % interval", "p", "Won", "Lost", "Same"]
    cells: list[list[Child]] = []
    for row in rows:
        each = row.against[measure]
        cells.append(
            [
                row.setting.name,
                f"{each.difference:+.3f}",
                [f"{each.low:+.3f} to {each.high:+.3f} ", interval(each, reach)],
                "<0.001" if each.p < 0.001 else f"{each.p:.3f}",
                f"{each.wins:,}",
                f"{each.losses:,}",
                f"{each.ties:,}",
            ]
        )
    return table(measure, head, cells)


def _per_query(evaluation: Evaluation, best: Row | None, sources: Sources | None) -> Markup | str:
    if best is None:
        return ""
    measure = evaluation.measures[0]
    told = f"{measure} of {best.setting.name} beside that of its stage 1 alone."
    if sources is not None and len(evaluation.per_query) > MOST_LISTS:
        told += f" The {MOST_LISTS} queries that changed most also show their lists."
    listed = drill_down(evaluation, _alone(evaluation, best), best, sources)
    return section("Query by query", tag("p", {"class": "told"}, told), listed)


def _notes(evaluation: Evaluation) -> Markup:
    notes = [
        "An interval is the 95 % bootstrap interval of the mean difference over these queries; p is of a "
        "two-sided paired randomisation test. An interval that holds 0 means that these queries cannot tell "
        "the two apart. Of many settings compared, about one in twenty seems sure by chance.",
    ]
    if evaluation.unit == "document":
        notes.append("Documents were judged, passages are searched: a document scores as its best passage.")
    else:
        notes.append("Passages were judged.")
    notes.append(
        "What nobody judged counts as not relevant, so a setting that finds what the judges never saw is "
        "rated too low."
    )
    if any(row.latency_ms is not None for row in evaluation.rows):
        notes.append("Latency is the median wall time of one warm search on the machine named below.")
    return section(
        "How to read this", tag("ul", {"class": "plain"}, [tag("li", None, each) for each in notes])
    )
