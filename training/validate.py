"""nDCG@10 on the validation sets, from precomputed states: cheap enough to do every few minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.live import Opener
from training.model import Batch, Reranker, fast_products
from training.states import States


class ValidationSet:
    """One validation set: queries, their dense top candidates, and which of those are relevant."""

    def __init__(
        self, folder: Path, name: str, queries: int | None = None, texts: Opener | None = None
    ) -> None:
        saved = np.load(folder / f"{name}.validation.npz")
        self.name, self._folder = name, folder
        self.top, self.relevant, self.total = (saved[key][:queries] for key in ("top", "relevant", "total"))
        texts = texts or (lambda name, _: States(folder / name))
        self.queries, self.passages = texts(f"{name}_queries", False), texts(f"{name}_passages", True)

    def __len__(self) -> int:
        return len(self.top)

    def pairs(self) -> list[tuple[str, list[str]]]:
        """Each query's text with those of its candidates."""
        texts = json.loads((self._folder / f"{self.name}.texts.json").read_text())
        return [
            (query, [texts["passages"][passage] for passage in top])
            for query, top in zip(texts["queries"], self.top, strict=False)
        ]

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query when its candidates are ordered by these scores (queries, candidates)."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        discount = 1 / np.log2(np.arange(2, 12))
        gain = (np.take_along_axis(self.relevant, order, 1) * discount[: order.shape[1]]).sum(1)
        return gain / np.array([discount[: min(10, total)].sum() for total in self.total])

    def dense(self) -> np.ndarray:
        """Scores of the first stage, (queries, candidates)."""
        return np.einsum("qw,qcw->qc", self.queries.pooled[: len(self)], self.passages.pooled[self.top])

    @torch.inference_mode()
    def scores(self, model: Reranker, rarity: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the model and of its residual alone, each (queries, candidates)."""
        found = []
        for query, top in enumerate(self.top):
            batch = Batch(
                *self.queries.batch([query]),
                *self.passages.batch(top),
                torch.zeros(len(top), dtype=torch.long, device=rarity.device),
            )
            with fast_products(rarity.device.type):
                logits, residual = model(batch, rarity)
            found.append((logits.float().cpu().numpy(), residual[0].float().cpu().numpy()))
        logits, residual = zip(*found, strict=True)
        return np.stack(logits), np.stack(residual)


def validate(sets: list[ValidationSet], model: Reranker, rarity: Tensor) -> dict[str, Any]:
    """Mean nDCG@10 per set, over the sets, and over the sets by the residual alone."""
    found, residual = {}, []
    for each in sets:
        scores = each.scores(model, rarity)
        found[each.name] = float(each.ndcg(scores[0]).mean())
        residual.append(float(each.ndcg(scores[1]).mean()))
    return {"mean": float(np.mean(list(found.values()))), "residual": float(np.mean(residual)), **found}
