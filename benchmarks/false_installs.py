"""How often `secondpass train` would install weights that are no better.

    python benchmarks/false_installs.py --data ../shared/data/collections

Queries of judged collections in BEIR layout are ranked by two shipped re-rankers (dense top 20). Their
differences in nDCG@10, query by query, each with the sign of a coin, are what two re-rankers of equal worth
would show; the rule looks at 20, 40, 60 and 100 of them. `interval` is the rule without its second half, the
randomisation test. `better` is the same with the signs as they are, from late-interaction to minilm-l6, whose
mean lies above 0: how often a gain of that size is seen. Needs the extras `bench` and `eval`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ranking_quality import Collection, candidates, ndcg, rerank

from common import write
from secondpass.embedding import MiniLMEmbedder
from secondpass.evaluation.significance import paired
from secondpass.tuning.concluding import beyond_chance

HELD_OUT = (20, 40, 60, 100)
PAIRS = {
    "few queries differ": ("late-interaction", "late-interaction-1bit"),
    "most queries differ": ("late-interaction", "minilm-l6"),
}
SEED = 20261123


def differences(data: Path, work: Path, limit: int) -> dict[str, np.ndarray]:
    """Return, for each of ``PAIRS``, the second's nDCG@10 less the first's, of all collections' queries."""
    found: dict[str, list[float]] = {name: [] for name in PAIRS}
    for folder in sorted(path for path in data.iterdir() if (path / "corpus.jsonl").exists()):
        collection = Collection(folder, limit)
        if collection.pool is not None:
            continue
        run = candidates(collection, MiniLMEmbedder(), work, 20)
        values = {
            name: ndcg(collection, rerank(collection, run, name)[0])
            for name in {each for pair in PAIRS.values() for each in pair}
        }
        for name, (first, second) in PAIRS.items():
            found[name] += [values[second][query] - values[first][query] for query in values[first]]
        print(folder.name, len(run), flush=True)
    return {name: np.array(each) for name, each in found.items()}


def shares(values: np.ndarray, count: int, draws: int, by_chance: bool) -> dict[str, float]:
    """Return how often ``count`` differences are taken for a gain, by the rule and by its first half."""
    generator = np.random.default_rng([SEED, count])
    said = np.zeros(2)
    for draw in range(draws):
        drawn = generator.choice(values, count, replace=False)
        if by_chance:
            drawn = drawn * generator.choice([-1, 1], count)
        told = paired(drawn, np.zeros(count), seed=draw)
        said += [beyond_chance(told) and told.difference > 0, told.low > 0]
    return dict(zip(("rule", "interval"), (said / draws).round(4).tolist(), strict=True))


def main() -> None:
    """Write ``false_installs.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of collections in BEIR layout")
    parser.add_argument("--limit", type=int, default=200, help="at most so many queries a collection")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "secondpass-quality")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found = differences(options.data, options.work, options.limit)
    rows = {
        name: {
            "queries": len(values),
            "that_differ": int((values != 0).sum()),
            "mean_difference": round(float(values.mean()), 4),
            "equal": {count: shares(values, count, options.draws, True) for count in HELD_OUT},
        }
        for name, values in found.items()
    }
    real = found["most queries differ"]
    better = {count: shares(real, count, options.draws, False) for count in HELD_OUT}
    print(write("false_installs", {"draws": options.draws, "pairs": rows, "better": better}))


if __name__ == "__main__":
    main()
