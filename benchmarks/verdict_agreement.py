"""Does the verdict from a sample of queries hold for the others? Six judged collections, many samples.

    python benchmarks/verdict_agreement.py --data ../shared/data/collections

`--data` holds folders in BEIR layout. For each collection every setting is run on up to --limit queries.
Then, as `secondpass worth-it` would, 50 of the queries (half, where there are fewer than 100) give a verdict:
turn stage 2 on (`use`), or leave it off (`skip`, and `unclear`, which leaves it off until more is judged).
The others, which the verdict has not seen, give the full evaluation's decision by the same rule.

- A verdict agrees where both decisions are the same. The table's `agrees` is one sample, drawn with a fixed
  seed before anything was looked at; `agreement` is the share over --draws further samples.
- `contradictions` is the share of draws in which one says `use` and the other `skip`.
- `gain_on_others` is what the setting that the sample found best gains, on the others, over the stage 1 that
  the sample found best: no choice was made on those queries.
- Each is told for the whole sweep (`all`: what worth-it does), and as if there were only one stage 1.
- `regret` is what following the verdicts loses on the others, on average, against the better one of both.

Needs the extra `eval`. Indexes and scores are kept under --work; a second run is quick.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from common import default_work, write
from secondpass.evaluation.beir import documents
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.latency import timed
from secondpass.evaluation.significance import paired
from secondpass.evaluation.trials import collect
from secondpass.evaluation.values import Judged
from secondpass.index import Index
from secondpass.reranking import load_reranker
from secondpass.scores import CachedReranker, ScoreCache
from secondpass.verdict.decide import LEAST_GAIN, judged_kind
from secondpass.verdict.held_out import baseline, challenger, held_out
from secondpass.verdict.sweep import quality_table, settings_of
from secondpass.verdict.table import QualityTable

COLLECTIONS = ("xquad-en", "hotpot-mini", "musique-mini", "cranfield", "cisi", "time")
"""Chosen before any was run: quick (240 to 1,890 documents), and at least 70 judged queries."""
RERANKERS = ("late-interaction", "minilm-l6")
STAGE1S = ("dense", "lexical", "hybrid")
DEPTHS = (5, 10, 20)
MEASURE = "nDCG@10"
SAMPLE = 50
SEED = 20261123


def judged_sample(folder: Path, index: Index, limit: int) -> Judged:
    """Return at most ``limit`` judged queries of a collection, chosen at random."""
    judged = read_judged(folder, index=index)
    keys = sorted(judged.queries)
    if len(keys) > limit:
        keys = sorted(random.Random(SEED).sample(keys, limit))
    return Judged(
        {key: judged.queries[key] for key in keys},
        {key: judged.qrels[key] for key in keys},
        judged.unit,
        judged.origin,
    )


def swept(folder: Path, work: Path, limit: int, depths: tuple[int, ...] = DEPTHS) -> QualityTable:
    """Index a collection, run every setting on its queries, and return the table of their quality."""
    home = work / "verdict" / folder.name
    with Index.open(home) as index:
        index.add(list(documents(folder)))
        judged = judged_sample(folder, index, limit)
        rerankers = [load_reranker(name) for name in RERANKERS]
        latency = timed(index, list(judged.queries.values()), STAGE1S, rerankers, depths, samples=3)
        with ScoreCache(home / "scores.db") as cache:
            cached = [CachedReranker(each, cache) for each in rerankers]
            trials = collect(index, judged.queries, stage1s=STAGE1S, rerankers=cached, depth=depths[-1])
    return quality_table(trials, judged, settings_of(STAGE1S, RERANKERS, depths), latency, MEASURE)


def part(table: QualityTable, queries: np.ndarray) -> QualityTable:
    """Return the table of some of the queries."""
    return QualityTable(table.settings, table.quality[:, queries], table.latency)


def only(table: QualityTable, stage1: str) -> QualityTable:
    """Return the table of one stage 1: the verdict of somebody who can search in no other way."""
    rows = [row for row, setting in enumerate(table.settings) if setting.stage1 == stage1]
    settings = tuple(table.settings[row] for row in rows)
    return QualityTable(settings, table.quality[rows], table.latency[rows])


def one_draw(table: QualityTable, seed: int, splits: int) -> dict[str, Any]:
    """Compare the verdict of one sample with the decision of the other queries."""
    queries = table.quality.shape[1]
    order = np.random.default_rng(seed).permutation(queries)
    size = min(SAMPLE, queries // 2)
    ours, others = part(table, order[:size]), part(table, order[size:])
    found, full = (held_out(each, LEAST_GAIN, splits=splits) for each in (ours, others))
    kind, full_kind = judged_kind(found, LEAST_GAIN), judged_kind(full, LEAST_GAIN)
    best, alone = challenger(ours, LEAST_GAIN), baseline(ours)
    gain = paired(others.quality[best].tolist(), others.quality[alone].tolist())
    followed = gain.difference if kind == "use" else 0.0
    return {
        "sample": size,
        "others": queries - size,
        "verdict": kind,
        "held_out": [round(value, 4) for value in (found.difference, found.low, found.high)],
        "full_verdict": full_kind,
        "full_held_out": [round(value, 4) for value in (full.difference, full.low, full.high)],
        "agrees": (kind == "use") == (full_kind == "use"),
        "challenger": table.settings[best].name,
        "baseline": table.settings[alone].name,
        "gain_on_others": [round(value, 4) for value in (gain.difference, gain.low, gain.high)],
        "regret": round(max(gain.difference, 0.0) - followed, 4),
    }


def measure(table: QualityTable, draws: int, splits: int = 20) -> dict[str, Any]:
    """Return the figures of one table: the drawn sample, and the shares over many others."""
    everything = held_out(table, LEAST_GAIN)
    many = [one_draw(table, SEED + 1 + number, splits) for number in range(draws)]
    return {
        "all_queries": {
            "verdict": judged_kind(everything, LEAST_GAIN),
            "held_out": [
                round(value, 4) for value in (everything.difference, everything.low, everything.high)
            ],
            "baseline": table.settings[baseline(table)].name,
            "challenger": table.settings[challenger(table, LEAST_GAIN)].name,
        },
        "drawn": one_draw(table, SEED, splits=50),
        "draws": draws,
        "agreement": round(fmean(each["agrees"] for each in many), 3),
        "contradictions": round(fmean(_contradict(each) for each in many), 3),
        "verdicts": dict(Counter(each["verdict"] for each in many).most_common()),
        "full_verdicts": dict(Counter(each["full_verdict"] for each in many).most_common()),
        "mean_held_out": round(fmean(each["held_out"][0] for each in many), 4),
        "mean_gain_on_others": round(fmean(each["gain_on_others"][0] for each in many), 4),
        "mean_regret": round(fmean(each["regret"] for each in many), 4),
    }


def _contradict(draw: dict[str, Any]) -> bool:
    return {draw["verdict"], draw["full_verdict"]} == {"use", "skip"}


def collection(table: QualityTable, draws: int) -> dict[str, Any]:
    """Return one collection's figures: of the whole sweep, and of each stage 1 for itself."""
    return {
        "queries": table.quality.shape[1],
        "all": measure(table, draws),
        **{stage1: measure(only(table, stage1), draws) for stage1 in STAGE1S},
        "quality": {
            setting.name: round(float(mean), 4)
            for setting, mean in zip(table.settings, table.quality.mean(axis=1), strict=True)
        },
    }


def agreed(rows: dict[str, Any], way: str) -> dict[str, Any]:
    """Return in how many collections the drawn sample agrees, and what always saying the same would."""
    drawn = [row[way]["drawn"] for row in rows.values()]
    uses = sum(each["full_verdict"] == "use" for each in drawn)
    return {
        "agree": sum(each["agrees"] for each in drawn),
        "of": len(drawn),
        "always_use_would": uses,
        "never_use_would": len(drawn) - uses,
        "mean_agreement": round(fmean(row[way]["agreement"] for row in rows.values()), 3),
        "mean_contradictions": round(fmean(row[way]["contradictions"] for row in rows.values()), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--collections", nargs="+", default=list(COLLECTIONS))
    parser.add_argument("--limit", type=int, default=100, help="most queries of a collection")
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    for name in arguments.collections:
        table = swept(arguments.data / name, arguments.work, arguments.limit, tuple(arguments.depths))
        rows[name] = collection(table, arguments.draws)
        for way in ("all", *STAGE1S):
            drawn = rows[name][way]["drawn"]
            print(
                f"{name}, {way}: {drawn['verdict']} {drawn['held_out']}, the others {drawn['full_verdict']} "
                f"{drawn['full_held_out']}, agreement {rows[name][way]['agreement']:.0%}",
                flush=True,
            )
        figures = {
            "measure": MEASURE,
            "least_gain": LEAST_GAIN,
            "depths": arguments.depths,
            "limit": arguments.limit,
            "agreement": {way: agreed(rows, way) for way in ("all", *STAGE1S)},
            "collections": rows,
        }
        write("verdict_agreement", figures, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
