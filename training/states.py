"""Token states of the frozen bi-encoder, computed once, kept in one file, read by memory mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.model import WIDTH, Encoder, additive, mean_pool

BATCH_TOKENS = 1600  # small batches stay in the caches


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Token ids with [CLS] and [SEP], at most ``limit`` of them."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [each if len(each) <= limit else [*each[: limit - 1], each[-1]] for each in ids]


class States:
    """Per text: ids (tokens,), bfloat16 states (tokens, depths, width), float32 pooled (width,), unit length.

    The depth 6 is stored at unit length, since only its cosines are used.
    """

    def __init__(self, path: Path) -> None:
        saved = np.load(path.with_suffix(".npz"))
        self.depths: list[int] = saved["depths"].tolist()
        self.ids, self.starts, self.pooled = saved["ids"], saved["starts"], saved["pooled"]
        shape = (len(self.ids), len(self.depths), WIDTH)
        self._states = np.memmap(path.with_suffix(".bf16"), np.uint16, "r", shape=shape)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, texts: Sequence[int]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Ids (n, tokens), mask (n, tokens) and for each depth the states (n, tokens, width), zero-padded."""
        spans = [(self.starts[text], self.starts[text + 1]) for text in texts]
        longest = max(end - start for start, end in spans)
        ids = np.zeros((len(spans), longest), np.int64)
        states = np.zeros((len(self.depths), len(spans), longest, WIDTH), np.int16)
        for row, (start, end) in enumerate(spans):
            ids[row, : end - start] = self.ids[start:end]
            states[:, row, : end - start] = self._states[start:end].view(np.int16).swapaxes(0, 1)
        found = torch.from_numpy(states).view(torch.bfloat16)
        return torch.from_numpy(ids), torch.from_numpy((ids != 0).astype(np.float32)), list(found)


@torch.inference_mode()
def encode(
    encoder: Encoder, ids: Sequence[list[int]], depths: Sequence[int] = (), path: Path | None = None
) -> np.ndarray:
    """Return the pooled texts (n, width); with ``path`` also write `States` of these depths there."""
    starts = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    pooled = np.zeros((len(ids), WIDTH), np.float32)
    file = path and np.memmap(
        path.with_suffix(".bf16"), np.uint16, "w+", shape=(starts[-1], len(depths), WIDTH)
    )
    for batch in by_length(ids):
        tokens = torch.zeros(len(batch), max(len(ids[text]) for text in batch), dtype=torch.long)
        for row, text in enumerate(batch):
            tokens[row, : len(ids[text])] = torch.tensor(ids[text])
        mask = (tokens != 0).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = [each.float() for each in encoder(tokens, additive(mask))]
        pooled[batch] = torch.nn.functional.normalize(mean_pool(states[-1], mask), dim=-1).numpy()
        if file is not None:
            states[-1] = torch.nn.functional.normalize(states[-1], dim=-1)
            kept = torch.stack([states[depth] for depth in depths], 2).bfloat16().view(torch.int16).numpy()
            for row, text in enumerate(batch):
                file[starts[text] : starts[text + 1]] = kept[row, : len(ids[text])].view(np.uint16)
    if path is not None:
        flat = np.concatenate([np.asarray(each, np.int32) for each in ids])
        np.savez(path.with_suffix(".npz"), ids=flat, starts=starts, pooled=pooled, depths=np.asarray(depths))
    return pooled


def by_length(ids: Sequence[list[int]]) -> list[list[int]]:
    """Positions sorted by length and cut into batches of about BATCH_TOKENS tokens."""
    batches: list[list[int]] = [[]]
    for text in sorted(range(len(ids)), key=lambda at: len(ids[at])):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[text]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(text)
    return batches
