"""Groups with passages that repeat the question and do not answer it: a heading is no answer.

    python -m training.echoes --config training/configs/fifteenth.toml --base FOLDER [--data ../shared/data]

No training set holds them, and every corpus does: a table of contents, a list of questions, a page whose
title asks what its text does not say. They are made of the questions and the passages that are there. Lest a
repeated question become a mark against a passage, some of the answers get it before them too. Writes
``passages-echoes`` and ``groups-echoes.npz``; passages of a group that are not among those of ``prepare``
count on from their end.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from training.data import WORK, Pool
from training.mining import WEAK, Groups, read_groups
from training.prepare import pool_of
from training.states import States, depths_of, encode, frozen, tokenize, whole_tokenizer

LEADS = (
    "",
    "Frequently asked questions:",
    "Find the answer to this question and many more:",
    "In this section you will learn",
    "Related questions:",
    "Contents",
)
OTHERS = 12  # nearest questions that echoes are put together from
TOO_NEAR = 0.9  # cosine of questions that may ask the same


def echoes(
    question: str, others: list[str], wrong: list[str], generator: np.random.Generator
) -> tuple[str, str, str]:
    """A list of questions with this one, one without it, and the question before a wrong passage.

    Args:
        question: the one that is asked.
        others: questions near it, at least three.
        wrong: passages that do not answer it, at least one.
        generator: of what is drawn.
    """

    def listed(texts: list[str]) -> str:
        order = generator.permutation(len(texts))
        return " ".join([LEADS[generator.integers(len(LEADS))], *(texts[each] for each in order)]).strip()

    def some(count: int) -> list[str]:
        return [others[each] for each in generator.choice(len(others), count, replace=False)]

    return (
        listed([question, *some(int(generator.integers(3)))]),
        listed(some(int(generator.integers(1, 4)))),
        f"{question} {wrong[generator.integers(len(wrong))]}",
    )


def echoing(
    pool: Pool, groups: Groups, vectors: np.ndarray, count: int, headed: float, generator: np.random.Generator
) -> tuple[list[str], Groups]:
    """New passages, and groups of which some negatives and answers are among them.

    Args:
        pool: the texts.
        groups: of ``mine``.
        vectors: of the queries, (n, width), unit length.
        count: how many groups.
        headed: share of the groups whose answer has the question before it.
        generator: of all that is drawn.
    """
    asked = np.array([row for row, query in enumerate(groups["query"]) if pool.source[query] not in WEAK])
    real = np.array([at for at, source in enumerate(pool.source) if source not in WEAK])
    among = vectors[real]
    rows = np.sort(generator.permutation(asked)[:count])
    texts: list[str] = []
    table = groups["negatives"][rows].copy()
    positive = groups["positive"][rows].copy()
    for place, row in enumerate(rows.tolist()):
        query = int(groups["query"][row])
        cosines = among @ vectors[query]
        cosines[cosines > TOO_NEAR] = -1.0
        others = [pool.queries[real[each]] for each in np.argpartition(-cosines, OTHERS)[:OTHERS]]
        wrong = [pool.passages[each] for each in table[place][:10].tolist() if each >= 0]
        first = len(pool.passages) + len(texts)
        texts += echoes(pool.queries[query], others, wrong, generator)
        known = table[place]
        table[place] = [first, first + 1, first + 2, *known[:-3]]
        if generator.random() < headed:
            texts.append(f"{pool.queries[query]} {pool.passages[positive[place]]}")
            positive[place] = len(pool.passages) + len(texts) - 1
    return texts, {
        "query": groups["query"][rows],
        "positive": positive,
        "negatives": table,
        "source": groups["source"][rows],
    }


def main() -> None:
    """Write the passages' states and the groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    config: dict[str, Any] = tomllib.loads(options.config.read_text())
    folder, settings = WORK / config["data"]["name"], config["echoes"]
    pool = pool_of(config, options.data)
    groups = read_groups(folder, "corpus")
    generator = np.random.default_rng([config["seed"], 8])
    vectors = States(folder / "queries").pooled
    texts, found = echoing(pool, groups, vectors, settings["groups"], settings["headed"], generator)
    tokenizer = whole_tokenizer(options.base)
    ids = tokenize(tokenizer, texts, config["data"]["passage_tokens"])
    encode(frozen(), ids, depths_of(config, config["data"].get("deeper", False)), folder / "passages-echoes")
    np.savez(folder / "groups-echoes.npz", **found)
    print(f"{len(texts)} passages for {len(found['query'])} groups, such as:", *texts[:4], sep="\n  ")


if __name__ == "__main__":
    main()
