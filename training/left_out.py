"""Groups without the answer: what holds the query's rare words before what fits all but those.

    python -m training.left_out --config training/configs/fourteenth.toml [--data ../shared/data]

A labelled answer meets its query whole, so nothing tells a model what to put first where no passage does: the
one about the name, or those that fit every word but the name. Such groups are made of those that are there:
the answer is left out, a passage with all the rare words is wanted, those with none of them are not. Writes
``groups-left.npz`` beside the prepared data; the queries and the passages stay the same.
"""

from __future__ import annotations

import argparse
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from secondpass.tuning.alike import NEAR_COPY, overlap
from training.data import WORK, Pool
from training.mining import WEAK, Groups, read_groups
from training.prepare import pool_of
from training.rare_words import coverage, words_of
from training.word_table import RARE

HELD, MISSING = 0.99, 0.01  # shares of the rare words, by idf


def left_out(pool: Pool, groups: Groups, fewest: int) -> Groups:
    """Return a group for each that has a passage with the query's rare words beside its answer.

    Args:
        pool: the texts.
        groups: of ``mine``.
        fewest: negatives without any rare word that a group must have.
    """
    bags = [words_of(text) for text in pool.passages]
    count = Counter(word for bag in bags for word in bag)
    kept: list[tuple[int, int]] = []
    table = np.full(groups["negatives"].shape, -1, np.int32)
    for row, query in enumerate(groups["query"].tolist()):
        if pool.source[query] in WEAK:
            continue
        idf = {
            word: math.log((len(bags) + 1) / (count[word] + 0.5)) for word in words_of(pool.queries[query])
        }
        others = [each for each in groups["negatives"][row].tolist() if each >= 0]
        met = {each: coverage(idf, bags[each], RARE) for each in others}
        wanted = [each for each in others if met[each] >= HELD]
        missing = [each for each in others if met[each] <= MISSING]
        if not wanted or len(missing) < fewest:
            continue
        answers = [bags[each] for each in pool.positives[query]]
        wanted = [each for each in wanted if all(overlap(bags[each], bag) < NEAR_COPY for bag in answers)]
        if wanted:
            table[len(kept), : len(missing)] = missing
            kept.append((row, wanted[0]))
    rows = np.array([row for row, _ in kept], dtype=np.int64)
    return {
        "query": groups["query"][rows],
        "positive": np.array([each for _, each in kept], dtype=np.int32),
        "negatives": table[: len(kept)],
        "source": groups["source"][rows],
    }


def main() -> None:
    """Write ``groups-left.npz``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    config: dict[str, Any] = tomllib.loads(options.config.read_text())
    folder = WORK / config["data"]["name"]
    pool = pool_of(config, options.data)
    groups = read_groups(folder, "corpus")
    found = left_out(pool, groups, config["train"]["hard_negatives"])
    np.savez(folder / "groups-left.npz", **found)
    print(f"{len(found['query'])} groups of {len(groups['query'])}")
    for row in np.random.default_rng(config["seed"]).permutation(len(found["query"]))[:3]:
        print(pool.queries[found["query"][row]], "->", pool.passages[found["positive"][row]][:200])


if __name__ == "__main__":
    main()
