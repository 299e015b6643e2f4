"""Where labels go on a plot so that none covers a dot, a line's end or another label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["NEAR", "Box", "Label", "Placed", "edge", "place_labels"]

SIZE = 12
"""Of the letters, in pixels; ``.plot`` in page.css has the same."""
LETTER = 0.62
"""Mean width of a letter in ems: the widest of the usual system fonts (DejaVu Sans, Verdana)."""
BOLD = 0.7
# Above and left first: nothing better and faster lies there, so the frontier leaves it free.
_SIDES = ((-1, -1), (1, 0), (0, -1), (0, 1), (1, 1), (1, -1), (-1, 0), (-1, 1))
_SIDES_OF_NOTES = ((1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 0))
NEAR = 16
"""From this distance on a line leads from the dot to its label."""
DOT = 7
"""Half the side of the square around a dot that is kept free."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )


@dataclass(frozen=True, slots=True)
class Label:
    """What is to be written beside a dot at (x, y).

    Attributes:
        needed: may stand further away, with a line to its dot; others are left out where there is no room.
    """

    text: str
    x: float
    y: float
    bold: bool = False
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A label with its place; ``distance`` is how far from its dot, in pixels."""

    label: Label
    box: Box
    distance: float


def place_labels(
    labels: Sequence[Label],
    dots: Sequence[tuple[float, float]],
    within: Box,
    lines: Sequence[Box] = (),
) -> list[Placed]:
    """Return the labels that found a place, in order; the first ones choose first.

    Args:
        labels: the most important first.
        dots: every dot, labelled or not; none is covered.
        within: no label leaves it.
        lines: no label crosses them.
    """
    taken = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots] + list(lines)
    placed: list[Placed] = []
    for label in labels:
        for box, distance in _places(label):
            needs = [box, *_leader(label, box)] if distance > NEAR else [box]
            free = not any(need.overlaps(other) for need in needs for other in taken)
            if within.holds(box) and free:
                placed.append(Placed(label, box, distance))
                taken.extend(needs)
                break
    return placed


def edge(label: Label, box: Box) -> tuple[float, float]:
    """Return the point of a box that is nearest to the label's dot: where its line ends."""
    return min(max(label.x, box.left), box.right), min(max(label.y, box.top), box.bottom)


def _leader(label: Label, box: Box) -> Iterator[Box]:
    """Yield small boxes along the line from dot to label, beyond the dot's own square."""
    x, y = edge(label, box)
    steps = int(max(abs(x - label.x), abs(y - label.y)) // 4)
    for step in range(1, steps):
        across, down = label.x + (x - label.x) * step / steps, label.y + (y - label.y) * step / steps
        if max(abs(across - label.x), abs(down - label.y)) > DOT + 1:
            yield Box(across - 1, down - 1, across + 1, down + 1)


def _places(label: Label) -> Iterator[tuple[Box, float]]:
    """Yield places around the dot: the sides in order; then further away."""
    width = len(label.text) * SIZE * (BOLD if label.bold else LETTER) + 2
    height = SIZE * 1.3
    for gap in (9.0, 16.0, 26.0, 40.0, 58.0, 80.0) if label.needed else (9.0,):
        for across, down in _SIDES if label.needed else _SIDES_OF_NOTES:
            left = label.x + (gap if across > 0 else -gap - width if across < 0 else -width / 2)
            top = label.y + (gap if down > 0 else -gap - height if down < 0 else -height / 2)
            yield Box(left, top, left + width, top + height), gap
