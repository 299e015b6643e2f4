"""Token states computed as they are asked for: where a GPU does that faster than a disk is read.

A folder with states of every text holds gigabytes, one without them what `training.carry` writes: some
megabytes, small enough to take to a machine that is lent for minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.model import Encoder, additive, fast_products
from training.states import States, depths_of

__all__ = ["Joined", "Live", "Opener", "Texts", "opener"]


class Texts(Protocol):
    """Texts by number, with the states of their tokens."""

    def __len__(self) -> int: ...

    def batch(self, texts: Sequence[int], limit: int = 512) -> tuple[Tensor, Tensor, Tensor]:
        """See `States.batch`."""
        ...


Opener = Callable[[str, bool], Texts]
"""Opens a folder's texts by their name; true for passages, of which deeper states are read too."""


class Joined:
    """Two of them as one: the second's texts count on from the first's end."""

    def __init__(self, first: Texts, second: Texts) -> None:
        self._parts = first, second

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def batch(self, texts: Sequence[int], limit: int = 512) -> tuple[Tensor, Tensor, Tensor]:
        """As `States.batch`."""
        asked, border = np.asarray(texts), len(self._parts[0])
        places = [np.flatnonzero(asked < border), np.flatnonzero(asked >= border)]
        found = [
            part.batch(asked[own] - before, limit)
            for part, own, before in zip(self._parts, places, (0, border), strict=True)
            if len(own)
        ]
        longest = max(ids.shape[1] for _, ids, _ in found)
        joined = [torch.cat([_longer(each, longest) for each in kind]) for kind in zip(*found, strict=True)]
        order = torch.from_numpy(np.argsort(np.concatenate(places), kind="stable")).to(joined[0].device)
        return joined[0][order], joined[1][order], joined[2][order]


def _longer(texts: Tensor, tokens: int) -> Tensor:
    """Texts (n, ...), padded with zeros to (n, tokens, ...)."""
    return functional.pad(texts, (0, 0) * (texts.ndim - 2) + (0, tokens - texts.shape[1]))


class Live:
    """The same as `States`, computed by an encoder, on its device."""

    def __init__(self, path: Path, encoder: Encoder, depths: Sequence[int]) -> None:
        saved = np.load(path.with_suffix(".npz"))
        self.ids, self.starts = saved["ids"].astype(np.int64), saved["starts"]
        self._encoder, self._depths = encoder, depths

    def __len__(self) -> int:
        return len(self.starts) - 1

    @torch.no_grad()
    def batch(self, texts: Sequence[int], limit: int = 512) -> tuple[Tensor, Tensor, Tensor]:
        """See `States.batch`; on the encoder's device."""
        starts, ends = (self.starts[np.asarray(texts) + step] for step in (0, 1))
        lengths = ends - starts
        places = np.arange(lengths.max())
        inside = places < lengths[:, None]
        ids = np.where(inside, self.ids[np.where(inside, starts[:, None] + places, 0)], 0)
        device = self._encoder.words.weight.device
        tokens = torch.from_numpy(ids).to(device)
        mask = (tokens != 0).float()
        with fast_products(device.type):
            states = self._encoder(tokens, additive(mask), max(self._depths))
        kept = [states[depth][:, :limit].float() for depth in self._depths]  # read whole, as when kept
        return kept[0] if len(kept) == 1 else torch.stack(kept, 2), tokens[:, :limit], mask[:, :limit]


def opener(folder: Path, config: dict[str, Any], encoder: Encoder) -> Opener:
    """Open a folder's texts: their states as they were kept, or, where they were not, computed."""
    trains_encoder = config["train"]["rate_tower"] > 0

    def open_texts(name: str, deeper: bool) -> Texts:
        path = folder / name
        if path.with_suffix(".bf16").exists():
            return States(path, first_only=trains_encoder)
        return Live(path, encoder, depths_of(config, deeper and not trains_encoder))

    return open_texts
