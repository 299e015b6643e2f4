"""Could cheap first layers drop the hopeless candidates?

    python benchmarks/progressive.py --data ../shared/data/collections [--queries 40]

Of 100 candidates only those kept at a depth would be read on: how often is the top 3 still the same?
The cheap score at a depth is the residual of the re-ranker there: its weights of cosine and max-sim,
on that depth's states. It was not trained as an exit. Needs the test collections beside the checkout.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from common import HERE, write
from secondpass import MiniLMEmbedder
from secondpass.checkpoints import weights_of
from secondpass.inference import mean_states, unit
from secondpass.models import resolve
from secondpass.native import best_cosines
from secondpass.reranking.residual import ResidualScorer
from secondpass.tokenizing import load_tokenizer, pair_frame

COLLECTIONS = ("med", "cranfield", "cisi")
KEPT = (75, 50, 30)
DEPTHS = (0, 3, 4, 5)
"""0 stands for stage 1's own score, which costs nothing: the same as asking for fewer candidates."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "collections")
    options = parser.parse_args()
    folder = resolve("minilm-l6")
    tokenizer = load_tokenizer(folder)
    scorer, frame = ResidualScorer(weights_of(folder.weights())), pair_frame(tokenizer)
    found = {
        name: agreement(options.data / name, options.queries, scorer, tokenizer, frame)
        for name in COLLECTIONS
    }
    write("progressive", {"queries": options.queries, "candidates": 100, "collections": found})
    print(json.dumps(found, indent=1))


def agreement(root: Path, count: int, scorer: Any, tokenizer: Any, frame: Any) -> dict[str, Any]:
    """Mean share of the full top 3 that survives, for each depth and number kept."""
    texts = [f"{row['title']} {row['text']}"[:2000] for row in lines(root / "corpus.jsonl")]
    with (root / "qrels" / "test.tsv").open() as stream:
        judged = {row[0] for row in csv.reader(stream, delimiter="\t")}
    queries = [row["text"] for row in lines(root / "queries.jsonl") if row["_id"] in judged][:count]
    embedder = MiniLMEmbedder()
    cosines = embedder.embed_queries(queries) @ embedder.embed_passages(texts).T
    survived: dict[str, list[float]] = {}
    for query, row in zip(queries, cosines, strict=True):
        places = np.argsort(-row)[:100]
        ids = tokenizer.encode(query, add_special_tokens=False).ids
        rows = [
            frame.around(ids, tokenizer.encode(texts[place], add_special_tokens=False).ids[:400])
            for place in places
        ]
        cheap = {0: row[places], **at_depths(scorer, rows)}
        best = set(np.argsort(-scorer.logits(rows))[:3].tolist())
        for depth in DEPTHS:
            order = np.argsort(-cheap[depth]).tolist()
            for kept in KEPT:
                share = len(best & set(order[:kept])) / 3
                survived.setdefault(f"depth {depth}, {kept} kept", []).append(share)
    return {
        key: {
            "top 3 kept": round(float(np.mean(each)), 4),
            "unchanged": round(float(np.mean(np.array(each) == 1)), 4),
        }
        for key, each in survived.items()
    }


def at_depths(scorer: Any, rows: list[Any]) -> dict[int, Any]:
    """Cheap scores of all rows at each depth."""
    length = rows[0].types.count(0)
    encoder = scorer._encoder
    query = [type(rows[0])(rows[0].ids[:length], [0] * length)]
    passages = [type(row)(row.ids[length:], [0] * (len(row.ids) - length)) for row in rows]
    words = np.array([each not in (101, 102) for each in query[0].ids])
    states, starts = encoder.embed(passages)
    own, own_starts = encoder.embed(query)
    scores = {}
    for depth, layer in enumerate(encoder.layers, start=1):
        layer(states, starts)
        layer(own, own_starts)
        if depth in DEPTHS:
            sums, best = best_cosines(states, starts, unit(own)[words])
            vector = unit(mean_states(own, own_starts))[0]
            scores[depth] = scorer._cosine * (unit(sums) @ vector) + scorer._maxsim * best.mean(axis=1)
    return scores


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


if __name__ == "__main__":
    main()
