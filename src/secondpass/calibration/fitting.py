"""From judged scores to a calibration: each method is tried on held-out queries, the best one is kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..engine import CandidateSource
from ..errors import InputError
from ..evaluation.values import Judged
from ..types import Reranker, SupportsReadings
from .curves import Doubles, fit_constant, fit_isotonic, fit_platt, probabilities
from .pairs import Pair, Pairs, judged_pairs
from .probing import probe
from .reliability import log_loss, reliability
from .thresholds import least, steps
from .values import Calibration, Curve, HeldOut

__all__ = ["FOLDS", "LEAST_QUERIES", "LEAST_RELEVANT", "calibrate", "fit"]

LEAST_QUERIES = 10
LEAST_RELEVANT = 10
"""Queries, and pairs of each kind, below which two parameters are not worth fitting."""
LEAST_QUERIES_WITH = 5
"""Queries that have a relevant candidate: each of the parts that are held out should see one."""
ISOTONIC_PAIRS = 1000
"""Below about a thousand cases isotonic regression overfits (Niculescu-Mizil and Caruana, ICML 2005)."""
FOLDS = 5
WANTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Precisions that are measured on held-out queries."""

Fit = Callable[[Doubles, Doubles], Curve]


def calibrate(
    index: CandidateSource,
    judged: Judged,
    reranker: Reranker,
    *,
    candidates: int = 20,
    stage1: str = "dense",
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Calibration:
    """Score the candidates of judged queries and fit a calibration.

    Args:
        index: where to search.
        judged: queries with judgments; ids are those of the index.
        reranker: whose scores are calibrated.
        candidates: how many stage 1 hands on.
        stage1: ``dense``, ``lexical`` or ``hybrid``.
        seed: how the queries are dealt into parts.
        progress: called after each query.

    Raises:
        InputError: too few judgments, or the scores say nothing about relevance; the message has the numbers.
    """
    found = judged_pairs(index, judged, reranker, candidates=candidates, stage1=stage1, progress=progress)
    logits = isinstance(reranker, SupportsReadings) and reranker.logits
    return fit(
        found,
        judged,
        reranker.name,
        probe(reranker),
        logits=logits,
        candidates=candidates,
        stage1=stage1,
        seed=seed,
    )


def fit(
    found: Pairs,
    judged: Judged,
    reranker: str,
    probes: tuple[float, ...],
    *,
    logits: bool,
    candidates: int = 20,
    stage1: str = "dense",
    seed: int = 0,
) -> Calibration:
    """Fit a calibration on judged scores; ``calibrate`` gathers them.

    The method with the lowest log-loss on held-out queries is kept: the plain sigmoid (for logits), Platt,
    or, with at least 1,000 pairs, isotonic regression. All pairs of a query are held out together.

    Args:
        found: the judged scores.
        judged: where they came from.
        reranker: name of the model.
        probes: its scores of the probes.
        logits: whether its scores are logits.
        candidates: how many stage 1 handed on.
        stage1: how it searched.
        seed: how the queries are dealt into parts.

    Raises:
        InputError: too few judgments, or the scores say nothing about relevance.
    """
    _check_enough(found.pairs, reranker)
    scores = np.array([pair.score for pair in found.pairs])
    labels = np.array([float(pair.relevant) for pair in found.pairs])
    fold_of = _folds(found.pairs, seed)
    folds = np.array([fold_of[pair.query_id] for pair in found.pairs])
    methods = _methods(logits, len(found.pairs))
    held_out = {name: _held_out(method, scores, labels, folds) for name, method in methods.items()}
    losses = {name: log_loss(predicted, labels) for name, predicted in held_out.items()}
    best = min(losses, key=losses.__getitem__)
    _check_worth(found.pairs, reranker, losses[best], _held_out(_constant, scores, labels, folds), labels)
    predicted = held_out[best]
    queries = [pair.query_id for pair in found.pairs]
    return Calibration(
        reranker=reranker,
        probes=probes,
        curve=methods[best](scores, labels),
        queries=len(fold_of),
        pairs=len(found.pairs),
        relevant=int(labels.sum()),
        stage1=stage1,
        candidates=candidates,
        unit=judged.unit,
        unjudged=found.unjudged,
        origin=judged.origin,
        synthetic=judged.synthetic,
        losses=losses,
        before=reliability(held_out["sigmoid"], labels) if logits else None,
        after=reliability(predicted, labels),
        steps=steps(predicted.tolist(), labels.tolist()),
        held_out=tuple(_measured(wanted, predicted, labels, folds, queries) for wanted in WANTED),
    )


def _sigmoid(_scores: Doubles, _labels: Doubles) -> Curve:
    return Curve("sigmoid")


def _constant(_scores: Doubles, labels: Doubles) -> Curve:
    return fit_constant(labels)


def _methods(logits: bool, pairs: int) -> Mapping[str, Fit]:
    """Return what is tried, the simplest first: of equals it wins."""
    methods: dict[str, Fit] = {"sigmoid": _sigmoid} if logits else {}
    methods["platt"] = fit_platt
    if pairs >= ISOTONIC_PAIRS:
        methods["isotonic"] = fit_isotonic
    return methods


def _folds(pairs: Sequence[Pair], seed: int) -> dict[str, int]:
    """Deal the queries into parts, those with a relevant candidate first, so that every part has some."""
    queries = list(dict.fromkeys(pair.query_id for pair in pairs))
    random.Random(seed).shuffle(queries)  # noqa: S311  a split, not a secret
    having = {pair.query_id for pair in pairs if pair.relevant}
    queries.sort(key=lambda query: query not in having)
    return {query: place % FOLDS for place, query in enumerate(queries)}


def _held_out(method: Fit, scores: Doubles, labels: Doubles, folds: np.ndarray) -> Doubles:
    """Return each pair's probability by the curve fitted without its part."""
    predicted = np.empty(len(scores))
    for fold in range(FOLDS):
        inside = folds == fold
        curve = method(scores[~inside], labels[~inside])
        predicted[inside] = probabilities(curve, scores[inside])
    return predicted


def _measured(
    wanted: float, predicted: Doubles, labels: Doubles, folds: np.ndarray, queries: Sequence[str]
) -> HeldOut:
    """Return what a precision gives where each part's threshold comes from the other parts."""
    shown = np.zeros(len(predicted), dtype=bool)
    for fold in range(FOLDS):
        inside = folds == fold
        step = least(steps(predicted[~inside].tolist(), labels[~inside].tolist()), wanted)
        if step is not None:
            shown |= inside & (predicted >= step.probability)
    above = int(shown.sum())
    speaking = {query for query, each in zip(queries, shown.tolist(), strict=True) if each}
    return HeldOut(
        wanted=wanted,
        precision=float(labels[shown].mean()) if above else None,
        pairs=above,
        kept=float(labels[shown].sum() / labels.sum()),
        silent=1 - len(speaking) / len(set(queries)),
    )


def _check_enough(pairs: Sequence[Pair], reranker: str) -> None:
    queries = {pair.query_id for pair in pairs}
    having = {pair.query_id for pair in pairs if pair.relevant}
    relevant = sum(pair.relevant for pair in pairs)
    others = len(pairs) - relevant
    enough = (
        len(queries) >= LEAST_QUERIES
        and min(relevant, others) >= LEAST_RELEVANT
        and len(having) >= LEAST_QUERIES_WITH
    )
    if not enough:
        raise InputError(
            f"too few judgments to calibrate {reranker}: among the candidates of {len(queries)} queries are "
            f"{relevant} relevant ones (in {len(having)} queries) and {others} others; it takes at least "
            f"{LEAST_QUERIES} queries, {LEAST_RELEVANT} relevant ones in {LEAST_QUERIES_WITH} queries, and "
            f"{LEAST_RELEVANT} others. Judge more: secondpass judge"
        )


def _check_worth(
    pairs: Sequence[Pair], reranker: str, loss: float, constant: Doubles, labels: Doubles
) -> None:
    base = log_loss(constant, labels)
    if loss >= base:
        raise InputError(
            f"the scores of {reranker} say nothing about relevance here: on held-out queries the log-loss is "
            f"{loss:.3f}, and {base:.3f} when every one of the {len(pairs)} candidates has the same "
            "probability. Look at the judgments, or take another re-ranker"
        )
