"""Two ranked lists of one query side by side, with the way of each passage between them."""

from __future__ import annotations

from collections.abc import Sequence

from ..comparison import SecondPass
from ..types import Hit, SearchResult
from ..wording import STAGE1_SCORES, percent
from .markup import Markup, tag
from .moves import Line, movement
from .passages import one_folder, opening, where

__all__ = ["badge", "duel"]


Slot = tuple[Hit, str, str, str | None]
"""A row of a list: the hit, its score, how it moved (or nothing), and the card it leads to."""


def duel(stage1: SearchResult, each: SecondPass, anchor: str) -> Markup:
    """Return the two lists and the lines between them; what left or entered the first k stands below."""
    result = each.result
    chosen = {hit.passage.id for hit in result.hits}
    first = {hit.passage.id for hit in stage1.hits}
    entered = [hit for hit in stage1.candidates if hit.passage.id in chosen - first]
    left = [hit for hit in result.ranked if hit.passage.id in first - chosen]
    before, after = [*stage1.hits, *entered], [*result.hits, *left]
    split = len(stage1.hits)
    rows = {hit.passage.id: row for row, hit in enumerate(before)}
    kinds = [move.split()[0] for move in each.moves] + ["dropped"] * len(left)
    lines = [
        Line(rows[hit.passage.id], row, before[rows[hit.passage.id]].rank, hit.rank, kind)
        for row, (hit, kind) in enumerate(zip(after, kinds, strict=True))
    ]
    likely = any(hit.probability is not None for hit in result.hits)
    theirs_scale = ("calibrated probability" if result.calibrated else "probability") if likely else "score"
    ours: list[Slot] = [(hit, _score(hit), "", None) for hit in before]
    words = [*each.moves, *("dropped" for _ in left)]
    theirs: list[Slot] = [
        (hit, _score(hit), word, f"{anchor}-{hit.rank}" if row < split else None)
        for row, (hit, word) in enumerate(zip(after, words, strict=True))
    ]
    return tag(
        "div",
        {"class": "duel one-folder" if one_folder(hit.passage for hit in before) else "duel"},
        _lane("before", f"Stage 1: {stage1.stage1}", STAGE1_SCORES[stage1.stage1], ours, split),
        movement(lines, split, len(before)),
        _lane("after", f"Stage 2: {result.reranker}", theirs_scale, theirs, split),
    )


def _score(hit: Hit) -> str:
    if hit.unread:
        return "not read"
    return f"{hit.score:.3f}" if hit.probability is None else percent(hit.probability)


def _lane(side: str, title: str, scale: str, slots: Sequence[Slot], split: int) -> Markup:
    rows = [_slot(*slot) for slot in slots]
    behind = tag("p", {"class": "cut"}, f"behind the first {split}") if len(rows) > split else ""
    return tag(
        "div",
        {"class": f"lane {side}"},
        tag("p", {"class": "head"}, tag("b", None, title), tag("span", None, scale)),
        tag("ol", None, rows[:split]),
        behind,
        tag("ol", {"class": "behind"}, rows[split:]) if len(rows) > split else "",
    )


def _slot(hit: Hit, score: str, move: str, target: str | None) -> Markup:
    content = [
        tag("span", {"class": "rank"}, str(hit.rank)),
        where(hit.passage),
        tag("span", {"class": "score"}, score),
        badge(move) if move else "",
        tag("span", {"class": "opening", "dir": "auto"}, opening(hit.passage)),
    ]
    before = hit.rank if hit.candidate is None else hit.candidate.rank
    inner = tag("a", {"href": f"#{target}"}, content) if target else tag("div", None, content)
    return tag("li", {"data-before": before}, inner)


def badge(move: str) -> Markup:
    """Return how a passage moved: ``new``, ``same``, ``dropped``, or an arrow and how far."""
    kind = move.split()[0]
    sign = {"up": "↑", "down": "↓"}.get(kind)
    if sign is None:
        return tag("span", {"class": f"badge {kind}"}, move)
    steps = move.split()[1]
    return tag("span", {"class": f"badge {kind}", "aria-label": move, "role": "img"}, f"{sign}{steps}")
