"""Lines between two ranked lists: where each passage of one stands in the other, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .markup import Markup, number, tag

__all__ = ["CUT", "ROW", "WIDTH", "Line", "movement"]

ROW = 56
"""Height of a row in units of 1/16 rem; ``.lane li`` in page.css has the same (3.5rem)."""
CUT = 32
"""Height of the line that parts the first k from the rest, as ``.lane .cut`` in page.css (2rem)."""
WIDTH = 100
"""Width in units that stretch with the page."""

_ORDER = ("dropped", "same", "down", "up", "new")


@dataclass(frozen=True, slots=True)
class Line:
    """One passage's way from stage 1's list to stage 2's.

    Attributes:
        left, right: its row in each list, from 0, rows behind the cut counted on.
        before, after: its rank in each stage, from 1.
        kind: ``new``, ``up``, ``down``, ``same`` or ``dropped``.
    """

    left: int
    right: int
    before: int
    after: int
    kind: str


def movement(lines: Sequence[Line], split: int, rows: int) -> Markup:
    """Return the drawing between the lists.

    Args:
        lines: one for each passage shown; what rose is drawn over what fell.
        split: how many rows stand before the cut.
        rows: how many rows the longer list has.
    """
    height = rows * ROW + (CUT if rows > split else 0)
    drawn = sorted(lines, key=lambda line: _ORDER.index(line.kind))
    return tag(
        "svg",
        {
            "class": "moves",
            "viewBox": f"0 0 {WIDTH} {height}",
            "height": f"{number(height / 16)}rem",
            "preserveAspectRatio": "none",
            "role": "img",
            "aria-label": "; ".join(_told(line) for line in sorted(lines, key=lambda line: line.after)),
        },
        [_path(line, split) for line in drawn],
    )


def _told(line: Line) -> str:
    return f"rank {line.before} to {line.after}"


def _path(line: Line, split: int) -> Markup:
    start, end = _middle(line.left, split), _middle(line.right, split)
    half = WIDTH / 2
    # A round cap on a stretch of no length is a dot that stays round however the drawing is stretched.
    curve = f"M0 {start} C{number(half)} {start} {number(half)} {end} {WIDTH} {end}"
    dots = f"M0 {start}h0 M{WIDTH} {end}h0"
    data: Mapping[str, str | int] = {"class": f"move {line.kind}", "data-before": line.before}
    return tag(
        "g",
        data,
        tag("title", None, _told(line)),
        tag("path", {"class": "way", "d": curve}),
        tag("path", {"class": "dots", "d": dots}),
    )


def _middle(row: int, split: int) -> int:
    return row * ROW + ROW // 2 + (CUT if row >= split else 0)
