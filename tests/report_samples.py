"""Small comparisons, evaluations and verdicts for the tests of the reports; the figures are made up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from secondpass.comparison import Comparison, SecondPass, move
from secondpass.report import Stamp
from secondpass.types import Hit, Passage, Reading, SearchResult, Timings

STAMP = Stamp(datetime(2026, 3, 1, 9, 5, tzinfo=UTC), "A processor, 2 cores, Linux", ("secondpass 0.1.0",))

TEXT = (
    "The deposit is three rents. It is paid before the keys are handed over. "
    "You get it back four weeks after the last reading of the meters. Dogs are welcome."
)


def passage(number: int, text: str = TEXT, source: str = "") -> Passage:
    """Return a passage with an id of its own."""
    where = source or f"/srv/letting/handbook-{number}.txt"
    return Passage(f"{number:016x}", where, text, 0, len(text), where, number, number + 3)


def comparison(
    query: str = "When do I get the deposit back?",
    order: Sequence[int] = (4, 2, 0, 1, 3, 5),
    k: int = 3,
    texts: Sequence[str] = (),
    rerankers: Sequence[str] = ("minilm-l6",),
    source: str = "",
) -> Comparison:
    """Return one query over as many candidates as ``order`` has; stage 2 puts them in that order."""
    found = [passage(n, texts[n] if n < len(texts) else TEXT, source) for n in range(len(order))]
    first = tuple(
        Hit(each, 0.9 - n / 10, n + 1, distance=0.1 + n / 10, also_in=(passage(90),) if n == 0 else ())
        for n, each in enumerate(found)
    )
    spent = Timings(5.0, 1.0, 0.0, 6.0)
    stage1 = SearchResult(query, first[:k], first, first, spent, "dense", "none", k, 0)
    passes = []
    for name in rerankers:
        ranked = tuple(
            Hit(
                found[n],
                4.0 - rank,
                rank,
                first[n],
                probability=0.9 / rank,
                reading=Reading(4.0 - rank, 20, 24, 0, len(found[n].text)),
                also_in=first[n].also_in,
            )
            for rank, n in enumerate(order, start=1)
        )
        timings = Timings(5.0, 1.0, 120.0, 126.0)
        result = SearchResult(query, ranked[:k], first, ranked, timings, "dense", name, k, len(order))
        passes.append(SecondPass(result, tuple(move(hit, k) for hit in result.hits)))
    return Comparison(query, k, stage1, tuple(passes))
