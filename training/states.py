"""Token states of the frozen bi-encoder, computed once, kept in one file, read by memory mapping."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from secondpass.tuning.batches import FrozenTower
from training.model import DEPTH, WIDTH, Encoder, additive, pooled

BATCH_TOKENS = 1600  # small batches stay in the caches


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


@torch.inference_mode()
def encode(
    encoder: Encoder,
    ids: Sequence[list[int]],
    depth: int = DEPTH,
    path: Path | None = None,
    deeper: bool = False,
) -> np.ndarray:
    """Return the pooled texts (n, width); with ``path`` also write the `States` at this depth there.

    With ``deeper`` those of the layers behind it are written too: a run that keeps the encoder frozen then
    need not compute them at every step.
    """
    starts = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    found = np.zeros((len(ids), WIDTH), np.float32)
    last = DEPTH if deeper else depth
    shape = (int(starts[-1]), last + 1 - depth, WIDTH)
    file = path and np.memmap(path.with_suffix(".bf16"), np.int16, "w+", shape=shape)
    for batch in by_length(ids):
        tokens = torch.zeros(len(batch), max(len(ids[text]) for text in batch), dtype=torch.long)
        for row, text in enumerate(batch):
            tokens[row, : len(ids[text])] = torch.tensor(ids[text])
        mask = (tokens != 0).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = encoder(tokens, additive(mask))
        found[batch] = pooled(states[-1].float(), mask).numpy()
        if file is not None:
            kept = torch.stack(states[depth : last + 1], 2).bfloat16().view(torch.int16).numpy()
            for row, text in enumerate(batch):
                file[starts[text] : starts[text + 1]] = kept[row, : len(ids[text])]
    if path is not None:
        flat = np.concatenate([np.asarray(each, np.int32) for each in ids])
        np.savez(path.with_suffix(".npz"), ids=flat, starts=starts, pooled=found)
    return found


def by_length(ids: Sequence[Sized]) -> list[list[int]]:
    """Positions sorted by length and cut into batches of about BATCH_TOKENS tokens."""
    batches: list[list[int]] = [[]]
    for text in sorted(range(len(ids)), key=lambda at: len(ids[at])):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[text]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(text)
    return batches
