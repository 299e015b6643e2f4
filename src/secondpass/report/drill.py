"""Query by query: what each scored under every setting, and both stages' lists with what is relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..types import Passage
from ..wording import count, shown_path
from .markup import Child, Markup, tag
from .moves import Line, movement
from .page import table, toolbar
from .passages import opening, shortened, where
from .plots import difference_bar

if TYPE_CHECKING:
    from ..evaluation.trials import Trials
    from ..evaluation.values import Evaluation, Judged, PerQuery, Row, Setting

__all__ = ["MOST_LISTS", "Sources", "drill_down", "most_changed"]

MOST_LISTS = 100
"""So many queries, those that changed most, show their lists; the others only their figures."""
DEPTH = 10
"""Of a shown list; nDCG@10 looks no deeper."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the lists of a query are made from.

    Attributes:
        trials: what was found.
        judged: what is relevant.
        passages: passage id to the passage, where its text and place are to be shown; others are shown
            by the id of their document.
    """

    trials: Trials
    judged: Judged
    passages: Mapping[str, Passage]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One place of a list."""

    passage_id: str
    document_id: str
    score: float
    grade: int


def drill_down(evaluation: Evaluation, before: Row, after: Row, sources: Sources | None) -> Markup:
    """Return every query, those that changed most first.

    Args:
        evaluation: what was found.
        before: the row of stage 1 alone.
        after: the row to set beside it; their difference is shown and ordered by.
        sources: what lists are made from; None shows figures only.
    """
    pair = evaluation.rows.index(before), evaluation.rows.index(after)
    places = {each.query_id: place for place, each in enumerate(evaluation.per_query)}
    rows = []
    for number, (change, each) in enumerate(most_changed(evaluation, before, after)):
        listed = sources if number < MOST_LISTS else None
        rows.append(_row(evaluation, each, pair, change, places[each.query_id], listed))
    head = ["", "Query", "Stage 1", "Stage 2", "Change", ""]
    orders = [
        ("size", "Biggest change"),
        ("change", "Wins first"),
        ("-change", "Losses first"),
        ("place", "As judged"),
    ]
    return tag(
        "div",
        {"class": "listed"},
        toolbar("Show queries with these words", "Filter queries", orders),
        tag("div", {"class": "rows-head", "aria-hidden": "true"}, [tag("span", None, each) for each in head]),
        rows,
    )


def most_changed(evaluation: Evaluation, before: Row, after: Row) -> list[tuple[float, PerQuery]]:
    """Return every query with its change of the measure that decides, the biggest change first."""
    measure = evaluation.measures[0]
    first, second = evaluation.rows.index(before), evaluation.rows.index(after)
    changes = [
        (each.values[measure][second] - each.values[measure][first], each) for each in evaluation.per_query
    ]
    return sorted(changes, key=lambda change: -abs(change[0]))  # stable: of equals as they were judged


def _row(
    evaluation: Evaluation,
    each: PerQuery,
    pair: tuple[int, int],
    change: float,
    place: int,
    sources: Sources | None,
) -> Markup:
    measure = evaluation.measures[0]
    before, after = (each.values[measure][row] for row in pair)
    summary = tag(
        "summary",
        None,
        tag("span", {"class": "asked", "dir": "auto"}, shortened(each.query, 200)),
        tag("span", {"class": "figure"}, f"{before:.3f}"),
        tag("span", {"class": "figure"}, f"{after:.3f}"),
        tag("span", {"class": "figure change"}, f"{change:+.3f}" if change else "0"),
        difference_bar(change),
    )
    settings = evaluation.rows[pair[0]].setting, evaluation.rows[pair[1]].setting
    return tag(
        "details",
        {
            "class": "row",
            "data-place": str(-place),
            "data-change": f"{change:.6f}",
            "data-size": f"{abs(change):.6f}",
        },
        summary,
        tag(
            "div",
            {"class": "drill"},
            _lists(each, settings, sources) if sources else "",
            _all_settings(evaluation, each)
            if len(evaluation.rows) > 2 or len(evaluation.measures) > 1
            else "",
        ),
    )


def _all_settings(evaluation: Evaluation, each: PerQuery) -> Markup:
    rows = [
        [row.setting.name, *(f"{each.values[measure][place]:.3f}" for measure in evaluation.measures)]
        for place, row in enumerate(evaluation.rows)
    ]
    return table(
        f"Query {shortened(each.query_id, 80)} under every setting", ["Setting", *evaluation.measures], rows
    )


def _lists(each: PerQuery, settings: tuple[Setting, Setting], sources: Sources) -> Markup:
    before, after = (_entries(each.query_id, setting, sources) for setting in settings)
    rows = {entry.passage_id: row for row, entry in enumerate(before[:DEPTH])}
    lines = [
        Line(
            rows[entry.passage_id],
            row,
            rows[entry.passage_id] + 1,
            row + 1,
            "up" if entry.grade > 0 else "same",
        )
        for row, entry in enumerate(after[:DEPTH])
        if entry.passage_id in rows
    ]
    depth = max(len(before[:DEPTH]), len(after[:DEPTH]))
    return tag(
        "div",
        None,
        tag("p", {"class": "facts"}, _found(each.query_id, before, after, settings[1], sources)),
        tag(
            "div",
            {"class": "duel short"},
            _lane("before", f"Stage 1: {settings[0].stage1}", before[:DEPTH], sources),
            movement(lines, depth, depth),
            _lane("after", f"Stage 2: {settings[1].reranker}", after[:DEPTH], sources),
        ),
    )


def _entries(query_id: str, setting: Setting, sources: Sources) -> list[_Entry]:
    trial = sources.trials.trial(query_id, setting.stage1)
    places = {key: place for place, key in enumerate(trial.passages)}
    named = trial.holding if sources.judged.unit == "document" else trial.standing_for
    grades = sources.judged.qrels[query_id]
    entries = []
    for passage_id, score in sources.trials.ranking(query_id, setting):
        place = places[passage_id]
        grade = max(grades.get(key, 0) for key in named(place))
        entries.append(_Entry(passage_id, trial.documents[place], score, grade))
    return entries


def _found(
    query_id: str, before: Sequence[_Entry], after: Sequence[_Entry], setting: Setting, sources: Sources
) -> str:
    """Say where the relevant ones stand, in words."""
    relevant = {judged for judged, grade in sources.judged.qrels[query_id].items() if grade > 0}
    first = [_first_rank(entries) for entries in (before[: setting.candidates], after[: setting.candidates])]
    unit = sources.judged.unit
    text = f"{count(len(relevant), unit)} judged relevant. "
    if missing := len(sources.judged.missing.get(query_id, ())):
        text += f"{missing:,} of them {'is' if missing == 1 else 'are'} not in the index. "
    if first[0] is None:
        return f"{text}None is among the {setting.candidates} candidates: stage 2 could not help here."
    return f"{text}The first one stands at rank {first[0]} in stage 1 and at rank {first[1]} after stage 2."


def _first_rank(entries: Sequence[_Entry]) -> int | None:
    return next((rank for rank, entry in enumerate(entries, start=1) if entry.grade > 0), None)


def _lane(side: str, title: str, entries: Sequence[_Entry], sources: Sources) -> Markup:
    return tag(
        "div",
        {"class": f"lane {side}"},
        tag("p", {"class": "head"}, tag("b", None, title), tag("span", None, "score")),
        tag("ol", None, [_slot(rank, entry, sources) for rank, entry in enumerate(entries, start=1)]),
    )


def _slot(rank: int, entry: _Entry, sources: Sources) -> Markup:
    passage = sources.passages.get(entry.passage_id)
    source = shortened(shown_path(entry.document_id), 200)
    place: Child = (
        where(passage) if passage else tag("span", {"class": "where"}, tag("bdi", {"class": "file"}, source))
    )
    badge = tag("span", {"class": "badge new"}, "relevant" if entry.grade == 1 else f"grade {entry.grade}")
    text = tag("span", {"class": "opening", "dir": "auto"}, opening(passage)) if passage else ""
    return tag(
        "li",
        {"class": "relevant" if entry.grade > 0 else None},
        tag(
            "div",
            None,
            tag("span", {"class": "rank"}, str(rank)),
            place,
            tag("span", {"class": "score"}, f"{entry.score:.3f}"),
            badge if entry.grade > 0 else "",
            text,
        ),
    )
