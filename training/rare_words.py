"""A trial: minilm-l6's logit plus how much of the query's rare words the passage holds.

    python -m training.rare_words [--data ../shared/data] [--queries 100]

Where no passage meets a query whole, minilm-l6 puts what fits all but the name before what fits the name
alone. So each logit gets ``weight * coverage``: the share of the query's rare words that stand in the
passage, each counted by its inverse document frequency in the collection; rare are those with at least
``threshold`` times the idf of the query's rarest. Prints nDCG@10 on the validation sets, by weight and
threshold. Needs no states, only the package.
"""

from __future__ import annotations

import argparse
import math
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secondpass.embedding import MiniLMEmbedder
from secondpass.reranking import load_reranker
from training.data import validation_pool

CONFIG = Path(__file__).parent / "configs" / "fifth.toml"
WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
THRESHOLDS = (0.0, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Asked:
    """One query: its candidates' logits, which are relevant (n,), how many are, its idf, their words."""

    logits: np.ndarray
    relevant: np.ndarray
    total: int
    idf: Mapping[str, float]
    words: list[frozenset[str]]

    def ndcg(self, weight: float, threshold: float) -> float:
        """NDCG@10 of the candidates ordered by logit plus weighted coverage."""
        scores = self.logits + weight * np.array([coverage(self.idf, each, threshold) for each in self.words])
        discount = 1 / np.log2(np.arange(2, 12))
        order = np.argsort(-scores, kind="stable")[:10]
        gain = (self.relevant[order] * discount[: len(order)]).sum()
        return float(gain / discount[: min(10, self.total)].sum())


def words_of(text: str) -> frozenset[str]:
    """The text's words, lower case, each once."""
    return frozenset(re.findall(r"\w+", text.lower()))


def coverage(idf: Mapping[str, float], passage: Collection[str], threshold: float) -> float:
    """Share of the query's rare words, by idf, that stand in the passage: 0 to 1.

    Args:
        idf: of each word of the query.
        passage: its words.
        threshold: words below this share of the highest idf do not count; 0 to 1.
    """
    floor = threshold * max(idf.values(), default=0.0)
    rare = {word: value for word, value in idf.items() if value >= floor and value > 0}
    return sum(value for word, value in rare.items() if word in passage) / sum(rare.values()) if rare else 0.0


def asked(
    data: Path, name: str, settings: Mapping[str, Any], seed: int, queries: int, embedder: MiniLMEmbedder
) -> Iterator[Asked]:
    """Read one validation set: its queries with their dense top candidates, scored by minilm-l6."""
    reranker = load_reranker("minilm-l6")
    pool, places = validation_pool(data, name, settings["passages"], seed)
    order = np.random.default_rng(seed).permutation(len(places))[:queries]
    vectors = embedder.embed_passages(pool.passages)
    bags = [words_of(text) for text in pool.passages]
    frequency = Counter(word for bag in bags for word in bag)
    for place in np.array(places)[order].tolist():
        query = pool.queries[place]
        cosines = vectors @ embedder.embed_queries([query])[0]
        top = np.argsort(-cosines, kind="stable")[: settings["candidates"]].tolist()
        yield Asked(
            np.asarray(reranker.score(query, [pool.passages[each] for each in top]), dtype=float),
            np.isin(top, pool.positives[place]).astype(float),
            len(pool.positives[place]),
            {word: math.log((len(bags) + 1) / (frequency[word] + 0.5)) for word in words_of(query)},
            [bags[each] for each in top],
        )


def main() -> None:
    """Print a line a set and setting, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--queries", type=int, default=100, help="of each set")
    options = parser.parse_args()
    config = tomllib.loads(CONFIG.read_text())
    tried = [(0.0, 0.0), *((weight, threshold) for threshold in THRESHOLDS for weight in WEIGHTS)]
    embedder, table = MiniLMEmbedder(), []
    for name in config["validation"]["sets"]:
        rows = list(
            asked(options.data, name, config["validation"], config["seed"], options.queries, embedder)
        )
        table.append([np.mean([row.ndcg(*each) for row in rows]) for each in tried])
        print(name, *(f"{value:.4f}" for value in table[-1]), flush=True)
    for (weight, threshold), value in zip(tried, np.mean(table, axis=0), strict=True):
        print(f"threshold {threshold:.1f}  weight {weight:.2f}  {value:.4f}")


if __name__ == "__main__":
    main()
