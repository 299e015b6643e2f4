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
from training.states import encode, tokenize

WORK = Path("training/work")
WEAK = ("win32_docs", "python_peps", "powershell_docs", "freecodecamp_guides")
VOCABULARY = 30522


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
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    folder = WORK / config["data"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
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
    query, positive, negatives, ranks = mine(
        pool, queries, passages, settings["dense_depth"], settings["negatives"]
    )
    np.savez(folder / "groups.npz", query=query, positive=positive, negatives=negatives)
    by_set = {name: int(sum(pool.source[each] == name for each in query)) for name in settings["sets"]}
    facts = {
        "pairs": len(query),
        "pairs_by_set": by_set,
        "queries": len(pool.queries),
        "passages": len(pool.passages),
        "passage_tokens": sum(map(len, passage_ids)),
        "positive_is_dense_top_1": float((ranks == 0).mean()),
        "in_top_20": float((ranks < 20).mean()),
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    say(start, json.dumps(facts))


def mine(
    pool: Pool, queries: np.ndarray, passages: np.ndarray, depth: int, keep: int
) -> tuple[np.ndarray, ...]:
    """Hard negatives: the dense top of the whole pool, less what may be a positive nobody labelled.

    A pair whose positive stage 1 does not find within ``depth`` is dropped: no re-ranker would ever see it.
    Passages above the positive are kept as negatives (they are what a re-ranker is for), except in the weak
    heading sets, where many sections answer the same heading.
    """
    bags = [words(text) for text in pool.passages]
    found: list[tuple[int, int, list[int], int]] = []
    for start in range(0, len(queries), 1000):
        cosines = queries[start : start + 1000] @ passages.T
        tops = np.argpartition(-cosines, depth, axis=1)[:, :depth]
        for row, top in enumerate(tops):
            query = start + row
            order = top[np.argsort(-cosines[row, top])].tolist()
            for positive in pool.positives[query]:
                if positive not in order:
                    continue
                limit = (
                    cosines[row, positive] * 0.97
                    if pool.source[query] in WEAK
                    else cosines[row, positive] + 0.15
                )
                negatives = [
                    each
                    for each in order
                    if each not in pool.positives[query]
                    and cosines[row, each] <= limit
                    and (each in pool.negatives[query] or overlap(bags[each], bags[positive]) < 0.75)
                ]
                if len(negatives) >= keep // 2:
                    found.append((query, positive, negatives[:keep], order.index(positive)))
    table = np.full((len(found), keep), -1, np.int32)
    for row, (_, _, negatives, _) in enumerate(found):
        table[row, : len(negatives)] = negatives
    columns = [np.array([each[at] for each in found], np.int32) for at in (0, 1, 3)]
    return columns[0], columns[1], table, columns[2]


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
