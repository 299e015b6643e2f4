"""How well each shipped re-ranker ranks: nDCG@10 on judged collections, against the dense first stage.

    python benchmarks/ranking_quality.py --data ../shared/data/collections

`--data` holds folders in BEIR layout (corpus.jsonl, queries.jsonl, qrels/test.tsv). Stage 1 is all-
MiniLM-L6-v2 over title and text joined; stage 2 re-ranks its top 20, or with `--depth 100` its top
100 (ranking_quality_100.json). Where a folder has runs/BM25.tsv and qrels/full.tsv, it is a
re-ranking pool: that run's top 100 is re-ranked. A document equal to the query (arguana) is
dropped. Needs the extra `bench`. Vectors are cached under --work; a second run is quick.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import nDCG

from common import write
from secondpass.embedding import MiniLMEmbedder
from secondpass.errors import QueryError
from secondpass.reranking import load_reranker

Run = dict[str, dict[str, float]]
MEASURE = nDCG @ 10
SEED = 20261122


class Collection:
    """One folder in BEIR layout: texts, queries and judgments."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.name = folder.name
        self.texts = {
            row["_id"]: f"{row.get('title') or ''} {row['text']}".strip()
            for row in _jsonl(folder / "corpus.jsonl")
        }
        pool = folder / "qrels" / "full.tsv"
        self.qrels = _qrels(pool if pool.exists() else folder / "qrels" / "test.tsv")
        queries = {row["_id"]: row["text"] for row in _jsonl(folder / "queries.jsonl")}
        judged = sorted(id_ for id_ in queries if id_ in self.qrels)
        if len(judged) > limit:
            judged = sorted(random.Random(SEED).sample(judged, limit))
        self.queries = {id_: queries[id_] for id_ in judged}
        run = folder / "runs" / "BM25.tsv"
        self.pool = _first_stage(run) if run.exists() else None


def _jsonl(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    judgments: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.reader(lines, delimiter="\t"):
            if row[-1].lstrip("-").isdigit():
                judgments.setdefault(row[0], {})[row[-2]] = int(row[-1])
    return judgments


def _first_stage(path: Path) -> dict[str, list[str]]:
    ranked: dict[str, list[tuple[int, str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query_id, document_id, position, *_ = line.split()
        if position.isdigit():
            ranked.setdefault(query_id, []).append((int(position), document_id))
    return {query_id: [document for _, document in sorted(rows)] for query_id, rows in ranked.items()}


def vectors(texts: list[str], embedder: MiniLMEmbedder, work: Path) -> np.ndarray:
    """Embed texts, or read what an earlier run left under ``work``."""
    digest = hashlib.sha256("\0".join([embedder.name, *texts]).encode()).hexdigest()[:24]
    path = work / f"{digest}.npy"
    if not path.exists():
        np.save(path, embedder.embed_passages([text or " " for text in texts]))
    return np.load(path)


def candidates(collection: Collection, embedder: MiniLMEmbedder, work: Path, depth: int) -> Run:
    """Return the first stage's list: the dense top ``depth``, or the pool's top 100 with cosine scores."""
    ids = list(collection.texts)
    matrix = vectors(list(collection.texts.values()), embedder, work)
    rows = {id_: row for row, id_ in enumerate(ids)}
    queries = embedder.embed_queries(list(collection.queries.values()))
    run: Run = {}
    for query_id, vector in zip(collection.queries, queries, strict=True):
        scores = matrix @ vector
        if collection.pool is not None:
            chosen = [rows[id_] for id_ in collection.pool[query_id][:100]]
        else:
            chosen = [int(row) for row in np.argsort(-scores, kind="stable")[: depth + 1]]
            chosen = [row for row in chosen if not itself(collection, query_id, ids[row])][:depth]
        run[query_id] = {ids[row]: float(scores[row]) for row in chosen}
    return run


def itself(collection: Collection, query_id: str, id_: str) -> bool:
    """Whether a document is the query: its text, or, under the same id, a text that holds the query's.

    The id alone does not tell: where queries and documents are numbered, as in Cranfield, 1 is two things.
    """
    query, text = (" ".join(each.split()) for each in (collection.queries[query_id], collection.texts[id_]))
    return text == query or (id_ == query_id and query in text)


def rerank(collection: Collection, run: Run, name: str) -> tuple[Run, float, int]:
    """Score every candidate of every query.

    Returns:
        The run, the milliseconds a query took on average, and how many queries were too long for the
        re-ranker: they keep the first stage's order.
    """
    reranker = load_reranker(name)
    reranked: Run = {}
    refused = 0
    start = time.perf_counter()
    for query_id, documents in run.items():
        try:
            scores = reranker.score(
                collection.queries[query_id], [collection.texts[id_] for id_ in documents]
            )
        except QueryError:
            reranked[query_id], refused = documents, refused + 1
        else:
            reranked[query_id] = dict(zip(documents, map(float, scores), strict=True))
    return reranked, (time.perf_counter() - start) * 1000 / max(1, len(run)), refused


def ndcg(collection: Collection, run: Run) -> dict[str, float]:
    """Return nDCG@10 of each query."""
    qrels = {id_: collection.qrels[id_] for id_ in run}
    return {value.query_id: value.value for value in ir_measures.iter_calc([MEASURE], qrels, run)}


def paired_interval(differences: list[float], samples: int = 2000) -> list[float]:
    """Return the 95 % bootstrap interval of a mean of paired differences (percentile method, fixed seed)."""
    generator = np.random.default_rng(SEED)
    picks = generator.integers(0, len(differences), size=(samples, len(differences)))
    low, high = np.percentile(np.asarray(differences)[picks].mean(axis=1), [2.5, 97.5])
    return [round(float(low), 4), round(float(high), 4)]


def measure(folder: Path, names: list[str], work: Path, depth: int, limit: int) -> dict[str, object]:
    """Return one collection's row of the table."""
    collection = Collection(folder, limit)
    run = candidates(collection, MiniLMEmbedder(), work, depth)
    base = ndcg(collection, run)
    row: dict[str, object] = {
        "queries": len(base),
        "first_stage": "BM25 top 100 (pool), by cosine" if collection.pool else f"dense top {depth}",
        "dense": round(float(np.mean(list(base.values()))), 4),
    }
    for name in names:
        reranked, milliseconds, refused = rerank(collection, run, name)
        values = ndcg(collection, reranked)
        gains = [values[id_] - base[id_] for id_ in base]
        row[name] = {
            "nDCG@10": round(float(np.mean(list(values.values()))), 4),
            "gain": round(float(np.mean(gains)), 4),
            "gain_95": paired_interval(gains),
            "ms_per_query": round(milliseconds, 1),
            **({"queries_too_long": refused} if refused else {}),
        }
        print(f"{collection.name:20} {name:18} {row['dense']} -> {row[name]['nDCG@10']}", file=sys.stderr)  # type: ignore[index]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of collections in BEIR layout")
    parser.add_argument("--reranker", action="append", help="default: the shipped ones")
    parser.add_argument("--depth", type=int, default=20, help="candidates from the dense stage")
    parser.add_argument(
        "--limit", type=int, default=200, help="at most so many queries a collection (seeded sample)"
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "secondpass-quality")
    parser.add_argument("--only", action="append", help="a collection's name; repeatable")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    names = arguments.reranker or ["late-interaction", "late-interaction-1bit", "minilm-l6"]
    folders = sorted(path for path in arguments.data.iterdir() if (path / "corpus.jsonl").exists())
    if arguments.only:
        folders = [path for path in folders if path.name in arguments.only]
    rows = {
        path.name: measure(path, names, arguments.work, arguments.depth, arguments.limit) for path in folders
    }
    mean = {
        "dense": round(float(np.mean([row["dense"] for row in rows.values()])), 4),
        **{name: round(float(np.mean([row[name]["nDCG@10"] for row in rows.values()])), 4) for name in names},  # type: ignore[index]
    }
    name = "ranking_quality" if arguments.depth == 20 else f"ranking_quality_{arguments.depth}"
    print(
        write(
            name,
            {"depth": arguments.depth, "limit": arguments.limit, "mean": mean, "collections": rows},
        )
    )


if __name__ == "__main__":
    main()
