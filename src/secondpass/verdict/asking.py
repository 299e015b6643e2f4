"""``worth_it``: from an index, queries and re-rankers to a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from ..arguments import STAGE1, checked_count, checked_stage1, checked_text
from ..errors import InputError, QueryError
from ..evaluation.latency import SAMPLES, passage_ms, timed
from ..evaluation.measures import parse_measures
from ..evaluation.trials import collect
from ..evaluation.values import Judged, Setting
from ..scores import CachedReranker, ScoreCache
from .budget import Costs, Plan, plan, sample
from .concluding import Swept, with_judgments, without_judgments
from .decide import LEAST_GAIN
from .held_out import LEAST_QUERIES
from .values import Verdict
from .words import budget_sentence, refused_sentence

if TYPE_CHECKING:
    from ..index import Index
    from ..types import Reranker

__all__ = ["BUDGET", "DEPTHS", "Wishes", "worth_it"]

DEPTHS = (5, 10, 20, 50, 100)
BUDGET = 180.0
"""Seconds."""

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to try, and what counts.

    Attributes:
        stage1s: ways to search.
        depths: numbers of candidates; ``k`` is the least.
        measure: what quality is, in ir-measures' notation.
        k: how many hits come back.
        stage1, reranker, candidates: what is used now; without judgments the verdict is about that.
        least_gain: the smallest gain of the measure that counts as one, above 0.
        budget: seconds that reading may take, about; None for no bound.
        seed: of the splits and of samples.

    Raises:
        InputError: one of them cannot be used.
    """

    stage1s: tuple[str, ...] = STAGE1
    depths: tuple[int, ...] = DEPTHS
    measure: str = "nDCG@10"
    k: int = 3
    stage1: str = "dense"
    reranker: str = "minilm-l6"
    candidates: int = 20
    least_gain: float = LEAST_GAIN
    budget: float | None = BUDGET
    seed: int = 0

    def __post_init__(self) -> None:
        for stage1 in (*self.stage1s, self.stage1):
            checked_stage1(stage1)
        if self.stage1 not in self.stage1s:
            raise InputError(f"{self.stage1} is what is used now, so it has to be among the ways to search")
        if not self.depths:
            raise InputError("give at least one number of candidates")
        for depth in self.depths:
            checked_count("each depth", depth)
        checked_count("k", self.k)
        checked_count("candidates", self.candidates)
        if not (math.isfinite(self.least_gain) and self.least_gain > 0):
            raise InputError(f"the least gain must be above 0, e.g. 0.01, got {self.least_gain!r}")
        if self.budget is not None and not self.budget > 0:
            raise InputError(f"the budget must be above 0 seconds, got {self.budget!r}")


def worth_it(
    index: Index,
    asked: Judged | Sequence[str],
    rerankers: Sequence[Reranker],
    wishes: Wishes | None = None,
    *,
    synthetic: bool = False,
    origin: str = "",
    cache: ScoreCache | None = None,
    progress: ProgressCallback | None = None,
) -> Verdict:
    """Try every setting on one's own queries and say whether stage 2 is worth its time.

    Args:
        index: one's own documents.
        asked: judged queries, or only queries.
        rerankers: at least one, each of another name.
        wishes: what to try; ``Wishes()`` by default.
        synthetic: whether queries without judgments were made from the documents.
        origin: where queries without judgments came from, for people.
        cache: keeps scores, so that the next verdict is quicker; none by default.
        progress: called with the number of searches done and their total.

    Raises:
        InputError: no query, no re-ranker, too few judged queries, or an unknown measure.
        QueryError: a query is empty, or all are too long.
    """
    start = perf_counter()
    wishes = wishes or Wishes()
    measure = parse_measures([wishes.measure])[0] if isinstance(asked, Judged) else ""
    queries = _queries(asked)
    _check_rerankers(rerankers)
    passages = len(index)
    if not passages:
        raise InputError("the index holds no passage; add documents first: secondpass index")
    depths = tuple(sorted({min(max(depth, wishes.k), passages) for depth in wishes.depths}))
    texts = list(queries.values())
    pace = passage_ms(index, texts, rerankers)
    costs = Costs(pace, len(wishes.stage1s), passages, SAMPLES)
    planned = plan(costs, depths, len(queries), wishes.budget)
    kept = [each for each in rerankers if each.name in planned.rerankers]
    latency = timed(index, texts, wishes.stage1s, kept, planned.depths)
    chosen = {key: queries[key] for key in sample(list(queries), planned.queries, wishes.seed)}
    trials = collect(
        index,
        chosen,
        stage1s=wishes.stage1s,
        rerankers=[CachedReranker(each, cache or ScoreCache()) for each in kept],
        depth=planned.depths[-1],
        progress=progress,
    )
    if isinstance(asked, Judged):
        asked = trials.tried(replace(asked, queries=chosen, qrels={key: asked.qrels[key] for key in chosen}))
    elif not trials.trials:
        raise QueryError(f"no query can be read: {next(iter(trials.refused.values()))}")
    swept = Swept(
        trials=trials,
        stage1s=wishes.stage1s,
        rerankers=planned.rerankers,
        depths=planned.depths,
        latency=latency,
        k=wishes.k,
        passages=passages,
        least_gain=wishes.least_gain,
        seed=wishes.seed,
    )
    if isinstance(asked, Judged):
        verdict = with_judgments(swept, asked, measure)
    else:
        ours = _in_use(wishes, planned)
        verdict = without_judgments(swept, ours, origin=origin, synthetic=synthetic)
    return _finished(verdict, planned, trials.refused, perf_counter() - start)


def _queries(asked: Judged | Sequence[str]) -> dict[str, str]:
    """Return query id to text; queries without judgments are numbered from 1."""
    if isinstance(asked, Judged):
        if len(asked.queries) < LEAST_QUERIES:
            raise InputError(
                f"a verdict needs at least {LEAST_QUERIES} judged queries, better 50, "
                f"got {len(asked.queries)}; judge more (secondpass judge), or ask without judgments"
            )
        return dict(asked.queries)
    texts = list(dict.fromkeys(checked_text(query) for query in asked))
    if not texts:
        raise InputError("no query; a verdict is about queries, better 50 than 5")
    return {str(number): text for number, text in enumerate(texts, start=1)}


def _check_rerankers(rerankers: Sequence[Reranker]) -> None:
    names = [each.name for each in rerankers]
    if not names:
        raise InputError("no re-ranker to try; give at least one, e.g. load_reranker()")
    if len(set(names)) < len(names):
        raise InputError(f"re-rankers need different names to be told apart, got {', '.join(names)}")


def _in_use(wishes: Wishes, planned: Plan) -> Setting:
    """Return the setting that is nearest to what is used now."""
    name = wishes.reranker if wishes.reranker in planned.rerankers else planned.rerankers[0]
    depths = [depth for depth in planned.depths if depth <= wishes.candidates] or [planned.depths[0]]
    return Setting(wishes.stage1, name, depths[-1])


def _finished(verdict: Verdict, planned: Plan, refused: Mapping[str, str], seconds: float) -> Verdict:
    sentences = verdict.sentences
    if refused:
        sentences = (*sentences, refused_sentence(refused))
    if planned.left_out:
        sentences = (*sentences, budget_sentence(planned.left_out))
    return replace(verdict, seconds=seconds, left_out=planned.left_out, sentences=sentences)
