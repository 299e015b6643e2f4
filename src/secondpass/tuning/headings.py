"""Training queries out of an index alone: its headings and titles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..evaluation.values import Judged
from ..judging.synthetic import make_queries

if TYPE_CHECKING:
    from ..index import Index

__all__ = ["made_from_headings"]


def made_from_headings(
    index: Index, n: int = 300, *, seed: int = 0, progress: Callable[[], None] | None = None
) -> Judged:
    """Return at most ``n`` queries from headings and titles, see ``judging.synthetic.make_queries``.

    Raises:
        InputError: ``n`` is out of range, or nothing in the index makes a query.
    """
    unit, made = make_queries(index, n, seed=seed, progress=progress)
    return Judged(
        queries={each.id: each.query for each in made},
        qrels={each.id: dict.fromkeys(each.relevant, 1) for each in made},
        unit=unit,
        origin=f"the index {index.path}",
        synthetic=True,
    )
