"""The layers of all-MiniLM-L6-v2 in torch, and the bi-encoder made of them; importing it imports torch."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "DEPTH",
    "HEADS",
    "HEAD_WIDTH",
    "MASKED",
    "WIDTH",
    "Encoder",
    "Layer",
    "Tower",
    "additive",
    "attend",
    "fast_products",
    "load_encoder",
    "mean_pool",
    "pieces",
    "pooled",
    "renamed",
]

WIDTH, HEADS, DEPTH = 384, 12, 6
HEAD_WIDTH = WIDTH // HEADS
PIECE_TOKENS = 1600
"""Tokens that run through layers at once."""
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
    """Multi-head attention; written out for the export, so that it holds plain MatMul and Softmax nodes."""
    heads = [
        each.reshape(each.shape[0], -1, HEADS, HEAD_WIDTH).transpose(1, 2) for each in (query, key, value)
    ]
    if not torch.onnx.is_in_onnx_export():
        q, k, v = heads
        fused: Tensor = functional.scaled_dot_product_attention(q, k, v, mask.to(query.dtype))
        return fused.transpose(1, 2).reshape(query.shape[0], -1, WIDTH)
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


def fast_products(device: str = "cpu") -> contextlib.AbstractContextManager[Any]:
    """Matrix products in bfloat16 on a GPU or a processor that is made for them; else they are slower."""
    if device != "cpu":
        return torch.autocast(device, dtype=torch.bfloat16)
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    if any(each is not None and each() for each in asked):
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def pieces(mask: Tensor) -> list[tuple[Tensor, int]]:
    """Cut texts into pieces of about one length, each its rows and its longest text's number of tokens.

    A piece stays in the caches, and little of it is padding. In one piece a step took 3 times as long on two
    busy cores, with the same numbers.

    Args:
        mask: (n, tokens), ones and zeros.
    """
    lengths = mask.sum(1).long()
    order, found, start = lengths.argsort(), list[tuple[Tensor, int]](), 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * int(lengths[order[end]]) <= PIECE_TOKENS:
            end += 1
        found.append((order[start:end], int(lengths[order[end - 1]])))
        start = end
    return found


def additive(mask: Tensor) -> Tensor:
    """Turn a (n, keys) mask of ones and zeros into (n, 1, 1, keys) to add to attention scores."""
    return ((1.0 - mask) * MASKED)[:, None, None, :]


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are not padding, (n, width)."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """The text's vector: mean over its tokens, of unit length, (n, width)."""
    return functional.normalize(mean_pool(states, mask), dim=-1)


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
