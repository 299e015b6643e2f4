"""Token states of the frozen bi-encoder, computed once, kept in one file, read by memory mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.model import DEPTH, WIDTH, Encoder, additive, pooled

BATCH_TOKENS = 1600  # small batches stay in the caches


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Token ids with [CLS] and [SEP], at most ``limit`` of them."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [each if len(each) <= limit else [*each[: limit - 1], each[-1]] for each in ids]


class States:
    """Per text: ids (tokens,), bfloat16 states (tokens, width) at one depth, float32 pooled (width,)."""

    def __init__(self, path: Path) -> None:
        saved = np.load(path.with_suffix(".npz"))
        self.ids, self.starts, self.pooled = saved["ids"], saved["starts"], saved["pooled"]
        self._states = np.memmap(path.with_suffix(".bf16"), np.int16, "r", shape=(len(self.ids), WIDTH))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, texts: Sequence[int], limit: int = 512) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, tokens, width) float32, ids (n, tokens) and mask (n, tokens), padded with zeros.

        Of a text with more than ``limit`` tokens only the first ones are read.
        """
        starts, ends = (self.starts[np.asarray(texts) + step] for step in (0, 1))
        spans = list(zip(starts, np.minimum(ends, starts + limit), strict=True))
        longest = max(end - start for start, end in spans)
        ids = np.zeros((len(spans), longest), np.int64)
        states = np.zeros((len(spans), longest, WIDTH), np.int16)
        for row, (start, end) in enumerate(spans):
            ids[row, : end - start] = self.ids[start:end]
            states[row, : end - start] = self._states[start:end]
        mask = torch.from_numpy((ids != 0).astype(np.float32))
        return torch.from_numpy(states).view(torch.bfloat16).float(), torch.from_numpy(ids), mask


@torch.inference_mode()
def encode(
    encoder: Encoder, ids: Sequence[list[int]], depth: int = DEPTH, path: Path | None = None
) -> np.ndarray:
    """Return the pooled texts (n, width); with ``path`` also write the `States` at this depth there."""
    starts = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    found = np.zeros((len(ids), WIDTH), np.float32)
    file = path and np.memmap(path.with_suffix(".bf16"), np.int16, "w+", shape=(starts[-1], WIDTH))
    for batch in by_length(ids):
        tokens = torch.zeros(len(batch), max(len(ids[text]) for text in batch), dtype=torch.long)
        for row, text in enumerate(batch):
            tokens[row, : len(ids[text])] = torch.tensor(ids[text])
        mask = (tokens != 0).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = encoder(tokens, additive(mask))
        found[batch] = pooled(states[-1].float(), mask).numpy()
        if file is not None:
            kept = states[depth].bfloat16().view(torch.int16).numpy()
            for row, text in enumerate(batch):
                file[starts[text] : starts[text + 1]] = kept[row, : len(ids[text])]
    if path is not None:
        flat = np.concatenate([np.asarray(each, np.int32) for each in ids])
        np.savez(path.with_suffix(".npz"), ids=flat, starts=starts, pooled=found)
    return found


def by_length(ids: Sequence[list[int]]) -> list[list[int]]:
    """Positions sorted by length and cut into batches of about BATCH_TOKENS tokens."""
    batches: list[list[int]] = [[]]
    for text in sorted(range(len(ids)), key=lambda at: len(ids[at])):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[text]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(text)
    return batches
