"""nDCG@10 on the validation sets, from precomputed states: cheap enough to do every few minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.model import JointBranch, match_features
from training.states import States


class ValidationSet:
    """One validation set: queries, their dense top candidates, and which of those are relevant."""

    def __init__(self, folder: Path, name: str, queries: int | None = None) -> None:
        saved = np.load(folder / f"{name}.validation.npz")
        self.name = name
        self.top, self.relevant, self.total = (saved[key][:queries] for key in ("top", "relevant", "total"))
        self.queries = States(folder / f"{name}.queries")
        self.passages = States(folder / f"{name}.passages")

    def __len__(self) -> int:
        return len(self.top)

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query when its candidates are ordered by these scores (queries, candidates)."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        discount = 1 / np.log2(np.arange(2, 12))
        gain = (np.take_along_axis(self.relevant, order, 1) * discount[: order.shape[1]]).sum(1)
        return gain / np.array([discount[: min(10, total)].sum() for total in self.total])

    def dense(self) -> np.ndarray:
        """Scores of the first stage, (queries, candidates)."""
        return np.einsum("qw,qcw->qc", self.queries.pooled, self.passages.pooled[self.top])

    @torch.inference_mode()
    def scores(self, branch: JointBranch, rarity: Tensor, *, residual_only: bool = False) -> np.ndarray:
        """Logits of the model, or cosine + max-sim alone, (queries, candidates)."""
        found = []
        for query, top in enumerate(self.top):
            inputs = pair_inputs(self.queries, self.passages, [query] * len(top), top.tolist(), rarity)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = (
                    branch.residual(inputs[4], inputs[1], inputs[5]) if residual_only else branch(*inputs)
                )
            found.append(logits.float().numpy())
        return np.stack(found)


def pair_inputs(
    queries: States, passages: States, query: list[int], passage: list[int], rarity: Tensor
) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor, Tensor]:
    """Everything `JointBranch.forward` takes for pairs of a query and a passage, by position."""
    query_ids, query_mask, query_states = queries.batch(query)
    passage_ids, passage_mask, passage_states = passages.batch(passage)
    features = match_features(
        query_states[-1], query_ids, passage_states[-1], passage_ids, passage_mask, rarity
    )
    cosine = torch.from_numpy((queries.pooled[query] * passages.pooled[passage]).sum(1))
    return query_states[0], query_mask, passage_states[:-1], passage_mask, features.float(), cosine


def validate(sets: list[ValidationSet], branch: JointBranch, rarity: Tensor) -> dict[str, float]:
    """Mean nDCG@10 per set and over the sets."""
    found = {each.name: float(each.ndcg(each.scores(branch, rarity)).mean()) for each in sets}
    return {"mean": float(np.mean(list(found.values()))), **found}
