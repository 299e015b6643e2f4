"""More ways to ask: the training questions as bare keywords, and two of them in one query.

python -m training.styles --config training/configs/fifth.toml --base FOLDER [--data ../shared/data]

People type keywords as often as questions, and ask for two things at once. Both are made of the questions
that are there; their passages stay the same, so only queries are encoded anew.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np

from training.data import WORD, WORK, Pool
from training.mining import WEAK, Groups, read_groups
from training.prepare import pool_of
from training.states import depths_of, encode, frozen, tokenize, whole_tokenizer

FUNCTION_WORDS = frozenset(
    WORD.findall(
        """
        a about after all also am an and any are as at be because been before being between both but by
        can could did do does doing during each even ever find for from get had has have having he her
        here him his how i if in into is it its just know like long many may me more most much must my
        no not of on one or other our out over people say she should so some such than that the their
        them then there these they this those through to under up us use used very was way we were what
        when where which while who whom whose why will with within would you your called name named tell
        true explain describe
        """
    )
)


def keywords(question: str) -> str | None:
    """The question without function words and marks; None where fewer than two words are left."""
    left = [word for word in WORD.findall(question.lower()) if word not in FUNCTION_WORDS]
    return " ".join(left) if len(left) >= 2 else None


def as_keywords(
    pool: Pool, groups: Groups, share: float, generator: np.random.Generator
) -> tuple[list[str], Groups]:
    """Some of the questions as keywords: texts, and groups whose ``query`` counts them from 0."""
    texts: list[str] = []
    rows: list[int] = []
    for row, query in enumerate(groups["query"]):
        if pool.source[query] in WEAK or generator.random() >= share:
            continue
        text = keywords(pool.queries[query])
        if text is not None:
            rows.append(row)
            texts.append(text)
    return texts, {
        "query": np.arange(len(rows), dtype=np.int32),
        "positive": groups["positive"][rows],
        "negatives": groups["negatives"][rows],
        "source": groups["source"][rows],
    }


def in_pairs(
    pool: Pool, groups: Groups, count: int, generator: np.random.Generator
) -> tuple[list[str], Groups]:
    """Two questions of one set in one query: the first's passage is wanted, the second's is no negative.

    The negatives of both take turns, so that meeting half of the query is not enough to come first.
    """
    by_set: dict[str, list[int]] = {}
    for row, query in enumerate(groups["query"]):
        if pool.source[query] not in WEAK:
            by_set.setdefault(pool.source[query], []).append(row)
    names = sorted(by_set)
    weights = np.array([len(by_set[name]) for name in names], dtype=float)
    texts: list[str] = []
    rows, negatives = [], []
    width = groups["negatives"].shape[1]
    while len(texts) < count:
        name = names[generator.choice(len(names), p=weights / weights.sum())]
        first, second = (int(each) for each in generator.choice(by_set[name], 2))
        asked = [int(groups["query"][each]) for each in (first, second)]
        if asked[0] == asked[1]:
            continue
        answers = {*pool.positives[asked[0]], *pool.positives[asked[1]]}
        both = np.stack([groups["negatives"][first], groups["negatives"][second]], 1).ravel()
        kept = [int(each) for each in dict.fromkeys(both.tolist()) if each >= 0 and each not in answers][
            :width
        ]
        halves = [pool.queries[each] for each in asked]
        texts.append(" ".join(halves if generator.random() < 0.5 else halves[::-1]))
        rows.append(first)
        negatives.append(kept + [-1] * (width - len(kept)))
    return texts, {
        "query": np.arange(count, dtype=np.int32),
        "positive": groups["positive"][rows],
        "negatives": np.array(negatives, dtype=np.int32),
        "source": groups["source"][rows],
    }


def main() -> None:
    """Write ``queries-styles`` and ``groups-styles.npz`` beside the prepared data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    folder, settings = WORK / config["data"]["name"], config["styles"]
    pool = pool_of(config, options.data)
    groups = read_groups(folder, settings["of"])
    generator = np.random.default_rng([config["seed"], 5])
    texts, parts = list(pool.queries), [groups]
    for more, added in (
        as_keywords(pool, groups, settings["keywords"], generator),
        in_pairs(pool, groups, settings["pairs"], generator),
    ):
        parts.append({**added, "query": added["query"] + len(texts)})
        texts += more
        print(f"{len(more)} more queries, such as: {more[:3]}", flush=True)
    tokenizer = whole_tokenizer(options.base)
    ids = tokenize(tokenizer, texts, config["data"]["query_tokens"])
    encode(frozen(), ids, depths_of(config, deeper=False), folder / "queries-styles")
    np.savez(
        folder / "groups-styles.npz",
        **{name: np.concatenate([part[name] for part in parts]) for name in groups},
    )


if __name__ == "__main__":
    main()
