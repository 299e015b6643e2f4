"""The report of ``worth-it``: the verdict, what it rests on, and what the gate would save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..wording import count, milliseconds, percent
from .markup import Child, Markup, tag
from .page import Stamp, page, section, table
from .pareto import Dot, pareto
from .plots import ceiling_bar, interval, interval_scale, reliability

if TYPE_CHECKING:
    from ..calibration.values import Calibration
    from ..verdict.values import GateReceipt, HeldOut, SweepRow, Verdict

__all__ = ["verdict_page"]

LEAD = 2
"""So many sentences after the verdict stand large; the rest are its reasons."""


def verdict_page(verdict: Verdict, stamp: Stamp, calibrations: Sequence[Calibration] = ()) -> str:
    """Return the report as one HTML file.

    Args:
        verdict: what was found.
        stamp: when and where.
        calibrations: of re-rankers in it, whose reliability is drawn.
    """
    first, *others = verdict.sentences
    title = (first[:1].upper() + first[1:]).replace(" ms", "\u00a0ms")
    lead = [tag("p", {"class": "lead"}, each) for each in others[:LEAD]]
    if others[LEAD:]:
        lead.append(tag("ul", {"class": "plain reasons"}, [tag("li", None, each) for each in others[LEAD:]]))
    body = [
        _warning(verdict),
        _plot(verdict),
        _held_out(verdict),
        _ceilings(verdict),
        _sweep(verdict),
        _gate(verdict),
        [_reliability(each) for each in calibrations],
        _notes(verdict),
    ]
    return page("worth-it", title, lead, body, stamp)


def _warning(verdict: Verdict) -> Markup | str:
    if not verdict.synthetic:
        return ""
    return tag(
        "p",
        {"class": "warning"},
        tag("b", None, "Synthetic queries. "),
        "They were made from the documents themselves, not asked by anybody. Ask again with real queries "
        "before you rely on this.",
    )


def _plot(verdict: Verdict) -> Markup:
    quality = verdict.measure
    if quality is None:
        heading, named = "Change against latency", f"of the first {verdict.k} hits, how many are new"
    else:
        heading, named = "Quality against latency", quality
    dots = [dot for row in verdict.rows for dot in [_dot(verdict, row)] if dot.ms > 0]
    told = (
        "Each dot is a way to search; a grey line joins the depths of one re-ranker. The stairs are the "
        "best that can be had within a time."
        if quality
        else "Without judgments nobody can say which is better: only how much changes, and what it costs."
    )
    return section(heading, tag("p", {"class": "told"}, told), pareto(dots, named) if dots else "")


def _dot(verdict: Verdict, row: SweepRow) -> Dot:
    setting = row.setting
    roles = [(verdict.chosen, "chosen"), (verdict.challenger, "challenger"), (verdict.baseline, "baseline")]
    role = next((name for each, name in roles if each == setting), "")
    changed = 0.0 if row.change is None else row.change.changed
    return Dot(
        name=setting.name,
        series=f"{setting.stage1} {setting.reranker}",
        short="" if setting.reranker == "none" else str(setting.candidates),
        ms=row.latency_ms,
        value=changed if row.quality is None else row.quality,
        frontier=row.pareto,
        role=role,
    )


def _held_out(verdict: Verdict) -> Markup | str:
    found = verdict.held_out
    if found is None:
        return ""
    picked: list[list[Child]] = [[name, f"{share:.0%}"] for name, share in found.picked.items()]
    return section(
        "On queries it was not chosen on",
        tag("p", {"class": "told"}, _how(found)),
        _figures(_held_out_figures(verdict, found)),
        tag(
            "details",
            None,
            tag("summary", None, "What the halves picked"),
            table("Share of the halves that picked a setting", ["Setting", "Picked"], picked),
        ),
    )


def _how(found: HeldOut) -> str:
    return (
        f"The setting was picked on one half of the {count(found.queries, 'query')} and measured on "
        f"the other, both ways, over {found.splits:,} random splits."
    )


def _held_out_figures(verdict: Verdict, found: HeldOut) -> list[tuple[Child, str]]:
    figures: list[tuple[Child, str]] = [
        (f"{found.difference:+.3f}", f"{verdict.measure}, against the best stage 1 alone"),
        (f"{found.low:+.3f} to {found.high:+.3f}", "95 % interval, with the spread between splits"),
        (f"{found.wins:,} / {found.losses:,} / {found.ties:,}", "queries won, lost, the same"),
        (f"{verdict.least_gain:+.3f}", "the least gain that counts as one"),
    ]
    if found.needed is not None:
        figures.append(
            (f"{found.needed:,}", "judged queries would settle it, were the gain to stay what it is")
        )
    return figures


def _figures(figures: Sequence[tuple[Child, str]]) -> Markup:
    """Return figures with what they are, side by side."""
    return tag(
        "dl",
        {"class": "figures"},
        [tag("div", None, tag("dt", None, words), tag("dd", None, figure)) for figure, words in figures],
    )


def _ceilings(verdict: Verdict) -> Markup | str:
    if not verdict.ceilings:
        return ""
    return section("What stage 2 could mend at best", [ceiling_bar(each) for each in verdict.ceilings])


def _sweep(verdict: Verdict) -> Markup:
    judged = verdict.measure is not None
    gains = [row.gain for row in verdict.rows if row.gain is not None]
    reach = interval_scale(gains)
    head: list[Child] = ["Setting", "Latency"]
    if judged:
        head += [str(verdict.measure), "Gain"]
    head += [f"New of {verdict.k}", "New first hit"]
    rows = [_sweep_row(row, judged, reach) for row in verdict.rows]
    chosen = next((place for place, row in enumerate(verdict.rows) if row.setting == verdict.chosen), None)
    agreed = [
        f"{one} and {other} share {pair.overlap:.0%} of their first {verdict.k} hits."
        for pair in verdict.agreements
        for one, other in [pair.rerankers]
    ]
    return section(
        "Everything that was tried",
        table("All settings over all queries", head, rows, sortable=True, chosen=chosen),
        tag("div", {"class": "notes"}, [tag("p", None, each) for each in [*agreed, *_left_out(verdict)]]),
    )


def _left_out(verdict: Verdict) -> list[str]:
    """Return what was not tried, where no sentence of the verdict says it already."""
    told = any(verdict.left_out in each for each in verdict.sentences)
    return [] if told else [f"Not tried: {verdict.left_out}."]


def _sweep_row(row: SweepRow, judged: bool, reach: float) -> list[Child]:
    cells: list[Child] = [row.setting.name, milliseconds(row.latency_ms)]
    if judged:
        cells.append("-" if row.quality is None else f"{row.quality:.3f}")
        gain: Child = "-"
        if row.gain is not None:
            gain = [f"{row.gain.difference:+.3f} ", interval(row.gain, reach)]
        cells.append(gain)
    if row.change is None:
        return [*cells, "-", "-"]
    return [*cells, f"{row.change.changed:.2f}", f"{row.change.new_first_share:.0%}"]


def _gate(verdict: Verdict) -> Markup | str:
    receipt = verdict.gate
    if receipt is None:
        told = verdict.gate_note
        return section("The gate", tag("p", {"class": "told"}, told)) if told else ""
    told = (
        f"A rule on stage 1's scores that skips stage 2 where it would change little. Measured on queries "
        f"it was not fitted on ({count(receipt.queries, 'query')}, {receipt.splits:,} splits). It is off "
        "until you search with --reranker gated."
    )
    return section(
        "The gate",
        tag("p", {"class": "told"}, told),
        tag("p", {"class": "rule"}, tag("code", None, str(receipt.gate))),
        _figures(_receipt(receipt, verdict.measure)),
    )


def _receipt(receipt: GateReceipt, measure: str | None) -> list[tuple[Child, str]]:
    figures: list[tuple[Child, str]] = [
        (f"{receipt.skipped:.0%}", "of the searches skip stage 2"),
        (milliseconds(receipt.saved_ms), f"saved a search, of {milliseconds(receipt.full_ms)}"),
        (f"{receipt.unchanged:.0%}", f"of the skipped ones would have kept the same first {receipt.k}"),
    ]
    if receipt.lost is not None and receipt.low is not None and receipt.high is not None:
        words = f"{measure} lost (95 % interval {receipt.low:+.3f} to {receipt.high:+.3f})"
        figures.append((f"{receipt.lost:+.3f}", words))
    if receipt.lost_at_random is not None:
        figures.append((f"{receipt.lost_at_random:+.3f}", "lost were as many skipped at random"))
    return figures


def _reliability(calibration: Calibration) -> Markup:
    after, before = calibration.after, calibration.before
    told = (
        f"The probabilities of {calibration.reranker}, fitted by {calibration.curve.method} and checked on "
        f"held-out queries ({count(calibration.queries, 'query')}, {calibration.pairs:,} pairs). On the "
        "dotted line a probability is what it says; the size of a dot is how many pairs it stands for."
    )
    figures: list[tuple[Child, str]] = [(f"{after.ece:.3f}", "mean distance from the line (ECE), calibrated")]
    if before is not None:
        figures.append((f"{before.ece:.3f}", "the same before calibration"))
    figures += [
        (_kept(each.precision), f"precision where {percent(each.wanted)} was asked for; {each.kept:.0%} kept")
        for each in calibration.held_out[:2]
    ]
    return section(
        f"How far to trust a probability: {calibration.reranker}",
        tag("p", {"class": "told"}, told),
        tag("div", {"class": "beside"}, reliability(after.bins), _figures(figures)),
    )


def _kept(precision: float | None) -> str:
    return "nothing kept" if precision is None else percent(precision)


def _notes(verdict: Verdict) -> Markup:
    asked = f"{count(verdict.queries, 'query')} over {count(verdict.passages, 'passage')}"
    origin = f" ({verdict.origin})" if verdict.origin else ""
    notes = [
        f"{asked}{origin}; stage 2 read {count(verdict.scored, 'pair')} in {verdict.seconds:,.0f} s.",
        "Latency is that of one warm search, nothing cached, on the machine named below; others differ.",
    ]
    if verdict.measure is not None:
        notes.append(
            "A gain in the table was not held out: of many settings the best looks better there than it is. "
            "The verdict rests on the held-out figures."
        )
    if verdict.unit == "document":
        notes.append("Documents were judged, passages are searched: a document scores as its best passage.")
    return section(
        "How to read this", tag("ul", {"class": "plain"}, [tag("li", None, each) for each in notes])
    )
