"""One way to search, measured in a process of its own, so that its memory is its own.

``python -m secondpass.benching.worker`` reads an order (JSON) from stdin and writes what it measured, or
``{"error": ...}``, to stdout.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import SecondpassError
from .machine import peak_memory
from .values import Spread

if TYPE_CHECKING:
    from ..engine import Engine
    from ..types import SearchResult

__all__ = ["main", "measure"]

LEAST = 3
"""Searches that are timed however long each takes."""


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Open index and re-ranker and time searches.

    Args:
        order: ``index`` (folder), ``reranker`` (name or ``none``), ``precision``, ``queries``, ``depths``
            (numbers of candidates), ``runs`` (most searches at each depth) and ``seconds`` (after which no
            further search is begun at a depth).

    Raises:
        SecondpassError: the index or the re-ranker cannot be used.
    """
    start = perf_counter()
    from ..engine import Engine
    from ..index import Index
    from ..reranking import load_reranker

    reranker = None
    if order["reranker"] != "none":
        reranker = load_reranker(order["reranker"], precision=order["precision"])
    with Index.open(order["index"], create=False) as index:
        engine = Engine(index, reranker)
        first = engine.search(order["queries"][0], 1, candidates=order["depths"][0])
        load = (perf_counter() - start) * 1000
        searched = [(depth, _searches(engine, order, depth)) for depth in order["depths"]]
    deepest = searched[-1][1]
    return {
        "name": first.reranker,
        "load": load,
        "at": [_at_depth(depth, results, reranker is not None) for depth, results in searched],
        "passages_per_second": _throughput(deepest),
        "tokens_per_passage": _tokens(deepest),
        "peak_memory": peak_memory(),
    }


def _searches(engine: Engine, order: dict[str, Any], depth: int) -> list[SearchResult]:
    queries = order["queries"]
    engine.search(queries[-1], 1, candidates=depth)  # the first one of its size makes room for what follows
    results: list[SearchResult] = []
    start = perf_counter()
    for run in range(order["runs"]):
        if run >= LEAST and perf_counter() - start > order["seconds"]:
            break
        results.append(engine.search(queries[run % len(queries)], 1, candidates=depth))
    return results


def _at_depth(depth: int, results: list[SearchResult], reranked: bool) -> dict[str, Any]:
    timings = [each.timings for each in results]
    return {
        "candidates": depth,
        "stage1": _spread([each.embed + each.search for each in timings]),
        "rerank": _spread([each.rerank for each in timings]) if reranked else None,
        "total": _spread([each.total for each in timings]),
    }


def _spread(values: list[float]) -> dict[str, Any]:
    found = Spread.of(values)
    return {"p50": found.p50, "p95": found.p95, "samples": found.samples}


def _throughput(results: list[SearchResult]) -> float | None:
    scored, spent = sum(each.scored for each in results), sum(each.timings.rerank for each in results)
    return scored / spent * 1000 if scored and spent else None


def _tokens(results: list[SearchResult]) -> float | None:
    lengths = [hit.reading.tokens_total for each in results for hit in each.ranked if hit.reading is not None]
    return sum(lengths) / len(lengths) if lengths else None


def main() -> None:
    """Read an order, write what was measured."""
    try:
        answer = measure(json.load(sys.stdin))
    except SecondpassError as exc:
        answer = {"error": str(exc)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
