"""nDCG@10 of what was exported: on validation sets (they choose `auto`), on collections (only reported).

python -m training.evaluate validation --config training/configs/first.toml
python -m training.evaluate collections --config training/configs/first.toml --base FOLDER [--data DATA]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import torch
from ir_measures import nDCG
from tokenizers import Tokenizer

from secondpass.reranking import CrossEncoder, load_reranker
from training.data import WORK
from training.states import Encoder, encode, frozen, tokenize, whole_tokenizer
from training.validate import ValidationSet

SUBSAMPLED = {"arguana": 150, "xquad-en": 150}
CANDIDATES, PASSAGE_TOKENS = 20, 256
SYSTEMS = ("dense", "late-interaction", "late-interaction-1bit", "minilm-l6 fp32", "minilm-l6 int8")
SHORT = ("dense", "late", "signs", "fp32", "int8")


def main() -> None:
    """Print and write the figures, one set or collection after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["validation", "collections"])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--queries", type=int, help="only so many of each validation set")
    parser.add_argument("--receipt", action="store_true", help="write benchmarks/auto_validation.json too")
    options = parser.parse_args()
    torch.set_num_threads(2)
    config = tomllib.loads(options.config.read_text())
    folder = WORK / config["train"]["name"]
    full = CrossEncoder(folder / "model-fp32", precision="fp32")
    late, signs = load_reranker("late-interaction"), load_reranker("late-interaction-1bit")
    models = [late, signs, full, load_reranker("minilm-l6")]
    if options.what == "validation":
        sets = [
            ValidationSet(WORK / config["data"]["name"], name, options.queries)
            for name in config["validation"]["sets"]
        ]
        figures = on_validation(WORK / config["data"]["name"], sets, models)
    else:
        figures = on_collections(options.data / "collections", options.base, models)
    (folder / f"{options.what}.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))
    if options.receipt:
        sys.path.insert(0, "benchmarks")
        from common import write  # what every benchmark's JSON says of machine, versions and commit

        write("auto_validation", {"candidates": CANDIDATES, **figures})


def on_validation(data: Path, chosen: list[ValidationSet], models: list[Any]) -> dict[str, Any]:
    """nDCG@10 of each system on each set, and how far int8 drifts from fp32."""
    sets, drift = {}, Drift()
    for each in chosen:
        scores = [each.dense(), *map(np.array, second_stage(models, each.pairs()))]
        for full, small in zip(scores[-2], scores[-1], strict=True):
            drift.add(full, small)
        np.savez(data / f"{each.name}.scores.npz", **dict(zip(SHORT, scores, strict=True)))
        sets[each.name] = {
            "queries": len(each),
            **{
                system: round(float(each.ndcg(table).mean()), 4)
                for system, table in zip(SYSTEMS, scores, strict=True)
            },
        }
        print(each.name, sets[each.name], flush=True)
    queries = sum(each["queries"] for each in sets.values())
    return {"queries": queries, "sets": sets, "mean": means(sets), "drift": drift.found()}


def on_collections(folder: Path, base: Path, models: list[Any]) -> dict[str, Any]:
    """nDCG@10 of each system on each collection: dense top 20 re-ranked, or the pool's BM25 top 100."""
    encoder, tokenizer = frozen(), whole_tokenizer(base)
    sets = {}
    for path in sorted(folder.iterdir()):
        start, runs = time.time(), [dict[str, dict[str, float]]() for _ in SYSTEMS]
        corpus = {
            row["_id"]: f"{row.get('title') or ''} {row['text']}".strip()
            for row in lines(path / "corpus.jsonl")
        }
        qrels = list(ir_measures.read_trec_qrels(trec(path)))
        judged_queries = {each.query_id for each in qrels}
        found = list(first_stage(path, corpus, judged_queries, encoder, tokenizer))
        pairs = [(text, [corpus[passage] for passage in candidates]) for _, text, candidates in found]
        dense = [list(candidates.values()) for _, _, candidates in found]
        for run, table in zip(runs, [dense, *second_stage(models, pairs)], strict=True):
            for (query, _, candidates), scores in zip(found, table, strict=True):
                run[query] = dict(zip(candidates, map(float, scores), strict=True))
        judged = [each for each in qrels if each.query_id in runs[0]]
        sets[path.name] = {
            "queries": len(runs[0]),
            **{
                system: round(ir_measures.calc_aggregate([nDCG @ 10], judged, run)[nDCG @ 10], 4)
                for system, run in zip(SYSTEMS, runs, strict=True)
            },
        }
        print(path.name, sets[path.name], f"{time.time() - start:.0f} s", flush=True)
    return {"collections": sets, "mean": means(sets)}


def second_stage(models: list[Any], pairs: list[tuple[str, list[str]]]) -> list[list[np.ndarray]]:
    """Scores by both late interactions, the fp32 and the int8 model; for each, a row a query.

    The package's own re-rankers are asked as users ask them; fp32, the last but one, runs beside them.
    """
    with ThreadPoolExecutor(1) as beside:
        full = beside.submit(lambda: [models[-2].score(*pair) for pair in pairs])
        others = [[model.score(*pair) for pair in pairs] for model in (*models[:-2], models[-1])]
        return [*others[:-1], full.result(), others[-1]]


def first_stage(
    path: Path, corpus: dict[str, str], judged: set[str], encoder: Encoder, tokenizer: Tokenizer
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Each query's id and text with its candidates and their cosines."""
    queries = {row["_id"]: row["text"] for row in lines(path / "queries.jsonl") if row["_id"] in judged}
    chosen = sorted(queries)
    if path.name in SUBSAMPLED:
        chosen = sorted(random.Random(7).sample(chosen, SUBSAMPLED[path.name]))
    runs = [
        line.split("\t")
        for run in [path / "runs" / "BM25.tsv"]
        if run.exists()
        for line in run.read_text().splitlines()
    ]
    ids = sorted({row[1] for row in runs if row[1] in corpus}) or sorted(corpus)
    cache = WORK / "collections" / f"{path.name}.npy"
    if not cache.exists():
        cache.parent.mkdir(exist_ok=True)
        np.save(cache, encode(encoder, tokenize(tokenizer, [corpus[each] for each in ids], PASSAGE_TOKENS)))
    vectors = np.load(cache)
    place = {each: at for at, each in enumerate(ids)}
    found = encode(encoder, tokenize(tokenizer, [queries[each] for each in chosen], PASSAGE_TOKENS))
    for query, vector in zip(chosen, found, strict=True):
        cosines = vectors @ vector
        if runs:
            top = [place[row[1]] for row in runs if row[0] == query and row[1] in place]
        else:
            top = [
                at
                for at in np.argsort(-cosines, kind="stable")[: CANDIDATES + 1].tolist()
                if ids[at] != query or path.name != "arguana"
            ][:CANDIDATES]
        yield query, queries[query], {ids[at]: float(cosines[at]) for at in top}


def trec(path: Path) -> str:
    """The collection's judgments as TREC text; `full.tsv`, if any, also judges what is outside the pool."""
    file = next(each for each in (path / "qrels" / "full.tsv", path / "qrels" / "test.tsv") if each.exists())
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    return "\n".join(f"{row[0]} 0 {row[1]} {row[2]}" for row in rows if row[2].lstrip("-").isdigit())


class Drift:
    """How far int8 moves the ranking of fp32, query by query."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, full: np.ndarray, small: np.ndarray) -> None:
        """Note the scores of one query's candidates."""
        self.pairs.append((full, small))

    def found(self) -> dict[str, float]:
        """Correlation over all pairs, mean over the queries, share of the top 3 in common, same first."""
        within = [np.corrcoef(full, small)[0, 1] for full, small in self.pairs]
        tops = [
            len(set(np.argsort(-full)[:3]) & set(np.argsort(-small)[:3])) / 3 for full, small in self.pairs
        ]
        full, small = (np.concatenate(each) for each in zip(*self.pairs, strict=True))
        return {
            "correlation": round(float(np.corrcoef(full, small)[0, 1]), 5),
            "mean_correlation_within_query": round(float(np.nanmean(within)), 5),
            "top_3_in_common": round(float(np.mean(tops)), 4),
            "top_3_the_same": round(float(np.mean([top == 1 for top in tops])), 4),
            "same_first": round(
                float(np.mean([full.argmax() == small.argmax() for full, small in self.pairs])), 4
            ),
            "mean_absolute_difference": round(float(np.abs(full - small).mean()), 4),
        }


def means(sets: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean over the sets, each counting once."""
    return {system: round(float(np.mean([each[system] for each in sets.values()])), 4) for system in SYSTEMS}


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    main()
