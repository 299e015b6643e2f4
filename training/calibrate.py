"""Fit scale and bias (Platt): the sigmoid of a logit then reads as a probability; the ranking stays.

    python -m training.calibrate --config training/configs/first.toml --model training/work/first/model

Fitted on the validation candidates, every set counting the same. What comes out is the chance that a
candidate of the dense top 20 is labelled relevant there; other collections have other shares of relevance.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from secondpass.reranking import CrossEncoder
from training.data import WORK
from training.validate import ValidationSet


def main() -> None:
    """Write ``calibration.json`` beside the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="a model folder that training.export wrote")
    parser.add_argument("--queries", type=int, help="only so many of each validation set")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    data, reranker = WORK / config["data"]["name"], CrossEncoder(options.model)
    logits, labels, weights = [], [], []
    for name in config["validation"]["sets"]:
        each = ValidationSet(data, name, options.queries)
        scores = [reranker.score(query, texts) for query, texts in each.pairs()]
        logits.append(torch.from_numpy(np.concatenate(scores)))
        labels.append(torch.from_numpy(each.relevant).flatten().float())
        weights.append(torch.full_like(labels[-1], 1 / len(labels[-1])))
    found = fit(torch.cat(logits).double(), torch.cat(labels).double(), torch.cat(weights).double())
    options.model.with_name("calibration.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found))


def fit(logits: Tensor, labels: Tensor, weights: Tensor) -> dict[str, float]:
    """Scale and bias that minimise the weighted cross-entropy, and what it is then and for a constant."""
    parameters = torch.zeros(2, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")
    spread = logits.std()

    def loss() -> Tensor:
        scaled = parameters[0].exp() * (logits - logits.mean()) / spread + parameters[1]
        return binary_cross_entropy_with_logits(scaled, labels, weights, reduction="sum") / weights.sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    scale = float(parameters[0].detach().exp() / spread)
    bias = float(parameters[1].detach()) - scale * float(logits.mean())
    share = float((labels * weights).sum() / weights.sum())
    return {
        "scale": scale,
        "bias": bias,
        "cross_entropy": float(loss().detach()),
        "share_relevant": share,
        "cross_entropy_of_the_share": -(share * np.log(share) + (1 - share) * np.log(1 - share)),
    }


if __name__ == "__main__":
    main()
