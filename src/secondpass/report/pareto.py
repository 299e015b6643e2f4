"""Quality against latency, with the settings that no other one beats on both, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from .labels import NEAR, SIZE, Box, Label, Placed, edge, place_labels
from .markup import Attributes, Markup, joined, tag

__all__ = ["Dot", "pareto"]

WIDE, NARROW = (960, 440), (358, 400)
"""Drawn twice, since letters must not shrink with the page: page.css shows the one that fits."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 26, 44


@dataclass(frozen=True, slots=True)
class Dot:
    """One setting.

    Attributes:
        name: what people call it.
        series: dots of a series are joined, in order of latency: one re-ranker at several depths.
        short: what tells it from the others of its series: its depth.
        ms: latency in milliseconds, above 0.
        value: quality; higher is better.
        frontier: no other one is both as good and as fast.
        role: ``chosen``, ``challenger``, ``baseline`` or nothing.
    """

    name: str
    series: str
    short: str
    ms: float
    value: float
    frontier: bool
    role: str = ""


def pareto(dots: Sequence[Dot], quality: str) -> Markup:
    """Return the plot, for wide and for narrow pages.

    Args:
        dots: at least one.
        quality: what the value is, e.g. ``nDCG@10``.
    """
    told = "; ".join(f"{dot.name}: {dot.value:.3f} in {dot.ms:.3g} ms" for dot in dots if dot.frontier)
    attributes = {
        "role": "img",
        "aria-label": f"{quality} against latency. On the frontier: {told or 'none'}",
    }
    return tag(
        "figure",
        {"class": "pareto"},
        [
            tag(
                "svg",
                {"class": f"plot {name}", "viewBox": f"0 0 {size[0]} {size[1]}", **attributes},
                _drawn(dots, quality, size),
            )
            for name, size in (("wide", WIDE), ("narrow", NARROW))
        ],
    )


@dataclass(frozen=True, slots=True)
class _Axes:
    """From values to pixels."""

    x: Callable[[float], float]
    y: Callable[[float], float]
    right: float
    bottom: float


def _drawn(dots: Sequence[Dot], quality: str, size: tuple[int, int]) -> list[Markup]:
    low, high = _reach([dot.value for dot in dots])
    first, last = _log_reach([dot.ms for dot in dots])
    right, bottom = size[0] - _RIGHT, size[1] - _BOTTOM

    def x(ms: float) -> float:
        return _LEFT + (math.log10(ms) - first) / (last - first) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - _TOP)

    axes = _Axes(x, y, right, bottom)
    return [
        *_grid(axes, (low, high), (first, last), quality, size[1]),
        *_series(dots, axes),
        _frontier(dots, axes),
        *(_dot(dot, axes) for dot in sorted(dots, key=_weight)),
        *(_label(each) for each in _labels(dots, axes, size)),
    ]


def _reach(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that leave room above and below; a single value gets some too."""
    low, high = min(values), max(values)
    room = max((high - low) * 0.15, 0.01)
    return low - room, high + room


def _log_reach(milliseconds: Sequence[float]) -> tuple[float, float]:
    logs = [math.log10(each) for each in milliseconds]
    room = max((max(logs) - min(logs)) * 0.08, 0.1)
    return min(logs) - room, max(logs) + room


def _grid(
    axes: _Axes, values: tuple[float, float], logs: tuple[float, float], quality: str, height: int
) -> list[Markup]:
    drawn = []
    step = _step(values[1] - values[0])
    digits = max(0, -math.floor(math.log10(step)))
    for number in range(math.ceil(values[0] / step), math.floor(values[1] / step) + 1):
        at = axes.y(number * step)
        drawn.append(tag("line", {"class": "grid", "x1": _LEFT, "x2": axes.right, "y1": at, "y2": at}))
        drawn.append(
            tag("text", {"x": _LEFT - 8, "y": at + 4, "text-anchor": "end"}, f"{number * step:.{digits}f}")
        )
    for ms in _ticks(logs, axes.right - _LEFT):
        attributes: Attributes = {"x": axes.x(ms), "y": axes.bottom + 18, "text-anchor": "middle"}
        drawn.append(tag("text", attributes, f"{ms:,.10g}"))
    drawn.append(
        tag("line", {"class": "base", "x1": _LEFT, "x2": axes.right, "y1": axes.bottom, "y2": axes.bottom})
    )
    drawn.append(tag("text", {"class": "axis", "x": 0, "y": 12}, quality))
    end: Attributes = {"class": "axis", "x": axes.right, "y": height - 6, "text-anchor": "end"}
    drawn.append(tag("text", end, "milliseconds a search, log scale"))
    return drawn


def _step(reach: float) -> float:
    """Return the distance of about five ticks: 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(reach / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= reach / 5)


def _ticks(logs: tuple[float, float], width: float) -> list[float]:
    """Return 1, 2, 5, 10, 20 ... within the limits; only powers of ten where those are too many."""
    steps = [
        factor * 10.0**power
        for power in range(math.floor(logs[0]), math.ceil(logs[1]) + 1)
        for factor in (1, 2, 5)
        if logs[0] <= math.log10(factor * 10.0**power) <= logs[1]
    ]
    if len(steps) * 44 <= width:
        return steps
    tens = [each for each in steps if math.log10(each).is_integer()]
    return tens if len(tens) > 1 else steps[:: math.ceil(len(steps) * 44 / width)]


def _series(dots: Sequence[Dot], axes: _Axes) -> list[Markup]:
    lines = []
    for _, members in groupby(sorted(dots, key=lambda dot: (dot.series, dot.ms)), key=lambda dot: dot.series):
        points = " ".join(f"{axes.x(dot.ms):.1f},{axes.y(dot.value):.1f}" for dot in members)
        if " " in points:
            lines.append(tag("polyline", {"class": "series", "points": points}))
    return lines


def _stairs(dots: Sequence[Dot], axes: _Axes) -> list[Box]:
    """Return the stretches of the frontier, each a pixel to both sides."""
    best = sorted((dot for dot in dots if dot.frontier), key=lambda dot: (dot.ms, dot.value))
    boxes = []
    for before, after in pairwise(best):
        left, right, high, low = (
            axes.x(before.ms),
            axes.x(after.ms),
            axes.y(after.value),
            axes.y(before.value),
        )
        boxes += [Box(left, low - 1, right, low + 1), Box(right - 1, high, right + 1, low)]
    if best:
        level = axes.y(best[-1].value)
        boxes.append(Box(axes.x(best[-1].ms), level - 1, axes.right, level + 1))
    return boxes


def _frontier(dots: Sequence[Dot], axes: _Axes) -> Markup:
    """Return the best that can be had within a time, as stairs."""
    best = sorted((dot for dot in dots if dot.frontier), key=lambda dot: (dot.ms, dot.value))
    if not best:
        return joined()
    stairs = [f"M{axes.x(best[0].ms):.1f} {axes.y(best[0].value):.1f}"]
    stairs += [f"H{axes.x(after.ms):.1f}V{axes.y(after.value):.1f}" for _, after in pairwise(best)]
    return tag("path", {"class": "frontier", "d": "".join([*stairs, f"H{axes.right}"])})


def _weight(dot: Dot) -> int:
    """What is drawn last lies on top."""
    return {"chosen": 3, "challenger": 2, "baseline": 2}.get(dot.role, 1 if dot.frontier else 0)


def _dot(dot: Dot, axes: _Axes) -> Markup:
    kind = "frontier-dot" if dot.frontier else "dot"
    return tag(
        "circle",
        {
            "class": f"{kind} {dot.role}".strip(),
            "cx": axes.x(dot.ms),
            "cy": axes.y(dot.value),
            "r": 6 if dot.role == "chosen" else 4,
        },
        tag("title", None, f"{dot.name}: {dot.value:.3f} in {dot.ms:.3g} ms"),
    )


def _labels(dots: Sequence[Dot], axes: _Axes, size: tuple[int, int]) -> list[Placed]:
    """Name the dots with a role and those on the frontier, then the ends of series, then depths."""
    ranked = sorted(dots, key=lambda dot: -_weight(dot))
    ends: dict[str, Dot] = {}
    for dot in dots:
        if dot.series not in ends or dot.ms > ends[dot.series].ms:
            ends[dot.series] = dot
    named = [dot for dot in ranked if _weight(dot)]
    rest = [dot for dot in ranked if not _weight(dot)]

    def label(dot: Dot, text: str, needed: bool = False) -> Label:
        return Label(text, axes.x(dot.ms), axes.y(dot.value), dot.role == "chosen", needed)

    labels = [label(dot, dot.name, needed=True) for dot in named]
    labels += [label(dot, dot.name) for dot in rest if ends[dot.series] is dot]
    if size == WIDE:
        labels += [label(dot, dot.short) for dot in rest if ends[dot.series] is not dot and dot.short]
    spots = [(axes.x(dot.ms), axes.y(dot.value)) for dot in dots]
    return place_labels(labels, spots, Box(_LEFT, 18, size[0], axes.bottom - 2), _stairs(dots, axes))


def _label(placed: Placed) -> Markup:
    box, label = placed.box, placed.label
    middle = (box.left + box.right) / 2
    text = tag(
        "text",
        {
            "class": "label chosen" if label.bold else "label",
            "x": middle,
            "y": box.bottom - SIZE * 0.3,
            "text-anchor": "middle",
        },
        label.text,
    )
    if placed.distance <= NEAR:
        return text
    x, y = edge(label, box)
    line = tag("line", {"class": "leader", "x1": label.x, "y1": label.y, "x2": x, "y2": y})
    return tag("g", None, line, text)
