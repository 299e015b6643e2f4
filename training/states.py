"""Token states of the frozen bi-encoder, computed once, kept in one file, read by memory mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from secondpass.batching import Row
from secondpass.checkpoints import weights_of
from secondpass.cores import for_each
from secondpass.inference import mean_states, unit
from secondpass.models import resolve
from secondpass.native import Encoder, available
from secondpass.reranking.residual import frozen_encoder
from secondpass.tuning.batches import FrozenTower
from training.model import DEPTH, WIDTH


def whole_tokenizer(base: Path) -> Tokenizer:
    """The tokenizer of a folder; it neither cuts nor pads."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Token ids with [CLS] and [SEP], at most ``limit`` of them."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [each if len(each) <= limit else [*each[: limit - 1], each[-1]] for each in ids]


class States:
    """Per text: ids (tokens,), bfloat16 states (tokens, depths, width), float32 pooled (width,)."""

    def __init__(self, path: Path, first_only: bool = False) -> None:
        """Open what `encode` wrote; with ``first_only`` without the deeper states, if there are any."""
        saved = np.load(path.with_suffix(".npz"))
        self.ids, self.starts, self.pooled = saved["ids"], saved["starts"], saved["pooled"]
        states = np.memmap(path.with_suffix(".bf16"), np.int16, "r").reshape(len(self.ids), -1, WIDTH)
        self._states = states[:, :1] if first_only else states

    def __len__(self) -> int:
        return len(self.starts) - 1

    def texts(self) -> list[np.ndarray]:
        """The token ids of each text."""
        return np.split(self.ids, self.starts[1:-1])

    def batch(self, texts: Sequence[int], limit: int = 512) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, tokens, width) float32, ids (n, tokens) and mask (n, tokens), padded with zeros.

        Of a text with more than ``limit`` tokens only the first ones are read. Where several depths are kept,
        the states are (n, tokens, depths, width).
        """
        starts, ends = (self.starts[np.asarray(texts) + step] for step in (0, 1))
        spans = list(zip(starts, np.minimum(ends, starts + limit), strict=True))
        longest = max(end - start for start, end in spans)
        ids = np.zeros((len(spans), longest), np.int64)
        depths = self._states.shape[1]
        states = np.zeros((len(spans), longest, depths, WIDTH), np.int16)
        for row, (start, end) in enumerate(spans):
            ids[row, : end - start] = self.ids[start:end]
            states[row, : end - start] = self._states[start:end]
        mask = torch.from_numpy((ids != 0).astype(np.float32))
        found = torch.from_numpy(states).view(torch.bfloat16).float()
        return found.squeeze(2) if depths == 1 else found, torch.from_numpy(ids), mask


class KeptTower(FrozenTower):
    """A frozen tower that computes nothing for texts whose deeper states were kept."""

    def forward(self, states: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the states at each depth, (n, tokens, width); ``states`` may hold them all already."""
        return list(states.unbind(2)) if states.ndim == 4 else super().forward(states, mask)


def encode(
    encoder: Encoder,
    ids: Sequence[list[int]],
    depths: Sequence[int] = (),
    path: Path | None = None,
) -> np.ndarray:
    """Return the pooled texts (n, width); with ``path`` also write their `States` at these depths there.

    On the kernels that the package reads with: the states are those that stage 2 will meet, to the bit.
    Encoding takes a tenth of the time that it takes in float32.
    """
    starts = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    found = np.zeros((len(ids), WIDTH), np.float32)
    shape = (int(starts[-1]), len(depths), WIDTH)
    file = path and np.memmap(path.with_suffix(".bf16"), np.int16, "w+", shape=shape)

    def work(batch: np.ndarray) -> None:
        states, own = encoder.embed([Row(list(ids[text]), [0] * len(ids[text])) for text in batch])
        for depth in range(DEPTH + 1):
            if depth:
                encoder.layers[depth - 1](states, own)
            if file is not None and depth in depths:
                kept = torch.from_numpy(states).bfloat16().view(torch.int16).numpy()
                for row, text in enumerate(batch):
                    file[starts[text] : starts[text + 1], depths.index(depth)] = kept[own[row] : own[row + 1]]
        found[batch] = unit(mean_states(states, own))

    for_each(work, encoder.batches([len(each) for each in ids]))
    if path is not None:
        flat = np.concatenate([np.asarray(each, np.int32) for each in ids])
        np.savez(path.with_suffix(".npz"), ids=flat, starts=starts, pooled=found)
    return found


def frozen() -> Encoder:
    """The bi-encoder of the re-ranker in the package, all-MiniLM-L6-v2 in 8 bits.

    Raises:
        RuntimeError: this processor has no AVX-512 VNNI.
    """
    if not available():
        raise RuntimeError("states are computed on the package's kernels, which need AVX-512 VNNI")
    return frozen_encoder(weights_of(resolve("minilm-l6").weights()))


def depths_of(config: dict[str, Any], deeper: bool) -> tuple[int, ...]:
    """Which layers' states are kept: the first that a run reads, with ``deeper`` all others that it reads.

    The joint branch begins at the first. Of a passage that reads the query as well it reads no more; else it
    reads those of every later layer too. Max-sim reads the last.
    """
    first = DEPTH - config["model"]["trained_layers"]
    if not deeper:
        return (first,)
    return (first, DEPTH) if config["model"].get("mutual") else tuple(range(first, DEPTH + 1))
