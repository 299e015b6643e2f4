"""The model of the recipe, which ``secondpass train`` shares: see ``secondpass.tuning``."""

from typing import Any

from secondpass.tuning.layers import (
    DEPTH,
    HEAD_WIDTH,
    HEADS,
    MASKED,
    WIDTH,
    Encoder,
    Layer,
    Tower,
    additive,
    attend,
    fast_products,
    load_encoder,
    mean_pool,
    pieces,
    pooled,
    renamed,
)
from secondpass.tuning.model import (
    FEATURES,
    Batch,
    JointBranch,
    Reranker,
    all_maxsim,
    match_features,
    mean_maxsim,
    new_reranker,
    word_mask,
)

__all__ = [
    "DEPTH",
    "FEATURES",
    "HEADS",
    "HEAD_WIDTH",
    "MASKED",
    "WIDTH",
    "Batch",
    "Encoder",
    "JointBranch",
    "Layer",
    "Reranker",
    "Tower",
    "additive",
    "all_maxsim",
    "attend",
    "fast_products",
    "load_encoder",
    "match_features",
    "mean_maxsim",
    "mean_pool",
    "new_reranker",
    "pieces",
    "pooled",
    "renamed",
    "shape_of",
    "word_mask",
]


def shape_of(config: dict[str, Any]) -> tuple[int, bool]:
    """How many joint layers a run's model has, and whether in them the passage reads the query too."""
    return config["model"]["trained_layers"], config["model"].get("mutual", False)
