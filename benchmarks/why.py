"""When a second pass pays and when not: each claim of docs/why.md on judged collections.

    python benchmarks/why.py --data ../shared/data/collections

`--data` holds folders in BEIR layout. Every query is searched once by each stage 1 (50 candidates), and each
candidate is read once by each re-ranker. All the rest is slicing of these trials:

- `precision`: P@1, P@3 and R@20 before and after (20 candidates, and 50).
- `candidates`: nDCG@10 gained with 5, 10, 20 and 50 candidates, and the ceiling: the share of queries with a
  relevant document among them.
- `spread`, `words`, `rare`: queries halved or parted in three within their collection, by how near each other
  stage 1's first ten scores lie, by their length, and by how many of their words stand in at most 1 % of
  the documents. `apart` is the gain of the first part minus that of the last.
- `lexical_first`: queries that lexical search answers at rank 1 already, against the others.
- `small`: the same queries over their relevant documents and random others, 50 and 200 in all (dense).
- `hybrid`: everything against hybrid search alone.

Each gain has its paired 95 % interval (bootstrap over queries). `all` is over the queries of all collections,
each with the same weight; parts are made within a collection, so that no part is one collection. Nothing is
corrected for the number of comparisons: one interval in twenty misses. Needs the extra `eval`. Indexes and
scores are kept under --work; a second run is quick.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from common import default_work, write
from secondpass.evaluation.beir import documents
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.measures import evaluate_run
from secondpass.evaluation.significance import paired
from secondpass.evaluation.trials import Trials, collect
from secondpass.evaluation.values import Judged, Setting
from secondpass.index import Index
from secondpass.reranking import load_reranker
from secondpass.scores import CachedReranker, ScoreCache
from secondpass.types import Hit, Reranker

COLLECTIONS = ("xquad-en", "hotpot-mini", "musique-mini", "cranfield", "cisi", "time")
"""Those of verdict_agreement.py: quick (240 to 1,890 documents), with at least 70 judged queries."""
STAGE1S = ("dense", "lexical", "hybrid")
RERANKERS = ("late-interaction", "minilm-l6")
DEPTHS = (5, 10, 20, 50)
CUTS = (50, 200)
RARE = 0.01
MEASURES = ("nDCG@10", "P@1", "P@3", "R@20")
SEED = 20261123


@dataclass
class Row:
    """One query: its collection, what it is like, and each setting's measures."""

    collection: str
    query_id: str
    traits: dict[str, float]
    values: dict[tuple[str, str], float] = field(default_factory=dict)

    def value(self, setting: str, measure: str = "nDCG@10") -> float:
        """Return a measure under a setting."""
        return self.values[setting, measure]


# Collecting


def sampled(judged: Judged, limit: int) -> Judged:
    """Return at most ``limit`` of the judged queries, chosen at random."""
    keys = sorted(judged.queries)
    if len(keys) > limit:
        keys = sorted(random.Random(SEED).sample(keys, limit))
    queries = {key: judged.queries[key] for key in keys}
    return Judged(queries, {key: judged.qrels[key] for key in keys}, judged.unit, judged.origin)


def collected(folder: Path, work: Path, limit: int) -> list[Row]:
    """Index a collection, try everything on its queries, and return a row for each."""
    home = work / "why" / folder.name
    corpus = list(documents(folder))
    with Index.open(home) as index, ScoreCache(home / "scores.db") as cache:
        index.add(corpus)
        judged = sampled(read_judged(folder, index=index), limit)
        rerankers = [CachedReranker(load_reranker(name), cache) for name in RERANKERS]
        trials = collect(index, judged.queries, stage1s=STAGE1S, rerankers=rerankers, depth=DEPTHS[-1])
        found = rows_of(folder.name, trials, judged, rare_words([each.text for each in corpus]))
        names = [each.id for each in corpus]
        for row in found:
            query = judged.queries[row.query_id]
            listed = index.candidates(query, None, len(index))
            for size in CUTS:
                cut(row, size, judged, listed, rerankers, names)
    return found


def rows_of(name: str, trials: Trials, judged: Judged, rare: Callable[[str], float]) -> list[Row]:
    """Return a row for each query with every setting's measures and the query's traits."""
    rows = {key: Row(name, key, traits(trials, judged, key, rare)) for key in judged.queries}
    for stage1 in STAGE1S:
        settings = [Setting(stage1, "none", DEPTHS[-1])]
        settings += [Setting(stage1, reranker, depth) for reranker in RERANKERS for depth in DEPTHS]
        for setting in settings:
            measured = evaluate_run(judged.qrels, trials.run(setting, judged.unit), MEASURES)
            for measure, values in measured.items():
                for key, value in values.items():
                    rows[key].values[_name(setting), measure] = value
    return list(rows.values())


def _name(setting: Setting) -> str:
    return setting.stage1 if setting.reranker == "none" else setting.name


def traits(trials: Trials, judged: Judged, key: str, rare: Callable[[str], float]) -> dict[str, float]:
    """Return what a query is like, and up to which candidate something relevant was found."""
    found: dict[str, float] = {
        "words": len(words(judged.queries[key])),
        "rare": rare(judged.queries[key]),
    }
    relevant = {each for each, grade in judged.qrels[key].items() if grade > 0}
    for stage1 in STAGE1S:
        trial = trials.trial(key, stage1)
        tenth = trial.scores[: min(10, len(trial.scores))]
        found[f"spread {stage1}"] = tenth[0] - tenth[-1] if tenth else 0.0
        places = [
            place for place in range(len(trial.passages)) if relevant.intersection(trial.holding(place))
        ]
        found[f"first {stage1}"] = places[0] + 1 if places else float("inf")
    return found


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def rare_words(texts: Sequence[str]) -> Callable[[str], float]:
    """Return what gives the share of a query's words that stand in at most 1 % of the texts."""
    held = Counter(word for text in texts for word in set(words(text)))
    most = max(1, int(RARE * len(texts)))

    def share(query: str) -> float:
        asked = words(query)
        return fmean(held[word] <= most for word in asked) if asked else 0.0

    return share


def cut(
    row: Row,
    size: int,
    judged: Judged,
    listed: Sequence[Hit],
    rerankers: Sequence[Reranker],
    names: Sequence[str],
) -> None:
    """Measure one query over its relevant documents and random others, ``size`` in all.

    A dense score does not depend on the other documents, so the full list (``listed``) without those left out
    is what an index of those that stay would give.
    """
    grades = judged.qrels[row.query_id]
    kept = {name for name in names if grades.get(name, 0) > 0}
    others = [name for name in names if name not in kept]
    draw = random.Random(f"{SEED} {row.query_id}").sample(others, len(others))
    kept.update(draw[: max(0, size - len(kept))])
    query = judged.queries[row.query_id]
    held = [kept.intersection(each.document_id for each in (hit.passage, *hit.also_in)) for hit in listed]
    holders = {hit.passage.id: found for hit, found in zip(listed, held, strict=True) if found}
    hits = [hit for hit in listed if hit.passage.id in holders]
    base = f"{size} documents: dense"
    for reranker in (None, *rerankers):
        run: dict[str, float] = {}
        order = list(hits)
        if reranker is not None:
            scores = reranker.score(query, [hit.passage.text for hit in hits[:20]])
            best = sorted(zip(scores, range(len(scores)), strict=True), key=lambda pair: (-pair[0], pair[1]))
            order = [hits[place] for _, place in best] + hits[20:]
        for place, hit in enumerate(order):
            for document_id in holders[hit.passage.id]:
                run.setdefault(document_id, float(-place))
        setting = base if reranker is None else f"{base} 20 > {reranker.name}"
        measured = evaluate_run({row.query_id: grades}, {row.query_id: run}, MEASURES[:1])
        row.values[setting, MEASURES[0]] = measured[MEASURES[0]][row.query_id]


# Slicing


def gain(rows: Sequence[Row], after: str, before: str, measure: str = "nDCG@10") -> dict[str, Any]:
    """Return what one setting gains over another on these queries, with its paired interval."""
    ours = [row.value(after, measure) for row in rows]
    theirs = [row.value(before, measure) for row in rows]
    found = paired(ours, theirs)
    return {
        "queries": len(rows),
        "before": round(fmean(theirs), 4),
        "after": round(fmean(ours), 4),
        "gain": [round(value, 4) for value in (found.difference, found.low, found.high)],
        "better": found.wins,
        "worse": found.losses,
    }


def apart(first: Sequence[Row], last: Sequence[Row], after: str, before: str) -> list[float]:
    """Return the gain on some queries minus that on others, with a bootstrap interval over both groups."""
    generator = np.random.default_rng(SEED)
    means = []
    for rows in (first, last):
        each = np.array([row.value(after) - row.value(before) for row in rows])
        drawn = each[generator.integers(0, len(each), (10_000, len(each)))].mean(axis=1)
        means.append((each.mean(), drawn))
    low, high = np.quantile(means[0][1] - means[1][1], [0.025, 0.975])
    return [round(float(value), 4) for value in (means[0][0] - means[1][0], low, high)]


def parted(rows: Sequence[Row], trait: str, parts: int) -> list[list[Row]]:
    """Return the queries in about equal parts within each collection, lowest first; equals keep together."""
    groups: list[list[Row]] = [[] for _ in range(parts)]
    for name in dict.fromkeys(row.collection for row in rows):
        ours = [row for row in rows if row.collection == name]
        edges = np.quantile([row.traits[trait] for row in ours], [n / parts for n in range(1, parts)])
        for row in ours:
            groups[int((edges < row.traits[trait]).sum())].append(row)
    return groups


def contrast(groups: dict[str, list[Row]], after: str, before: str) -> dict[str, Any]:
    """Return the gain on each group of queries, and how far the first and the last lie apart."""
    filled = {name: rows for name, rows in groups.items() if rows}
    found: dict[str, Any] = {name: gain(rows, after, before) for name, rows in filled.items()}
    if len(filled) > 1:
        first, *_, last = filled.values()
        found["apart"] = apart(first, last, after, before)
    return found


def sliced(rows: Sequence[Row]) -> dict[str, Any]:
    """Return every slice for each stage 1 and re-ranker."""
    found: dict[str, Any] = {"queries": len(rows)}
    for stage1 in STAGE1S:
        for reranker in RERANKERS:
            found[f"{stage1} > {reranker}"] = slices(rows, stage1, reranker)
    found["hybrid"] = {
        setting: gain(rows, setting, "hybrid")
        for setting in ("dense", "lexical", *(f"{way} 20 > {name}" for way in STAGE1S for name in RERANKERS))
    }
    return found


def brief(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what one collection shows: gains with 20 candidates, the ceiling, small parts of it, hybrid."""
    found = sliced(rows)
    for way in [name for name in found if ">" in name]:
        told = found[way]
        found[way] = {"20": told["candidates"][20], **({"small": told["small"]} if "small" in told else {})}
    return found


def slices(rows: Sequence[Row], stage1: str, reranker: str) -> dict[str, Any]:
    """Return every slice of one stage 1 and one re-ranker."""
    after, before = f"{stage1} 20 > {reranker}", stage1
    near, far = parted(rows, f"spread {stage1}", 2)
    short, middle, long = parted(rows, "words", 3)
    common_words, rare = parted(rows, "rare", 2)
    found: dict[str, Any] = {
        "precision": {
            f"{measure}, {depth} candidates": gain(rows, f"{stage1} {depth} > {reranker}", before, measure)
            for depth in (20, 50)
            for measure in MEASURES[1:]
        },
        "candidates": {
            depth: {
                **gain(rows, f"{stage1} {depth} > {reranker}", before),
                "ceiling": round(fmean(row.traits[f"first {stage1}"] <= depth for row in rows), 4),
            }
            for depth in DEPTHS
        },
        "candidates_added": {
            f"{more} instead of {less}": gain(
                rows, f"{stage1} {more} > {reranker}", f"{stage1} {less} > {reranker}"
            )
            for less, more in pairwise(DEPTHS)
        },
        "spread": contrast({"near": near, "far": far}, after, before),
        "words": contrast({"short": short, "middle": middle, "long": long}, after, before),
        "rare": contrast({"few": common_words, "many": rare}, after, before),
        "lexical_first": contrast(
            {
                "others": [row for row in rows if row.traits["first lexical"] > 1],
                "first": [row for row in rows if row.traits["first lexical"] == 1],
            },
            after,
            before,
        ),
    }
    if stage1 == "dense":
        sizes = {str(size): f"{size} documents: dense" for size in CUTS} | {"all": "dense"}
        found["small"] = {size: gain(rows, f"{name} 20 > {reranker}", name) for size, name in sizes.items()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--collections", nargs="+", default=list(COLLECTIONS))
    parser.add_argument("--limit", type=int, default=120, help="most queries of a collection")
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.collections:
        rows += collected(arguments.data / name, arguments.work, arguments.limit)
        print(f"{name}: {len(rows)} queries so far", flush=True)
    figures: dict[str, Any] = {"limit": arguments.limit, "rare": RARE, "all": sliced(rows)}
    figures["collections"] = {
        name: brief([row for row in rows if row.collection == name]) for name in arguments.collections
    }
    write("why", figures, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
