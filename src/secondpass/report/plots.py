"""Small figures as inline SVG: shares as bars, differences with their intervals, times, reliability.

Every drawing carries its figures in words too (``aria-label``) and takes its colours from page.css.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..types import Timings
from ..wording import milliseconds
from .markup import Child, Markup, joined, tag

if TYPE_CHECKING:
    from ..calibration.values import Bin
    from ..evaluation.values import Ceiling, Paired

__all__ = ["ceiling_bar", "difference_bar", "interval", "interval_scale", "reliability", "timing_bar"]

_STRETCHED = {"preserveAspectRatio": "none", "aria-hidden": "true"}


def _bar(kind: str, shares: Sequence[tuple[str, float]]) -> Markup:
    """Return a bar of stretches side by side; ``shares`` are a class and a share of the whole each."""
    drawn, start = [], 0.0
    for name, share in shares:
        if share > 0:
            drawn.append(
                tag("rect", {"class": name, "x": start * 100, "y": 0, "width": share * 100, "height": 10})
            )
        start += share
    return tag("svg", {"class": f"bar {kind}", "viewBox": "0 0 100 10", **_STRETCHED}, drawn)


def _legend(entries: Sequence[tuple[str, str, str]]) -> Markup:
    """Return what the stretches mean: class, figure and words each."""
    return tag(
        "ul",
        {"class": "legend"},
        [
            tag("li", None, tag("i", {"class": f"key {name}"}), tag("b", None, figure), f" {words}")
            for name, figure, words in entries
        ],
    )


def timing_bar(timings: Timings) -> Markup:
    """Return where the time of one search went."""
    parts = [("embed", timings.embed), ("search", timings.search), ("rerank", timings.rerank)]
    whole = sum(spent for _, spent in parts) or 1.0
    names = {"embed": "embed", "search": "search", "rerank": "re-rank"}
    legend = _legend([(name, milliseconds(spent), names[name]) for name, spent in parts])
    drawn = _bar("timing", [(name, spent / whole) for name, spent in parts])
    return tag("div", {"class": "timings"}, drawn, legend)


def ceiling_bar(ceiling: Ceiling) -> Markup:
    """Return how many queries stage 1 already answers, stage 2 can mend, and neither can."""
    parts = [
        ("top", ceiling.in_top, f"in stage 1's first {ceiling.k} already"),
        (
            "mendable",
            ceiling.in_candidates,
            f"behind them, among the {ceiling.candidates} candidates: stage 2 can mend these",
        ),
        ("absent", ceiling.absent, "not among the candidates: raise --candidates, or search hybrid"),
    ]
    return tag(
        "figure",
        {"class": "ceiling"},
        tag("figcaption", None, f"Where the first relevant one stands: {ceiling.stage1}"),
        _bar("shares", [(name, share) for name, share, _ in parts]),
        _legend([(name, f"{share:.0%}", words) for name, share, words in parts]),
    )


def interval_scale(paired: Sequence[Paired]) -> float:
    """Return the reach of a shared axis around 0 that holds every interval."""
    return max([abs(edge) for each in paired for edge in (each.low, each.high, each.difference)] + [0.01])


def interval(paired: Paired, reach: float) -> Markup:
    """Return a difference with its interval beside a line at 0: a row of a forest plot.

    Args:
        paired: the difference.
        reach: what the edges of the drawing stand for, see ``interval_scale``.
    """
    middle, half = 60.0, 54.0

    def at(value: float) -> float:
        return middle + half * max(-1.0, min(1.0, value / reach))

    kind = "better" if paired.low > 0 else "worse" if paired.high < 0 else "open"
    told = f"{paired.difference:+.3f}, 95 % interval {paired.low:+.3f} to {paired.high:+.3f}"
    return tag(
        "svg",
        {
            "class": f"interval {kind}",
            "viewBox": "0 0 120 20",
            "width": "120",
            "height": "20",
            "role": "img",
            "aria-label": told,
        },
        tag("line", {"class": "zero", "x1": middle, "x2": middle, "y1": 0, "y2": 20}),
        tag("line", {"class": "reach", "x1": at(paired.low), "x2": at(paired.high), "y1": 10, "y2": 10}),
        tag("circle", {"class": "dot", "cx": at(paired.difference), "cy": 10, "r": 4}),
    )


def difference_bar(value: float) -> Markup:
    """Return a gain or a loss between -1 and 1 as a bar to the right or the left of the middle."""
    width = 30 * min(abs(value), 1.0)
    kind = "gain" if value > 0 else "loss"
    return tag(
        "svg",
        {"class": "difference", "viewBox": "0 0 64 12", "width": "64", "height": "12", "aria-hidden": "true"},
        tag(
            "rect", {"class": kind, "x": 32 if value > 0 else 32 - width, "y": 2, "width": width, "height": 8}
        ),
        tag("line", {"class": "zero", "x1": 32, "x2": 32, "y1": 0, "y2": 12}),
    )


def reliability(bins: Sequence[Bin]) -> Markup:
    """Return how often what was said came true; on the diagonal the probabilities are honest."""
    edge, size = 40, 260
    bins = [each for each in bins if each.pairs]
    most = max((each.pairs for each in bins), default=1)

    def x(share: float) -> float:
        return edge + share * size

    def y(share: float) -> float:
        return 12 + (1 - share) * size

    ticks: list[Child] = []
    for step in (0.0, 0.25, 0.5, 0.75, 1.0):
        ticks += [
            tag("line", {"class": "grid", "x1": x(0), "x2": x(1), "y1": y(step), "y2": y(step)}),
            tag("text", {"x": edge - 8, "y": y(step) + 4, "text-anchor": "end"}, f"{step:.0%}"),
            tag("text", {"x": x(step), "y": y(0) + 18, "text-anchor": "middle"}, f"{step:.0%}"),
        ]
    line = " ".join(f"{x(each.predicted):.1f},{y(each.relevant):.1f}" for each in bins)
    dots = [
        tag(
            "circle",
            {
                "class": "dot",
                "cx": x(each.predicted),
                "cy": y(each.relevant),
                "r": 3 + 5 * (each.pairs / most) ** 0.5,
            },
            tag("title", None, f"said {each.predicted:.0%}, was {each.relevant:.0%}, {each.pairs:,} pairs"),
        )
        for each in bins
    ]
    told = "; ".join(f"said {each.predicted:.0%}, was {each.relevant:.0%}" for each in bins)
    return tag(
        "svg",
        {
            "class": "plot reliability",
            "viewBox": f"0 0 {edge + size + 20} {size + 56}",
            "role": "img",
            "aria-label": told,
        },
        joined(ticks),
        tag("line", {"class": "honest", "x1": x(0), "y1": y(0), "x2": x(1), "y2": y(1)}),
        tag("polyline", {"class": "curve", "points": line}) if bins else "",
        dots,
        tag(
            "text",
            {"class": "axis", "x": x(0.5), "y": size + 50, "text-anchor": "middle"},
            "probability said",
        ),
        tag("text", {"class": "axis", "x": x(0) + 6, "y": y(1) + 14}, "share relevant"),
    )
