"""The residual cross-encoder in torch: cosine + max-sim of a frozen bi-encoder, and a joint branch from zero.

``reranking/residual.py`` does the same arithmetic on our own kernels. Importing this module imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    "load_encoder",
    "match_features",
    "mean_maxsim",
    "mean_pool",
    "new_reranker",
    "pooled",
    "renamed",
    "word_mask",
]

WIDTH, HEADS, DEPTH = 384, 12, 6
HEAD_WIDTH = WIDTH // HEADS
FEATURES = 4  # per query token: max-sim, exact match, rarity, exact match x rarity
MASKED = -1e4  # additive mask; far below any score, and still finite in 16 bits


class Layer(nn.Module):
    """A post-norm BERT layer whose tokens may also read the states of a second, fixed text."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.attention_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.output_norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(
        self, states: Tensor, mask: Tensor, other: Tensor | None = None, dropout: float = 0.0
    ) -> Tensor:
        """Return the next states, (n, tokens, width).

        Args:
            states: (n, tokens, width), the tokens that are updated.
            mask: (n, 1, 1, keys) additive, over ``states`` and then ``other``.
            other: (n, others, width), read as further keys and values but not updated.
            dropout: probability, on the outputs of both sublayers; 0 unless training.
        """
        key, value = self.key(states), self.value(states)
        if other is not None:
            key = torch.cat([key, self.key(other)], 1)
            value = torch.cat([value, self.value(other)], 1)
        mixed = self.out(attend(self.query(states), key, value, mask))
        states = self.attention_norm(states + functional.dropout(mixed, dropout, dropout > 0))
        change = self.down(functional.gelu(self.up(states)))
        following: Tensor = self.output_norm(states + functional.dropout(change, dropout, dropout > 0))
        return following


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Multi-head attention written out, so that the export holds plain MatMul and Softmax nodes."""
    heads = [
        each.reshape(each.shape[0], -1, HEADS, HEAD_WIDTH).transpose(1, 2) for each in (query, key, value)
    ]
    scores = heads[0] @ heads[1].transpose(-1, -2) * HEAD_WIDTH**-0.5 + mask
    mixed: Tensor = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(query.shape[0], -1, WIDTH)
    return mixed


class Encoder(nn.Module):
    """The frozen bi-encoder, all-MiniLM-L6-v2; returns the states of every depth."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, WIDTH)
        self.positions = nn.Embedding(512, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(DEPTH))

    def forward(self, ids: Tensor, mask: Tensor, depth: int = DEPTH) -> list[Tensor]:
        """Return the embeddings and the states after each of the first layers, each (n, tokens, width)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.norm(self.words(ids) + self.positions(places) + self.types.weight[0])
        found = [states]
        for layer in self.layers[:depth]:
            found.append(layer(found[-1], mask))
        return found


class Tower(nn.Module):
    """The encoder's last layers, trained: both texts pass through them, each on its own."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(depth))

    def forward(self, states: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the given states and those after each layer, each (n, tokens, width)."""
        found = [states]
        for layer in self.layers:
            found.append(layer(found[-1], additive(mask)))
        return found


class JointBranch(nn.Module):
    """Joint layers over the query's tokens, a head from zero, and the residual's three weights."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
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
            passage: for each joint layer the passage's states at its depth, each (n, others, width).
            passage_mask: (n, others).
            features: (n, tokens, FEATURES), see `match_features`.
            dropout: probability; 0 unless training.
        """
        mask = additive(torch.cat([query_mask, passage_mask], 1))
        states = query + self.match(features)
        for layer, other in zip(self.layers, passage, strict=True):
            states = layer(states, mask, other + self.passage_segment.to(other.dtype), dropout)
        pooled = torch.cat([states[:, 0], mean_pool(states, query_mask)], 1)
        hidden = functional.gelu(self.head_hidden(self.head_norm(pooled)))
        added: Tensor = self.head_out(functional.dropout(hidden, dropout, dropout > 0))
        return added.squeeze(-1)

    def residual(self, cosine: Tensor, maxsim: Tensor) -> Tensor:
        """What the logit is before any training: scale * (a * cosine + b * max-sim)."""
        return self.log_scale.exp() * (self.cosine_weight * cosine + self.maxsim_weight * maxsim)


class Reranker(nn.Module):
    """All that is trained, on the frozen states of the depth where it begins: tower and joint branch."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.depth = depth
        self.tower, self.branch = Tower(depth), JointBranch(depth)

    def forward(self, batch: Batch, rarity: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the logits of the pairs (n,), and the residual of every query with every passage (q, n).

        The joint branch reads the tower's states but does not train them; the tower learns from the residual.
        """
        query = self.tower(batch.query, batch.query_mask)
        passage = self.tower(batch.passage, batch.passage_mask)
        own = batch.owner
        with torch.autocast("cpu", enabled=False):  # 16 bits would blur what the order depends on
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
        extra = self.branch(
            query[0][own],
            batch.query_mask[own],
            [each.detach() for each in passage[:-1]],
            batch.passage_mask,
            features,
            dropout,
        )
        return residual[own, torch.arange(len(own))] + extra.float(), residual


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


def additive(mask: Tensor) -> Tensor:
    """Turn a (n, keys) mask of ones and zeros into (n, 1, 1, keys) to add to attention scores."""
    return ((1.0 - mask) * MASKED)[:, None, None, :]


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are not padding, (n, width)."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """The text's vector: mean over its tokens, of unit length, (n, width)."""
    return functional.normalize(mean_pool(states, mask), dim=-1)


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


def load_encoder(folder: Path) -> Encoder:
    """Read the frozen bi-encoder from ``model.safetensors`` of a BERT checkpoint folder."""
    from safetensors.torch import load_file

    encoder = Encoder()
    encoder.load_state_dict(
        {
            ours: tensor
            for name, tensor in load_file(folder / "model.safetensors").items()
            if (ours := renamed(name))
        }
    )
    return encoder.eval().requires_grad_(False)


def renamed(name: str) -> str | None:
    """Translate a BERT checkpoint's tensor name into ours; None for what is not used."""
    if "pooler" in name or "position_ids" in name:
        return None
    for theirs, ours in (
        ("embeddings.word_embeddings", "words"),
        ("embeddings.position_embeddings", "positions"),
        ("embeddings.token_type_embeddings", "types"),
        ("embeddings.LayerNorm", "norm"),
        ("encoder.layer.", "layers."),
        ("attention.self.", ""),
        ("attention.output.dense", "out"),
        ("attention.output.LayerNorm", "attention_norm"),
        ("intermediate.dense", "up"),
        ("output.dense", "down"),
        ("output.LayerNorm", "output_norm"),
    ):
        name = name.replace(theirs, ours)
    return name


def new_reranker(encoder: Encoder, depth: int) -> Reranker:
    """A re-ranker at step 0: its layers are copies of the encoder's last ones, its head is zero."""
    reranker = Reranker(depth)
    for layers in (reranker.tower.layers, reranker.branch.layers):
        for ours, theirs in zip(layers, encoder.layers[DEPTH - depth :], strict=True):
            ours.load_state_dict(theirs.state_dict())
    return reranker.requires_grad_(True)
