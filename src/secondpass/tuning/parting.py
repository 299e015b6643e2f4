"""Which queries are learnt from, which choose the checkpoint, and which are held out; by query, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import InputError
from ..evaluation.values import Judged
from .alike import WORD

__all__ = ["LEAST_HELD_OUT", "LEAST_QUERIES", "Parts", "part", "usable"]

LEAST_QUERIES = 60
"""Fewer than these in all are not worth a training: 20 are held out, 10 choose, 30 are left to learn from."""
LEAST_HELD_OUT = 20
"""With fewer queries the bootstrap interval is narrower than it ought to be, see ``significance.paired``."""
MOST_HELD_OUT = 400
MOST_VALIDATION = 40
"""A check reads the candidates of all of them, so many of them would take longer than the training."""
SHARE = 5
"""One query in so many is held out; of the others one in so many chooses the checkpoint."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of the judged queries."""

    training: Judged
    validation: Judged
    held_out: Judged


def usable(judged: Judged) -> Judged:
    """Return the judged queries to which something in the index is relevant."""
    return _of(
        judged,
        (
            key
            for key, grades in judged.qrels.items()
            if any(grade > 0 and name not in judged.missing.get(key, ()) for name, grade in grades.items())
        ),
    )


def part(judged: Judged, seed: int) -> Parts:
    """Split usable queries; queries of the same words, in whatever order, stay together.

    Raises:
        InputError: there are too few of them.
    """
    alike: dict[str, list[str]] = {}
    for key, text in judged.queries.items():
        alike.setdefault(" ".join(sorted(WORD.findall(text.casefold()))) or text, []).append(key)
    if len(alike) < LEAST_QUERIES:
        raise InputError(_too_few(len(alike), judged))
    order = sorted(alike)
    random.Random(seed).shuffle(order)  # noqa: S311  a split, not a secret
    held_out = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, len(order) // SHARE))
    validation = min(MOST_VALIDATION, max(LEAST_HELD_OUT // 2, (len(order) - held_out) // SHARE))
    names = (order[held_out + validation :], order[held_out : held_out + validation], order[:held_out])
    training, choosing, kept = (_of(judged, (key for text in each for key in alike[text])) for each in names)
    return Parts(training, choosing, kept)


def _of(judged: Judged, keys: Iterable[str]) -> Judged:
    chosen = set(keys)
    return Judged(
        queries={key: text for key, text in judged.queries.items() if key in chosen},
        qrels={key: grades for key, grades in judged.qrels.items() if key in chosen},
        unit=judged.unit,
        origin=judged.origin,
        synthetic=judged.synthetic,
        missing={key: texts for key, texts in judged.missing.items() if key in chosen},
    )


def _too_few(found: int, judged: Judged) -> str:
    if judged.synthetic:
        more = "index more documents, or judge real questions: secondpass judge"
    else:
        more = (
            "judge more of them (secondpass judge), or leave out --judged and --pairs: then queries are made "
            "from the headings of the index"
        )
    return (
        f"{judged.origin} gives {found} different queries with something relevant in the index, and training "
        f"needs {LEAST_QUERIES}: {LEAST_HELD_OUT} are held out to see whether it helped; {more}"
    )
