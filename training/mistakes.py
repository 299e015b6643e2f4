"""Hard negatives by the model itself: what it puts near or above the right answer.

python -m training.mistakes --config training/configs/thirteenth.toml --model training/work/first/best.pt

reads the groups of a first stage (``groups-styles.npz``) and writes ``groups-model.npz``: some of them, with
their negatives in the order in which that model puts them.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.average import weights_of
from training.data import WORK
from training.mining import Groups, read_groups
from training.model import Batch, Reranker, fast_products, shape_of
from training.states import KeptTower, States

ABOVE = 2.0  # so far above the positive, in logits, a passage may well be an answer that nobody labelled


@torch.inference_mode()
def by_model(
    model: Reranker, groups: Groups, rows: np.ndarray, data: Path, settings: dict[str, Any]
) -> Groups:
    """Return some groups with their negatives in the model's order, less those that seem to be answers.

    Args:
        model: the one that is to learn from its own mistakes.
        groups: of ``mine``.
        rows: which of them.
        data: folder of the states.
        settings: of the run that is to learn from them: which queries, how much of a passage is read.
    """
    queries, passages = States(data / settings.get("queries", "queries")), States(data / "passages")
    rarity = torch.from_numpy(np.load(data / "rarity.npy"))
    kept: list[int] = []
    table = np.full((len(rows), groups["negatives"].shape[1]), -1, np.int32)
    for row in rows:
        negatives = groups["negatives"][row]
        negatives = negatives[negatives >= 0]
        chosen = [groups["positive"][row], *negatives]
        owner = torch.zeros(len(chosen), dtype=torch.long)
        batch = Batch(
            *queries.batch([groups["query"][row]]),
            *passages.batch(np.array(chosen), settings["passage_limit"]),
            owner,
        )
        with fast_products():
            logits = model(batch, rarity)[0].float().numpy()
        order = 1 + np.argsort(-logits[1:], kind="stable")
        order = order[logits[order] <= logits[0] + ABOVE]
        if len(order) >= len(negatives) // 2:
            table[len(kept), : len(order)] = negatives[order - 1]
            kept.append(row)
    return {
        "query": groups["query"][kept],
        "positive": groups["positive"][kept],
        "negatives": table[: len(kept)],
        "source": groups["source"][kept],
    }


def main() -> None:
    """Write ``groups-model.npz``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="weights of the current model")
    parser.add_argument("--of", default="styles", help="which groups: groups-NAME.npz")
    parser.add_argument("--groups", type=int, default=20_000, help="how many are read, drawn by the seed")
    options = parser.parse_args()
    torch.set_num_threads(2)
    config: dict[str, Any] = tomllib.loads(options.config.read_text())
    model = Reranker(*shape_of(config)).requires_grad_(False)
    model.load_state_dict(weights_of(options.model))
    model.tower = KeptTower(model.tower)
    data = WORK / config["data"]["name"]
    groups = read_groups(data, options.of)
    count = min(options.groups, len(groups["query"]))
    rows = np.sort(np.random.default_rng([config["seed"], 6]).permutation(len(groups["query"]))[:count])
    found = by_model(model, groups, rows, data, config["train"])
    np.savez(data / "groups-model.npz", **found)
    print(f"{len(found['query'])} of {count} groups kept")


if __name__ == "__main__":
    main()
