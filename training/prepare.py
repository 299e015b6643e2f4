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
from tokenizers import Tokenizer

from training.data import WORK, Pool, set_of, training_pool, validation_pool
from training.mining import Side, mine
from training.states import Encoder, States, depths_of, encode, frozen, tokenize, whole_tokenizer

VOCABULARY = 30522
CORPUS = {  # sets whose passages could stand in one corpus
    **dict.fromkeys(("nq_qed", "clapnq", "boolq_dev"), "natural questions"),
    **dict.fromkeys(("squad11_dev", "squad2_dev_half"), "squad dev"),
}
STAGES = (  # groups; whether all sets are one corpus; who finds the negatives
    ("pool", True, ("dense",)),
    ("corpus", False, ("dense",)),
    ("lexical", False, ("bm25",)),
    ("hybrid", False, ("dense", "bm25")),
)


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
    if options.mine_only:
        pool = pool_of(config, options.data)
        write_groups(pool, config["data"], folder)
        return
    tokenizer = whole_tokenizer(options.base)
    encoder = frozen()
    prepare_training(encoder, tokenizer, config, options.data, folder)
    prepare_validation(encoder, tokenizer, config, options.data, folder)


def pool_of(config: dict[str, Any], data: Path) -> Pool:
    """The training queries and passages that a config asks for."""
    settings = config["data"]
    return training_pool(data, settings["sets"], config["seed"], settings.get("held_out"))


def prepare_training(
    encoder: Encoder, tokenizer: Tokenizer, config: dict[str, Any], data: Path, folder: Path
) -> None:
    """Write the states of all queries and passages, and ``groups.npz``: query, positive, negatives."""
    settings, start = config["data"], time.time()
    pool = pool_of(config, data)
    say(start, f"{len(pool.queries)} queries, {len(pool.passages)} passages")
    passage_ids = tokenize(tokenizer, pool.passages, settings["passage_tokens"])
    query_ids = tokenize(tokenizer, pool.queries, settings["query_tokens"])
    np.save(folder / "rarity.npy", rarity(passage_ids))
    encode(encoder, query_ids, depths_of(config, deeper=False), folder / "queries")
    say(start, "queries encoded")
    deeper = depths_of(config, settings.get("deeper", False))
    encode(encoder, passage_ids, deeper, folder / "passages")
    say(start, f"passages encoded, {sum(map(len, passage_ids))} tokens")
    write_groups(pool, settings, folder)
    say(start, "negatives mined")


def write_groups(pool: Pool, settings: dict[str, Any], folder: Path) -> None:
    """Write the groups: ``pool`` and ``corpus`` of dense search, ``lexical`` of BM25, ``hybrid`` of both.

    In one pool of all sets, a passage's style alone tells much about whether it belongs to a query of a given
    set. A real corpus gives no such hint, and neither do negatives from the same one.
    """
    facts: dict[str, Any] = {"queries": len(pool.queries), "passages": len(pool.passages)}
    sets = [
        [CORPUS.get(set_of(name), set_of(name)) for name in each]
        for each in (pool.source, pool.passage_source)
    ]
    names = sorted({*sets[0], *sets[1]})
    saved = [States(folder / name) for name in ("queries", "passages")]
    wanted = settings.get("groups", [name for name, _, _ in STAGES])
    for name, one, stages in (each for each in STAGES if each[0] in wanted):
        sides = [
            Side(kept.pooled, kept.texts(), np.array([0 if one else names.index(each) for each in own]))
            for kept, own in zip(saved, sets, strict=True)
        ]
        groups, ranks = mine(pool, *sides, settings["dense_depth"], settings["negatives"], stages)
        source = np.array([list(settings["sets"]).index(pool.source[at]) for at in groups["query"]])
        np.savez(folder / f"groups-{name}.npz", **groups, source=source)
        facts[name] = {
            "pairs": len(ranks),
            "pairs_by_set": {
                each: int(sum(pool.source[at] == each for at in groups["query"])) for each in settings["sets"]
            },
            "positive_is_dense_top_1": float((ranks == 0).mean()),
            "in_dense_top_20": float(((ranks >= 0) & (ranks < 20)).mean()),
        }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def prepare_validation(
    encoder: Encoder, tokenizer: Tokenizer, config: dict[str, Any], data: Path, folder: Path
) -> None:
    """For each validation set: its queries, their dense top 20, the states of those, the relevant ones."""
    settings, start = config["validation"], time.time()
    for name in settings["sets"]:
        share = config["data"].get("held_out", {}).get(set_of(name), 1.0)
        pool, asked = validation_pool(data, name, settings["passages"], config["seed"], share)
        order = np.random.default_rng(config["seed"]).permutation(len(asked))[: settings["queries"]]
        chosen = np.array(asked)[order]
        passage_ids = tokenize(tokenizer, pool.passages, settings["passage_tokens"])
        query_ids = tokenize(tokenizer, [pool.queries[each] for each in chosen], settings["query_tokens"])
        own = depths_of(config, deeper=False)
        queries = encode(encoder, query_ids, own, folder / f"{name}_queries")
        passages = encode(encoder, passage_ids)
        top = np.argsort(-queries @ passages.T, axis=1, kind="stable")[:, : settings["candidates"]]
        used = np.unique(top)
        read = [passage_ids[each] for each in used]
        deeper = depths_of(config, config["data"].get("deeper", False))
        encode(encoder, read, deeper, folder / f"{name}_passages")
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
