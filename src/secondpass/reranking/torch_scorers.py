"""What gives a query and windows of passages their logits on torch: a classifier, or a language model."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..batching import padded, token_batches
from ..inference import Floats
from ..tokenizing import Frame

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ClassifierPairs", "LanguageModelPairs", "PairScorer"]

_TOKENS = {"cpu": 4096, "mps": 16_384, "cuda": 65_536}
"""Tokens of one batch, padding included: a processor gains nothing from more, a graphics processor does until
its units are busy. At 65,536 the activations of a 24-layer model of width 1024 take some 2 GB in float32."""

Windows = list[list[int]]


class PairScorer(Protocol):
    """Gives a query and windows of passages their logits."""

    def frame(self, query: str, query_tokens: int) -> int:
        """Return how many tokens of a pair are neither the query's nor the passage's."""
        ...

    def logits(self, query: str, query_ids: list[int], windows: Windows) -> Floats:
        """Return ``(n,)`` for ``n`` windows (token ids without special ones), in their order."""
        ...


class ClassifierPairs:
    """A sequence classifier with one logit; pairs are framed as its tokenizer frames them."""

    def __init__(self, model: Any, frame: Frame, config: dict[str, Any], device: str) -> None:
        self._model = model.model
        self._frame = frame
        self._device = device
        self._type_ids = int(config.get("type_vocab_size") or 0) > 1
        self._pad_id = int(config.get("pad_token_id") or 0)

    def frame(self, query: str, query_tokens: int) -> int:  # noqa: ARG002  it is the same for every query
        """Return how many special tokens there are."""
        return self._frame.size

    def logits(self, query: str, query_ids: list[int], windows: Windows) -> Floats:  # noqa: ARG002
        """Return the logits of the windows, in batches of similar length."""
        import torch

        rows = [self._frame.around(query_ids, window) for window in windows]
        logits = np.empty(len(rows), dtype=np.float32)
        budget = _TOKENS[self._device.partition(":")[0]]
        with torch.inference_mode():
            for places in token_batches([len(row.ids) for row in rows], budget):
                batch = padded(rows, places, self._pad_id)
                feeds = {"input_ids": batch.ids, "attention_mask": batch.mask}
                if self._type_ids:
                    feeds["token_type_ids"] = batch.types
                values = self._model(
                    **{name: torch.from_numpy(each).to(self._device) for name, each in feeds.items()}
                ).logits
                logits[batch.places] = values.reshape(-1).float().cpu().numpy()
        return logits


class LanguageModelPairs:
    """A language model that is asked, in its own template, whether a passage answers a query."""

    def __init__(self, model: Any, tokenizer: Tokenizer, device: str, max_length: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._rows = max(1, _TOKENS[device.partition(":")[0]] // max_length)
        self._lock = threading.Lock()  # its tokenizer is set to pad and to cut anew for each call

    def frame(self, query: str, query_tokens: int) -> int:
        """Return how many tokens the template has around this query and an empty passage."""
        with self._lock:
            whole = self._model.preprocess([(query, "")])["input_ids"].shape[1]
        return max(0, int(whole) - query_tokens)

    def logits(self, query: str, query_ids: list[int], windows: Windows) -> Floats:  # noqa: ARG002
        """Return the logits of the windows, which go into the template as text again."""
        from torch.nn import Identity

        texts = self._tokenizer.decode_batch(windows, skip_special_tokens=False)
        with self._lock:
            scores = self._model.predict(
                [(query, text) for text in texts],
                activation_fn=Identity(),
                batch_size=self._rows,
                show_progress_bar=False,
            )
        return np.asarray(scores, dtype=np.float32).reshape(-1)
