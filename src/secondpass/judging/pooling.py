"""What is worth marking: the top passages of several ways to search, pooled and shuffled."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..arguments import STAGE1, checked_count
from ..engine import CandidateSource, Engine
from ..types import Passage, Reranker

__all__ = ["pool"]


def pool(
    index: CandidateSource,
    query: str,
    rerankers: Sequence[Reranker] = (),
    *,
    depth: int = 5,
    candidates: int = 20,
    seed: int = 0,
) -> list[Passage]:
    """Return the passages that any setting has among its first ``depth``, in an order that says nothing.

    Pooling as TREC does it (Spärck Jones and van Rijsbergen, 1975): each way to search gives its best, so
    that none is judged by what another one found. The settings are stage 1 dense, lexical and hybrid, each
    alone and with each re-ranker.

    Args:
        index: where to search.
        query: what is asked.
        rerankers: may be none.
        depth: how many passages of each setting.
        candidates: how many stage 1 hands to a re-ranker.
        seed: the same query and seed give the same order.
    """
    checked_count("depth", depth)
    candidates = max(checked_count("candidates", candidates), depth)
    found: dict[str, Passage] = {}
    for stage1 in STAGE1:
        engine = Engine(index, None, candidates, stage1)
        lists = [engine.search(query, depth).hits]
        if rerankers:
            lists += [each.result.hits for each in engine.compare(query, rerankers, depth).passes]
        found.update((hit.passage.id, hit.passage) for hits in lists for hit in hits)
    passages = [found[key] for key in sorted(found)]
    random.Random(f"{seed} {query}").shuffle(passages)  # noqa: S311  an order, not a secret
    return passages
