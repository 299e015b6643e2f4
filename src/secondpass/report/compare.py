"""The report of ``compare``: both stages' lists side by side, with the way of each passage between them."""

from __future__ import annotations

from collections.abc import Sequence

from ..comparison import Comparison, SecondPass, Summary, summarize
from ..types import Hit, SearchResult
from ..wording import STAGE1_SCORES, count, milliseconds, percent
from .duel import badge, duel
from .markup import Child, Markup, joined, tag
from .page import Stamp, joined_with, page, table, toolbar
from .passages import passage_text, shortened, stage1_facts, stage2_facts, where
from .plots import timing_bar
from .sentences import Highlights

__all__ = ["compare_page"]

MOST_CANDIDATES = 100
"""Rows of the table of all candidates."""
FEW_QUERIES = 5
"""Up to so many, a filter only takes room."""


def compare_page(
    comparisons: Sequence[Comparison], stamp: Stamp, highlights: Highlights | None = None
) -> str:
    """Return the report as one HTML file.

    Args:
        comparisons: at least one; all of the same ``k`` and re-rankers.
        stamp: when and where they were made.
        highlights: best sentences to mark, see ``best_sentences``.

    Raises:
        InputError: no comparison, or they differ in ``k`` or re-rankers.
    """
    summary = summarize(comparisons)
    marks = highlights or {}
    if len(comparisons) == 1:
        only = comparisons[0]
        lead = [tag("p", {"class": "lead"}, _told(each)) for each in only.passes]
        return page("compare", shortened(only.query), lead, _passes(only, 1, 2, marks), stamp)
    body = [_overview(comparisons, summary), _queries(comparisons, marks)]
    title = f"What the second pass changed for {count(len(comparisons), 'query')}"
    lead = [
        tag("p", {"class": "lead"}, _told_of_all(summary, number)) for number in range(len(summary.passes))
    ]
    return page("compare", title, lead, body, stamp)


def _told(each: SecondPass) -> str:
    """Say in one sentence what a second pass did to one query."""
    result = each.result
    if not result.hits:
        return f"No passage was found, so {result.reranker} had nothing to read."
    what = f"changed {each.changed} of {count(len(result.hits), 'hit')}"
    if not each.changed:
        same = all(move == "same" for move in each.moves)
        what = "kept every hit in its place" if same else "kept the same hits, in another order"
    first = " and put another passage first" if each.new_first else ""
    return f"{result.reranker} {what}{first}. {_read(result)}"


def _read(result: SearchResult) -> str:
    """Say how many candidates were read, and what became of the others."""
    if result.gated:
        return "The gate skipped stage 2: these are stage 1's hits."
    told = [f"It read {count(result.scored, 'candidate')} in {milliseconds(result.timings.rerank)}."]
    if result.cached:
        told.append(f"{result.cached:,} of those scores were known from earlier, which takes no time.")
    if result.copied:
        told.append(f"{count(result.copied, 'candidate')} took over the score of one that says the same.")
    if result.unread:
        told.append(f"A deadline kept it from reading {count(result.unread, 'candidate')}.")
    return " ".join(told)


def _told_of_all(summary: Summary, number: int) -> str:
    each = summary.passes[number]
    return (
        f"{each.reranker} brought {each.mean_changed:.1f} of {summary.k} hits from behind stage 1's first "
        f"{summary.k}, put another passage first on {each.new_first_share:.0%} of the queries, and took "
        f"{milliseconds(each.rerank_ms)} a query."
    )


def _overview(comparisons: Sequence[Comparison], summary: Summary) -> Markup:
    head = ["Re-ranker", f"Changed of {summary.k}", "Queries changed", "New first hit", "Re-rank, mean"]
    rows: list[list[Child]] = [
        [
            each.reranker,
            f"{each.mean_changed:.2f}",
            f"{each.changed_share:.0%}",
            f"{each.new_first_share:.0%}",
            milliseconds(each.rerank_ms),
        ]
        for each in summary.passes
    ]
    agreements = [
        tag("p", None, f"{one} and {other} share {pair.overlap:.0%} of their first {summary.k}.")
        for pair in summary.agreements
        for one, other in [pair.rerankers]
    ]
    stage1 = f"Stage 1 took {milliseconds(summary.embed_ms + summary.search_ms)} a query"
    spent = f"{stage1}: embed {milliseconds(summary.embed_ms)}, search {milliseconds(summary.search_ms)}."
    links = [
        tag(
            "li",
            None,
            tag("a", {"href": f"#q{number}", "dir": "auto"}, shortened(each.query, 140)),
            tag("span", {"class": "aside"}, _changes(each)),
        )
        for number, each in enumerate(comparisons, start=1)
    ]
    return tag(
        "div",
        {"class": "overview"},
        table("Over all queries", list(head), rows),
        tag("div", {"class": "notes"}, agreements, tag("p", None, spent)),
        tag("nav", {"aria-label": "Queries"}, tag("h2", None, "Queries"), tag("ol", {"class": "toc"}, links)),
    )


def _changes(each: Comparison) -> str:
    changes = {one.result.reranker: f"{one.changed} of {len(one.result.hits)}" for one in each.passes}
    if len(changes) == 1:
        return f"{next(iter(changes.values()))} changed"
    return ", ".join(f"{name} {change}" for name, change in changes.items())


def _queries(comparisons: Sequence[Comparison], marks: Highlights) -> Markup:
    sections = [
        tag(
            "section",
            {
                "id": f"q{number}",
                "class": "query",
                "data-place": -number,
                "data-changed": sum(one.changed for one in each.passes),
            },
            tag("h2", {"dir": "auto"}, shortened(each.query)),
            _passes(each, number, 3, marks),
        )
        for number, each in enumerate(comparisons, start=1)
    ]
    orders = [("place", "As asked"), ("changed", "Most changed")]
    tools = toolbar("Show queries with these words", "Filter queries", orders)
    return tag("div", {"class": "listed"}, tools if len(sections) > FEW_QUERIES else "", sections)


def _passes(comparison: Comparison, number: int, level: int, marks: Highlights) -> list[Markup]:
    if not comparison.stage1.hits:
        return [tag("p", {"class": "empty"}, "No passage was found.")]
    return [
        _pass(comparison, each, f"q{number}-{place}", level, marks)
        for place, each in enumerate(comparison.passes, start=1)
    ]


def _pass(comparison: Comparison, each: SecondPass, anchor: str, level: int, marks: Highlights) -> Markup:
    result = each.result
    told = level > 2  # a single query's page says it at its top
    return tag(
        "article",
        {"class": "pass"},
        tag(f"h{level}", None, result.reranker) if told or len(comparison.passes) > 1 else "",
        tag("p", {"class": "told"}, _told(each)) if told else "",
        duel(comparison.stage1, each, anchor),
        timing_bar(result.timings),
        _chosen(each, anchor, None if told else f"h{level}", marks),
        _passed_over(comparison.stage1, result),
        _all_candidates(result),
    )


def _chosen(each: SecondPass, anchor: str, heading: str | None, marks: Highlights) -> Markup:
    """Return the hits in full: under a heading, or folded where many queries are on the page."""
    result = each.result
    title = f"What {result.reranker} chose"
    cards = [
        _card(hit, move, result, anchor, marks) for hit, move in zip(result.hits, each.moves, strict=True)
    ]
    content = [_best_sentence_note(result, marks), cards]
    if heading is None:
        return tag("details", None, tag("summary", None, f"{title} ({len(cards)})"), content)
    return joined(tag(heading, {"class": "small"}, title), content)


def _best_sentence_note(result: SearchResult, marks: Highlights) -> Markup | str:
    marked = any((result.reranker, result.query, hit.passage.id) in marks for hit in result.hits)
    if not marked:
        return ""
    how = f"the sentence that {result.reranker} scores highest when it reads each alone."
    return tag("p", {"class": "note"}, tag("mark", None, "Marked"), f": {how}")


def _card(hit: Hit, move: str, result: SearchResult, anchor: str, marks: Highlights) -> Markup:
    candidate = hit if hit.candidate is None else hit.candidate
    facts: list[Child] = [*stage2_facts(hit), *stage1_facts(candidate, result.stage1)]
    read = None if hit.reading is None else (hit.reading.start, hit.reading.end)
    also = [tag("p", {"class": "also"}, "also in ", where(other)) for other in hit.also_in[:5]]
    if len(hit.also_in) > len(also):
        also.append(
            tag("p", {"class": "also"}, f"and in {count(len(hit.also_in) - len(also), 'place')} more")
        )
    return tag(
        "div",
        {"class": "card", "id": f"{anchor}-{hit.rank}", "tabindex": "-1"},
        tag("p", {"class": "rank"}, str(hit.rank)),
        tag("p", {"class": "title"}, where(hit.passage), badge(move)),
        tag("p", {"class": "facts"}, joined_with(" · ", facts)),
        passage_text(hit.passage.text, marks.get((result.reranker, result.query, hit.passage.id)), read),
        also,
    )


def _passed_over(stage1: SearchResult, result: SearchResult) -> Markup | str:
    chosen = {hit.passage.id for hit in result.hits}
    after = {hit.passage.id: hit for hit in result.ranked}
    dropped = [hit for hit in stage1.hits if hit.passage.id not in chosen]
    if not dropped:
        return ""
    cards = [
        tag(
            "div",
            {"class": "card quiet"},
            tag("p", {"class": "rank"}, str(hit.rank)),
            tag("p", {"class": "title"}, where(hit.passage)),
            tag(
                "p",
                {"class": "facts"},
                joined_with(
                    " · ",
                    [
                        *stage1_facts(hit, stage1.stage1),
                        f"stage 2: rank {after[hit.passage.id].rank}",
                        *stage2_facts(after[hit.passage.id]),
                    ],
                ),
            ),
            passage_text(hit.passage.text),
        )
        for hit in dropped
    ]
    return tag("details", None, tag("summary", None, f"What it passed over ({len(dropped)})"), cards)


def _all_candidates(result: SearchResult) -> Markup:
    scale = STAGE1_SCORES[result.stage1]
    head: list[Child] = ["Passage", "Stage 2 rank", "Score", "Probability", "Stage 1 rank", scale]
    rows: list[list[Child]] = []
    for hit in result.ranked[:MOST_CANDIDATES]:
        before = hit if hit.candidate is None else hit.candidate
        probability = "-" if hit.probability is None else percent(hit.probability)
        score = "not read" if hit.unread else f"{hit.score:.3f}"
        figures = [str(hit.rank), score, probability, str(before.rank), f"{before.score:.3f}"]
        rows.append([where(hit.passage), *figures])
    shown = f"{len(rows)} of {len(result.ranked)}" if len(rows) < len(result.ranked) else f"{len(rows)}"
    title = f"All candidates ({shown})"
    listed = table(
        f"As {result.reranker} ranks them for: {shortened(result.query, 80)}", head, rows, sortable=True
    )
    return tag("details", None, tag("summary", None, title), listed)
