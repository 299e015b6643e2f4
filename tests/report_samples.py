"""Small comparisons, evaluations and verdicts for the tests of the reports; the figures are made up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean

from secondpass.calibration.values import Bin, Calibration, Curve, Reliability
from secondpass.calibration.values import HeldOut as CheckedPrecision
from secondpass.comparison import Agreement, Comparison, SecondPass, move
from secondpass.evaluation.trials import Trials
from secondpass.evaluation.values import (
    Ceiling,
    Evaluation,
    Judged,
    Paired,
    PerQuery,
    Row,
    Setting,
    Trial,
    Unit,
)
from secondpass.gating import Gate
from secondpass.report import Sources, Stamp
from secondpass.types import Hit, Passage, Reading, SearchResult, Timings
from secondpass.verdict.values import Change, GateReceipt, HeldOut, Kind, SweepRow, Verdict

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


SETTINGS = (
    Setting("dense"),
    Setting("dense", "minilm-l6", 20),
    Setting("dense", "late-interaction", 20),
    Setting("hybrid"),
    Setting("hybrid", "minilm-l6", 20),
)
MEASURES = ("nDCG@10", "RR@10")
# One line a query, one figure a setting: the first query gains most, the second loses most.
VALUES = (
    (0.2, 1.0, 0.6, 0.3, 1.0),
    (0.9, 0.5, 0.9, 0.9, 0.4),
    (0.5, 0.5, 0.5, 0.5, 0.5),
    (0.6, 0.7, 0.5, 0.7, 0.9),
)


def evaluation(
    *, synthetic: bool = False, unit: Unit = "document", interval: tuple[float, float] = (0.01, 0.2)
) -> Evaluation:
    """Return four queries under five settings; ``hybrid 20 > minilm-l6`` has the highest mean."""
    rows = []
    for place, setting in enumerate(SETTINGS):
        alone = 0 if setting.stage1 == "dense" else 3
        means = {measure: fmean(each[place] for each in VALUES) for measure in MEASURES}
        difference = fmean(each[place] - each[alone] for each in VALUES)
        paired = Paired(difference, *interval, 0.031, 2, 1, 1)
        against = {} if setting.reranker == "none" else dict.fromkeys(MEASURES, paired)
        rows.append(Row(setting, means, against, 6.0 if place == alone else 140.0))
    per_query = tuple(
        PerQuery(f"q{n}", f"query number {n}", dict.fromkeys(MEASURES, values))
        for n, values in enumerate(VALUES)
    )
    ceilings = (Ceiling("dense", 3, 20, 0.5, 0.25, 0.25), Ceiling("hybrid", 3, 20, 0.75, 0.25, 0.0))
    origin = "a made-up collection"
    return Evaluation(MEASURES, tuple(rows), per_query, ceilings, unit, synthetic, origin, len(VALUES))


def trials() -> Trials:
    """Return six passages for each query; stage 2 turns stage 1's order around."""
    ids = tuple(f"{n:016x}" for n in range(6))
    documents = tuple(passage(n).document_id for n in range(6))
    scores = tuple(1 - n / 10 for n in range(6))
    reranked = dict.fromkeys(("minilm-l6", "late-interaction"), scores[::-1])
    found = [
        Trial(f"q{n}", f"query number {n}", stage1, ids, documents, scores, reranked, 5.0)
        for n in range(len(VALUES))
        for stage1 in ("dense", "hybrid")
    ]
    return Trials(tuple(found), 6)


def sources(known: bool = True) -> Sources:
    """Return rankings with document 4 relevant to every query, but for the last, whose is not found."""
    qrels = {f"q{n}": {passage(4).document_id: 1, passage(1).document_id: 0} for n in range(3)}
    qrels["q3"] = {"/srv/letting/elsewhere.txt": 2}
    judged = Judged({key: key for key in qrels}, qrels, "document")
    return Sources(trials(), judged, {passage(n).id: passage(n) for n in range(6)} if known else {})


def verdict(*, judged: bool = True, kind: Kind = "use", synthetic: bool = False) -> Verdict:
    """Return a sweep over three stages 1, two re-rankers and five depths."""
    rows = []
    for stage1, quality, ms in (("dense", 0.58, 5.0), ("lexical", 0.52, 3.0), ("hybrid", 0.61, 8.0)):
        rows.append((Setting(stage1), ms, quality))
        for reranker, gain, cost in (("minilm-l6", 0.06, 6.5), ("late-interaction", 0.045, 9.0)):
            rows += [
                (Setting(stage1, reranker, n), ms + cost * n, quality + gain * (1 - 0.9**n))
                for n in (5, 10, 20, 50, 100)
            ]
    swept = tuple(
        SweepRow(
            setting,
            ms,
            quality if judged else None,
            Paired(quality - 0.61, quality - 0.64, quality - 0.58, 0.01, 20, 12, 18) if judged else None,
            None if setting.reranker == "none" else Change(1.4, 0.8, 0.5, 5.0, 0.6),
            judged and not any(m <= ms and q >= quality and s != setting for s, m, q in rows),
        )
        for setting, ms, quality in rows
    )
    chosen = Setting("hybrid", "minilm-l6", 20)
    receipt = GateReceipt(
        Gate("minilm-l6", "hybrid", "margin", 0.0731),
        *(chosen, 3, 0.31, 44.0, 141.0, 0.78),
        *((0.004, -0.002, 0.011, 0.018) if judged else (None, None, None, None)),
        *(50, 50),
    )
    held_out = HeldOut(0.047, 0.021, 0.074, 27, 12, 11, 50, 50, {chosen.name: 0.6, "hybrid": 0.4}, None)
    return Verdict(
        kind=kind,
        sentences=(
            "use minilm-l6 on 20 hybrid candidates: +0.047 nDCG@10 for 130 ms.",
            "It won on 27.",
            "It lost on 12.",
            "Why not.",
        ),
        chosen=chosen if judged else None,
        challenger=chosen,
        baseline=Setting("hybrid"),
        held_out=held_out if judged else None,
        rows=swept,
        ceilings=(Ceiling("hybrid", 3, 100, 0.66, 0.25, 0.09),) if judged else (),
        agreements=(Agreement(("minilm-l6", "late-interaction"), 0.62),),
        gate=receipt,
        gate_note="",
        measure="nDCG@10" if judged else None,
        least_gain=0.01,
        k=3,
        queries=50,
        passages=2498,
        unit="document" if judged else None,
        origin="a made-up collection",
        synthetic=synthetic,
        scored=30_000,
        seconds=143.0,
        left_out="100 candidates, to stay within three minutes",
    )


def calibration() -> Calibration:
    """Return probabilities that are nearly honest; one bin is empty."""
    bins = tuple(Bin(n / 10, n / 10 + 0.1, 0 if n == 8 else 100 - 9 * n, n / 10, n / 11) for n in range(10))
    return Calibration(
        reranker="minilm-l6",
        probes=(),
        curve=Curve("platt"),
        queries=50,
        pairs=1000,
        relevant=120,
        stage1="dense",
        candidates=20,
        unit="document",
        unjudged="not relevant",
        origin="a made-up collection",
        synthetic=False,
        losses={},
        before=Reliability(0.5, 0.2, 0.11, bins),
        after=Reliability(0.31, 0.1, 0.021, bins),
        steps=(),
        held_out=(CheckedPrecision(0.8, 0.79, 40, 0.4, 0.2), CheckedPrecision(0.99, None, 0, 0.0, 1.0)),
    )
