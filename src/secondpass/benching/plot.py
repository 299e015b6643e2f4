"""A bench as a picture: a bar for each way to search and number of candidates, its two stages stacked.

SVG is written here, byte for byte the same for the same figures. PNG needs matplotlib (extra ``plot``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import InputError, MissingExtraError, SecondpassError
from .values import Bench

__all__ = ["FORMATS", "check_format", "svg", "write"]

FORMATS = (".svg", ".png")

WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 216, 86, 70, 66
_BAR, _GAP = 20, 12
_STAGE1, _RERANK, _INK, _FAINT = "#8a8f98", "#2f6db3", "#1d2127", "#d5d8dc"
_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    stage1: float
    rerank: float
    slow: float
    """95th percentile of the whole."""

    @property
    def total(self) -> float:
        return self.stage1 + self.rerank


def check_format(path: Path) -> None:
    """Refuse a file that cannot become a plot, before anything is measured.

    Raises:
        InputError: neither ``.svg`` nor ``.png``, or its folder is not there.
        MissingExtraError: PNG without matplotlib.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"a plot is {' or '.join(FORMATS)}, got {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder of the plot {str(path)!r} does not exist; make it first")
    if path.suffix.lower() == ".png":
        try:
            import matplotlib  # noqa: F401
        except ImportError as exc:
            raise MissingExtraError("matplotlib", "plot", "a plot as PNG") from exc


def write(bench: Bench, path: Path) -> None:
    """Write the plot of a bench; the file's ending says which kind.

    Raises:
        InputError, MissingExtraError: as for ``check_format``.
        SecondpassError: the file cannot be written.
    """
    check_format(path)
    try:
        if path.suffix.lower() == ".png":
            _write_png(bench, path)
        else:
            path.write_text(svg(bench), encoding="utf-8", newline="\n")
    except OSError as exc:
        raise SecondpassError(f"cannot write {path}: {exc.strerror or exc}; take another file") from exc


def svg(bench: Bench) -> str:
    """Return the plot as SVG."""
    bars = list(_bars(bench))
    height = _TOP + len(bars) * (_BAR + _GAP) + _BOTTOM
    longest = max(max(bar.total, bar.slow) for bar in bars)
    step = _step(longest)
    scale = (WIDTH - _LEFT - _RIGHT) / longest
    bottom = height - _BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="{_FONT}" font-size="13">',
        f"<title>{escape(_title(bench))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 26, _title(bench), size=16, weight=600),
        _text(16, 46, f"{bench.machine.cpu}, {_cores(bench.machine.cores)}", size=12),
    ]
    for tick in range(int(longest / step) + 1):
        x = _LEFT + tick * step * scale
        lines.append(f'<path d="M{x:.1f} {_TOP - 6}V{bottom}" stroke="{_FAINT}"/>')
        lines.append(_text(x, bottom + 16, _number(tick * step), anchor="middle", size=11))
    for row, bar in enumerate(bars):
        lines += _drawn(bar, _TOP + row * (_BAR + _GAP), scale)
    lines += _legend(height - 20)
    return "\n".join([*lines, "</svg>", ""])


def _title(bench: Bench) -> str:
    return f"Milliseconds of one search, {bench.passages:,} passages (median)"


def _cores(cores: int) -> str:
    return f"{cores} core{'' if cores == 1 else 's'} used"


def _bars(bench: Bench) -> Iterator[_Bar]:
    first = bench.stage1.at[0]
    yield _Bar("stage 1 alone", first.stage1.p50, 0.0, first.total.p95)
    for each in bench.rerankers:
        for at in each.at:
            rerank = at.rerank.p50 if at.rerank else 0.0
            yield _Bar(f"{each.name}, {at.candidates}", at.stage1.p50, rerank, at.total.p95)


def _drawn(bar: _Bar, y: float, scale: float) -> Iterator[str]:
    middle = y + _BAR / 2
    label = bar.label if len(bar.label) <= 30 else f"…{bar.label[-29:]}"
    yield _text(_LEFT - 10, middle + 4, label, anchor="end")
    first, second = bar.stage1 * scale, bar.rerank * scale
    yield f'<rect x="{_LEFT}" y="{y}" width="{max(first, 1):.1f}" height="{_BAR}" fill="{_STAGE1}"/>'
    if second:
        yield f'<rect x="{_LEFT + first:.1f}" y="{y}" width="{second:.1f}" height="{_BAR}" fill="{_RERANK}"/>'
    end = _LEFT + max(bar.total, bar.slow) * scale
    if bar.slow > bar.total:
        yield (
            f'<path d="M{_LEFT + bar.total * scale:.1f} {middle}H{end:.1f}M{end:.1f} {middle - 5}v10" '
            f'stroke="{_INK}" fill="none"/>'
        )
    yield _text(end + 6, middle + 4, f"{_number(bar.total)} ms", weight=600)


def _legend(y: float) -> list[str]:
    parts = []
    for x, colour, words in ((16, _STAGE1, "stage 1"), (100, _RERANK, "re-ranking")):
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 18, y, words, size=12))
    parts.append(_text(214, y, "line: 95th percentile; numbers behind names: candidates", size=12))
    return parts


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{_INK}">{escape(words)}</text>'
    )


def _step(longest: float) -> float:
    """Return a round distance of grid lines that gives three to seven of them."""
    size = 1e-3
    while True:
        for factor in (1, 2, 5):
            if longest / (size * factor) <= 7:
                return size * factor
        size *= 10


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _write_png(bench: Bench, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = list(_bars(bench))
    figure = Figure(figsize=(WIDTH / 100, 1.7 + 0.34 * len(bars)), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot: no state of a whole program, no window
    axes = figure.add_subplot()
    labels = [bar.label for bar in bars]
    axes.barh(labels, [bar.stage1 for bar in bars], color=_STAGE1, label="stage 1")
    slow = [max(0.0, bar.slow - bar.total) for bar in bars]
    axes.barh(
        labels,
        [bar.rerank for bar in bars],
        left=[bar.stage1 for bar in bars],
        xerr=[[0.0] * len(bars), slow],
        color=_RERANK,
        ecolor=_INK,
        capsize=3,
        label="re-ranking",
    )
    for row, bar in enumerate(bars):
        axes.text(max(bar.total, bar.slow), row, f"  {_number(bar.total)} ms", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_title(_title(bench), fontsize=10, loc="left")
    axes.set_xlabel(f"{bench.machine.cpu}, {_cores(bench.machine.cores)}; line: 95th percentile", fontsize=8)
    axes.tick_params(labelsize=8)
    figure.legend(fontsize=8, loc="outside lower right", ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
