"""The work of ``eval``: judgments read, queries searched, candidates read, everything measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING

from ..evaluation.baseline import Checked, Earlier, check, check_same
from ..evaluation.evaluate import evaluate, evaluate_runs, settings_of
from ..evaluation.judgments import read_judged
from ..evaluation.values import Evaluation, Judged, Setting

if TYPE_CHECKING:
    from ..evaluation.trials import Trials
    from ..index import Index
    from ..types import Reranker
    from .settings import Settings

__all__ = ["Found", "Request", "best", "of_index", "of_runs"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be evaluated.

    Attributes:
        judgments: file or folder.
        queries: file with the texts of the queries, where they are apart.
        split: which qrels of a BEIR folder.
        measures: canonical names; the first decides.
        stage1s, rerankers: what to try.
        depth: how deep stage 1's lists are.
        own_corpus: the index is that of the corpus beside the judgments (a BEIR folder).
        earlier: what to compare with.
        fail_under: the least difference from it that passes.
    """

    judgments: Path
    queries: Path | None
    split: str
    measures: tuple[str, ...]
    stage1s: Sequence[str]
    rerankers: Sequence[str]
    depth: int
    own_corpus: bool
    earlier: Earlier | None
    fail_under: float


@dataclass(frozen=True, slots=True)
class Found:
    """What came out.

    Attributes:
        evaluation, judged: the figures, and what they are about.
        k: of the ceiling.
        candidates: how many stage 2 was handed; None for finished runs.
        depth: how deep stage 1's lists are; None for finished runs.
        passages: in the index; None for finished runs.
        refused: id to reason, of the queries that are too long for a model.
        documents_deep: mean number of documents in a list; None for finished runs.
        checked: the comparison with a baseline, if one was asked for.
        seconds: wall time.
    """

    evaluation: Evaluation
    judged: Judged
    k: int
    candidates: int | None
    depth: int | None
    passages: int | None
    documents_deep: float | None
    checked: Checked | None
    seconds: float
    refused: Mapping[str, str] = field(default_factory=dict)


def of_runs(request: Request, runs: Sequence[str], chosen: Settings, *, resolving: bool) -> Found:
    """Evaluate finished TREC runs.

    Args:
        request: what is judged, and how it is measured.
        runs: files; the others are compared with the first.
        chosen: settings.
        resolving: look up in the index what the judgments name; else ids are taken as written.

    Raises:
        InputError: something that is read is wrong.
        StorageError: the index cannot be used.
    """
    from ..evaluation.trec import read_run
    from .opening import opened

    start = perf_counter()
    read = {name: read_run(Path(name).expanduser()) for name in runs}
    if resolving:
        with opened(chosen, []) as (index, _):
            judged = _judged(request, index)
    else:
        judged = _judged(request, None)
    evaluation = evaluate_runs(read, judged, request.measures, chosen.k)
    return Found(
        evaluation=evaluation,
        judged=judged,
        k=chosen.k,
        candidates=None,
        depth=None,
        passages=None,
        documents_deep=None,
        checked=_checked(request, evaluation, judged),
        seconds=perf_counter() - start,
    )


@contextmanager
def of_index(request: Request, chosen: Settings) -> Iterator[tuple[Found, Trials, Index]]:
    """Search, read and measure; the index is open until the context ends.

    Raises:
        InputError: something that is read is wrong.
        StorageError: the index cannot be used.
        ModelError: a re-ranker cannot be loaded.
    """
    from .opening import opened

    start = perf_counter()
    build: Callable[[], Index] | None = None
    if request.own_corpus:
        _judged(request, None)  # wrong judgments are told before an index is built
        build = _builder(request.judgments, chosen.quiet)
    with opened(chosen, request.rerankers, build) as (index, loaded):
        judged = _judged(request, index)
        names = [each.name for each in loaded]
        settings = settings_of(request.stage1s, names, chosen.candidates, request.depth)
        if request.earlier is not None:
            check_same(request.earlier, request.measures, judged, settings)
        trials, evaluation = _measured(request, chosen, index, loaded, judged, settings)
        found = Found(
            evaluation=evaluation,
            judged=judged,
            k=chosen.k,
            candidates=chosen.candidates,
            depth=request.depth,
            passages=len(index),
            documents_deep=_documents_deep(trials),
            checked=_checked(request, evaluation, judged),
            seconds=perf_counter() - start,
            refused=trials.refused,
        )
        yield found, trials, index


def best(evaluation: Evaluation) -> Setting:
    """Return the re-ranked setting with the highest mean of the measure that decides.

    Without a re-ranker: the best of all. Of equals it is the first.
    """
    reranked = [row for row in evaluation.rows if row.setting.reranker != "none"]
    return max(reranked or evaluation.rows, key=lambda row: row.means[evaluation.measures[0]]).setting


def _judged(request: Request, index: Index | None) -> Judged:
    return read_judged(request.judgments, queries=request.queries, index=index, split=request.split)


def _builder(folder: Path, quiet: bool) -> Callable[[], Index]:
    from ..evaluation.corpus import index_of, is_ready
    from .progress import indexing

    def build() -> Index:
        with indexing(quiet or is_ready(folder)) as show:
            return index_of(folder, progress=show)

    return build


def _measured(
    request: Request,
    chosen: Settings,
    index: Index,
    loaded: Sequence[Reranker],
    judged: Judged,
    settings: Sequence[Setting],
) -> tuple[Trials, Evaluation]:
    from ..evaluation.latency import latencies
    from ..evaluation.trials import collect
    from ..scores import SCORES_FILE, CachedReranker, ScoreCache
    from .progress import fraction

    spent = latencies(index, list(judged.queries.values()), settings, loaded)
    cache = ScoreCache(index.path / SCORES_FILE) if chosen.cache else None
    try:
        with fraction("evaluating", chosen.quiet) as show:
            trials = collect(
                index,
                judged.queries,
                stage1s=request.stage1s,
                rerankers=loaded if cache is None else [CachedReranker(each, cache) for each in loaded],
                depth=request.depth,
                read=chosen.candidates,
                progress=show,
            )
    finally:
        if cache is not None:
            cache.close()
    handed = chosen.candidates
    evaluation = evaluate(trials, judged, settings, request.measures, chosen.k, spent, candidates=handed)
    return trials, evaluation


def _checked(request: Request, evaluation: Evaluation, judged: Judged) -> Checked | None:
    if request.earlier is None:
        return None
    return check(request.earlier, evaluation, judged, request.fail_under)


def _documents_deep(trials: Trials) -> float:
    lists = [
        {name for place in range(len(trial.passages)) for name in trial.holding(place)}
        for trial in trials.trials
    ]
    return fmean(map(len, lists))
