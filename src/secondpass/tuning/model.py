"""The residual cross-encoder in torch: cosine + max-sim of a frozen bi-encoder, and a joint branch from zero.

``reranking/residual.py`` does the same arithmetic on our own kernels. Importing this module imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import DEPTH, WIDTH, Encoder, Layer, Tower, additive, mean_pool, pieces, pooled

__all__ = [
    "FEATURES",
    "Batch",
    "JointBranch",
    "Reranker",
    "all_maxsim",
    "match_features",
    "mean_maxsim",
    "new_reranker",
    "word_mask",
]

FEATURES = 4  # per query token: max-sim, exact match, rarity, exact match x rarity


class JointBranch(nn.Module):
    """Joint layers over the query's tokens, a head from zero, and the residual's three weights.

    Args:
        depth: how many joint layers.
        mutual: whether the passage's tokens read the query as well, in all joint layers but the last; else
            their states are those of the passage alone.
    """

    def __init__(self, depth: int = 3, mutual: bool = False) -> None:
        super().__init__()
        self.mutual = mutual
        self.layers = nn.ModuleList(Layer() for _ in range(depth))
        self.match = nn.Linear(FEATURES, WIDTH)
        self.passage_segment = nn.Parameter(torch.zeros(WIDTH))
        self.head_norm = nn.LayerNorm(2 * WIDTH)
        self.head_hidden = nn.Linear(2 * WIDTH, WIDTH)
        self.head_out = nn.Linear(WIDTH, 1)
        self.cosine_weight = nn.Parameter(torch.ones(()))
        self.maxsim_weight = nn.Parameter(torch.ones(()))
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        for zero in (self.match.weight, self.match.bias, self.head_out.weight, self.head_out.bias):
            nn.init.zeros_(zero)

    def forward(
        self,
        query: Tensor,
        query_mask: Tensor,
        passage: list[Tensor],
        passage_mask: Tensor,
        features: Tensor,
        dropout: float = 0.0,
    ) -> Tensor:
        """Return what to add to the residual, (n,).

        Args:
            query: (n, tokens, width), the query's states at the depth where the branch begins.
            query_mask: (n, tokens), 1.0 for a token, 0.0 for padding.
            passage: for each joint layer the passage's states at its depth, each (n, others, width);
                only the first is read where both texts read each other.
            passage_mask: (n, others).
            features: (n, tokens, FEATURES), see `match_features`.
            dropout: probability; 0 unless training.
        """
        mask = additive(torch.cat([query_mask, passage_mask], 1))
        states = query + self.match(features)
        segment = self.passage_segment.to(passage[0].dtype)
        if self.mutual:
            both, own = torch.cat([states, passage[0] + segment], 1), states.shape[1]
            for layer in self.layers[:-1]:
                both = layer(both, mask, None, dropout)
            states = self.layers[-1](both[:, :own], mask, both[:, own:], dropout)
        else:
            for layer, other in zip(self.layers, passage, strict=True):
                states = layer(states, mask, other + segment, dropout)
        pooled = torch.cat([states[:, 0], mean_pool(states, query_mask)], 1)
        hidden = functional.gelu(self.head_hidden(self.head_norm(pooled)))
        added: Tensor = self.head_out(functional.dropout(hidden, dropout, dropout > 0))
        return added.squeeze(-1)

    def residual(self, cosine: Tensor, maxsim: Tensor) -> Tensor:
        """What the logit is before any training: scale * (a * cosine + b * max-sim)."""
        return self.log_scale.exp() * (self.cosine_weight * cosine + self.maxsim_weight * maxsim)


class Reranker(nn.Module):
    """All that is trained, on the frozen states of the depth where it begins: tower and joint branch."""

    def __init__(self, depth: int = 3, mutual: bool = False) -> None:
        super().__init__()
        self.depth = depth
        self.tower, self.branch = Tower(depth), JointBranch(depth, mutual)

    def forward(self, batch: Batch, rarity: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the logits of the pairs (n,), and the residual of every query with every passage (q, n).

        The joint branch reads the tower's states but does not train them; the tower learns from the residual.
        """
        query = self.tower(batch.query, batch.query_mask)
        passage = self.tower(batch.passage, batch.passage_mask)
        own = batch.owner
        with torch.autocast(own.device.type, enabled=False):  # 16 bits would blur what the order depends on
            unit = [functional.normalize(states[-1].float(), dim=-1) for states in (query, passage)]
            vectors = (
                pooled(query[-1].float(), batch.query_mask),
                pooled(passage[-1].float(), batch.passage_mask),
            )
            maxsim = all_maxsim(unit[0], batch.query_ids, unit[1], batch.passage_mask)
            residual = self.branch.residual(vectors[0] @ vectors[1].T, maxsim)
            features = match_features(
                unit[0][own], batch.query_ids[own], unit[1], batch.passage_ids, batch.passage_mask, rarity
            ).detach()
        before = [each.detach() for each in passage[:-1]]

        def read(rows: Tensor | slice, longest: int) -> Tensor:
            extra: Tensor = self.branch(
                query[0][own[rows]],
                batch.query_mask[own[rows]],
                [each[rows, :longest] for each in before],
                batch.passage_mask[rows, :longest],
                features[rows],
                dropout,
            )
            return extra.float()

        if self.branch.mutual and own.device.type == "cpu":  # the passages' tokens go through it too
            parts = pieces(batch.passage_mask)
            places = torch.cat([rows for rows, _ in parts]).argsort()
            extra = torch.cat([read(*part) for part in parts])[places]
        else:
            extra = read(slice(None), batch.passage_mask.shape[1])
        return residual[own, torch.arange(len(own), device=own.device)] + extra, residual


@dataclass(slots=True)
class Batch:
    """Some queries and passages; each passage is paired with the query that owns it.

    Attributes:
        query: (q, tokens, width) states at the depth where training begins.
        query_ids: (q, tokens), 0 for padding.
        query_mask: (q, tokens), 1.0 or 0.0.
        passage: (n, tokens, width).
        passage_ids: (n, tokens).
        passage_mask: (n, tokens).
        owner: (n,) which query.
    """

    query: Tensor
    query_ids: Tensor
    query_mask: Tensor
    passage: Tensor
    passage_ids: Tensor
    passage_mask: Tensor
    owner: Tensor


def all_maxsim(query: Tensor, query_ids: Tensor, passage: Tensor, passage_mask: Tensor) -> Tensor:
    """Mean max-sim of every query with every passage, (q, n); states of unit length."""
    words = word_mask(query_ids)
    cosines = torch.einsum("qtw,nsw->qnts", query, passage) + ((1.0 - passage_mask) * -2.0)[None, :, None, :]
    return (cosines.amax(-1) * words[:, None, :]).sum(-1) / words.sum(1).clamp(min=1)[:, None]


def word_mask(ids: Tensor) -> Tensor:
    """1.0 for the tokens that are words, 0.0 for [CLS], [SEP] and padding."""
    return ((ids != 101) & (ids != 102) & (ids != 0)).float()


def mean_maxsim(maxsim: Tensor, query_mask: Tensor) -> Tensor:
    """Mean max-sim over the query's word tokens: all but [CLS] and [SEP], the first and the last, (n,).

    ``maxsim`` must be zero at both (`match_features` sees to it). A query without words counts as having one.
    """
    return (maxsim * query_mask).sum(1) / (query_mask.sum(1) - 2).clamp(min=1)


def match_features(
    query: Tensor,
    query_ids: Tensor,
    passage: Tensor,
    passage_ids: Tensor,
    passage_mask: Tensor,
    rarity: Tensor,
) -> Tensor:
    """How each query token is met in the passage, (n, tokens, FEATURES); zero for [CLS], [SEP] and padding.

    Args:
        query: (n or 1, tokens, width) last-layer states of unit length.
        query_ids: (n or 1, tokens); [CLS] 101, [SEP] 102, padding 0.
        passage: (n, others, width) last-layer states of unit length.
        passage_ids: (n, others).
        passage_mask: (n, others) 1.0 or 0.0.
        rarity: (vocabulary,) in 0..1, how rare a token is.
    """
    gone = ((1.0 - passage_mask) * -2.0)[:, None, :]
    best = (query @ passage.transpose(1, 2) + gone).amax(-1)
    same = (query_ids[:, :, None] == passage_ids[:, None, :]).float()
    exact = (same * passage_mask[:, None, :]).amax(-1)
    rare = rarity[query_ids] + 0.0 * exact  # broadcast over the passages
    return torch.stack([best, exact, rare, exact * rare], -1) * word_mask(query_ids)[..., None]


def new_reranker(encoder: Encoder, depth: int, mutual: bool = False) -> Reranker:
    """A re-ranker at step 0: its layers are copies of the encoder's last ones, its head is zero."""
    reranker = Reranker(depth, mutual)
    for layers in (reranker.tower.layers, reranker.branch.layers):
        for ours, theirs in zip(layers, encoder.layers[DEPTH - depth :], strict=True):
            ours.load_state_dict(theirs.state_dict())
    return reranker.requires_grad_(True)
