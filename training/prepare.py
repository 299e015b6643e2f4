"""Choose the pairs, mine hard negatives, and compute the frozen states: once, before any training.

python -m training.prepare --config training/configs/first.toml --base FOLDER [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from training.data import Pool, overlap, training_pool, validation_pool, words
from training.model import DEPTH, Encoder, load_encoder
from training.states import States, encode, tokenize

WORK = Path("training/work")
WEAK = ("win32_docs", "python_peps", "powershell_docs", "freecodecamp_guides")
VOCABULARY = 30522
OUTSIDE = -2.0  # instead of the cosine of a passage from another corpus
CORPUS = {  # sets whose passages could stand in one corpus
    **dict.fromkeys(("nq_qed", "clapnq", "boolq_dev"), "natural questions"),
    **dict.fromkeys(("squad11_dev", "squad2_dev_half"), "squad dev"),
}


def main() -> None:
    """Prepare training and validation data into ``training/work/<name of the config>``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument(
        "--base",
        type=Path,
        required=True,
        help="folder of all-MiniLM-L6-v2: model.safetensors, tokenizer.json",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--mine-only", action="store_true", help="states are there; choose negatives anew")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    folder = WORK / config["data"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    if options.mine_only:
        pool = training_pool(options.data, config["data"]["sets"], config["seed"])
        vectors = [States(folder / name).pooled for name in ("queries", "passages")]
        write_groups(pool, *vectors, config["data"], folder)
        return
    tokenizer = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoder = load_encoder(options.base)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.bfloat16()  # autocast would convert them anew for every batch
    prepare_training(encoder, tokenizer, config, options.data, folder)
    prepare_validation(encoder, tokenizer, config, options.data, folder)


def prepare_training(
    encoder: Encoder, tokenizer: Tokenizer, config: dict[str, Any], data: Path, folder: Path
) -> None:
    """Write the states of all queries and passages, and ``groups.npz``: query, positive, negatives."""
    settings, start = config["data"], time.time()
    pool = training_pool(data, settings["sets"], config["seed"])
    say(start, f"{len(pool.queries)} queries, {len(pool.passages)} passages")
    depth = DEPTH - config["model"]["trained_layers"]
    passage_ids = tokenize(tokenizer, pool.passages, settings["passage_tokens"])
    query_ids = tokenize(tokenizer, pool.queries, settings["query_tokens"])
    np.save(folder / "rarity.npy", rarity(passage_ids))
    queries = encode(encoder, query_ids, depth, folder / "queries")
    say(start, "queries encoded")
    passages = encode(encoder, passage_ids, depth, folder / "passages")
    say(start, f"passages encoded, {sum(map(len, passage_ids))} tokens")
    write_groups(pool, queries, passages, settings, folder)
    say(start, "negatives mined")


def write_groups(
    pool: Pool, queries: np.ndarray, passages: np.ndarray, settings: dict[str, Any], folder: Path
) -> None:
    """Write ``groups-pool.npz`` and ``groups-corpus.npz``: negatives from anywhere, or like the positive's.

    In one pool of all sets, a passage's style alone tells much about whether it belongs to a query of a given
    set. A real corpus gives no such hint, and neither do negatives from the same one.
    """
    facts: dict[str, Any] = {"queries": len(pool.queries), "passages": len(pool.passages)}
    corpora = np.unique(
        [CORPUS.get(name, name) for name in [*pool.source, *pool.passage_source]], return_inverse=True
    )[1]
    everywhere = np.zeros_like(corpora)
    for name, corpus in (("pool", everywhere), ("corpus", corpora)):
        sides = np.split(corpus, [len(pool.queries)])
        query, positive, negatives, ranks = mine(
            pool, (queries, passages), (sides[0], sides[1]), settings["dense_depth"], settings["negatives"]
        )
        np.savez(folder / f"groups-{name}.npz", query=query, positive=positive, negatives=negatives)
        facts[name] = {
            "pairs": len(query),
            "pairs_by_set": {
                each: int(sum(pool.source[at] == each for at in query)) for each in settings["sets"]
            },
            "positive_is_dense_top_1": float((ranks == 0).mean()),
            "in_top_20": float((ranks < 20).mean()),
        }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def mine(
    pool: Pool,
    vectors: tuple[np.ndarray, np.ndarray],
    corpora: tuple[np.ndarray, np.ndarray],
    depth: int,
    keep: int,
) -> tuple[np.ndarray, ...]:
    """Hard negatives: the dense top of the query's corpus, less what may be a positive nobody labelled.

    A pair whose positive stage 1 does not find within ``depth`` is dropped: no re-ranker would ever see it.
    """
    bags = [words(text) for text in pool.passages]
    found: list[tuple[int, int, list[int], int]] = []
    for start in range(0, len(vectors[0]), 1000):
        part = slice(start, start + 1000)
        cosines = vectors[0][part] @ vectors[1].T
        cosines[corpora[0][part, None] != corpora[1][None]] = OUTSIDE
        tops = np.argpartition(-cosines, depth, axis=1)[:, :depth]
        for row, top in enumerate(tops):
            order = top[np.argsort(-cosines[row, top])].tolist()
            for positive in set(pool.positives[start + row]) & set(order):
                negatives = plausible(pool, start + row, positive, order, cosines[row], bags)[:keep]
                if len(negatives) >= keep // 2:
                    found.append((start + row, positive, negatives, order.index(positive)))
    table = np.full((len(found), keep), -1, np.int32)
    for row, (_, _, negatives, _) in enumerate(found):
        table[row, : len(negatives)] = negatives
    columns = [np.array([each[at] for each in found], np.int32) for at in (0, 1, 3)]
    return columns[0], columns[1], table, columns[2]


def plausible(
    pool: Pool, query: int, positive: int, order: list[int], cosines: np.ndarray, bags: list[frozenset[str]]
) -> list[int]:
    """Those of ``order`` that may serve as negatives for this pair.

    Passages above the positive stay (they are what a re-ranker is for), unless far above it, and save in the
    weak heading sets, where many sections answer the same heading.
    """
    near = cosines[positive] * 0.97 if pool.source[query] in WEAK else cosines[positive] + 0.15
    return [
        each
        for each in order
        if each not in pool.positives[query]
        and OUTSIDE < cosines[each] <= near
        and (each in pool.negatives[query] or overlap(bags[each], bags[positive]) < 0.75)
    ]


def prepare_validation(
    encoder: Encoder, tokenizer: Tokenizer, config: dict[str, Any], data: Path, folder: Path
) -> None:
    """For each validation set: its queries, their dense top 20, the states of those, the relevant ones."""
    settings, start = config["validation"], time.time()
    depth = DEPTH - config["model"]["trained_layers"]
    for name in settings["sets"]:
        pool = validation_pool(data, name, settings["passages"], config["seed"])
        chosen = np.random.default_rng(config["seed"]).permutation(len(pool.queries))[: settings["queries"]]
        passage_ids = tokenize(tokenizer, pool.passages, settings["passage_tokens"])
        query_ids = tokenize(tokenizer, [pool.queries[each] for each in chosen], settings["query_tokens"])
        queries = encode(encoder, query_ids, depth, folder / f"{name}_queries")
        passages = encode(encoder, passage_ids)
        top = np.argsort(-queries @ passages.T, axis=1, kind="stable")[:, : settings["candidates"]]
        used = np.unique(top)
        encode(encoder, [passage_ids[each] for each in used], depth, folder / f"{name}_passages")
        relevant = np.array(
            [np.isin(row, pool.positives[query]) for row, query in zip(top, chosen, strict=True)]
        )
        np.savez(
            folder / f"{name}.validation.npz",
            top=np.searchsorted(used, top),
            relevant=relevant,
            total=[len(pool.positives[query]) for query in chosen],
        )
        texts = {
            "queries": [pool.queries[each] for each in chosen],
            "passages": [pool.passages[each] for each in used],
        }
        (folder / f"{name}.texts.json").write_text(json.dumps(texts))
        say(
            start,
            f"{name}: {len(chosen)} queries, {len(pool.passages)} passages, "
            f"relevant in top: {relevant.any(1).mean():.2f}",
        )


def rarity(passages: list[list[int]]) -> np.ndarray:
    """How rare each token is in the training passages: inverse document frequency in 0..1, (vocabulary,)."""
    count = np.zeros(VOCABULARY)
    for ids in passages:
        count[list(set(ids))] += 1
    return (np.log((len(passages) + 1) / (count + 1)) / np.log(len(passages) + 1)).astype(np.float32)


def say(start: float, text: str) -> None:
    """Print a line of progress with the seconds since ``start``."""
    print(f"[{time.time() - start:6.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
