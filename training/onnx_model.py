"""Run an exported re-ranker on texts, as a user's runtime would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_LENGTH = 512
BATCH_TOKENS = 256  # small batches stay in the caches
ONE_ROW = (
    1  # int8 takes one scale for all activations of a batch: only alone is a pair's logit always the same
)


class OnnxReranker:
    """An ONNX cross-encoder and its tokenizer."""

    def __init__(
        self, model: Path, tokenizer: Path, threads: int = 2, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.batch_tokens = batch_tokens

    def encode(self, query: str, passages: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Ids and segments of each pair; what is too long is cut from the passage's end, its [SEP] kept."""
        encodings = self.tokenizer.encode_batch([(query, passage) for passage in passages])
        cut = MAX_LENGTH
        return [
            (each.ids, each.type_ids)
            if len(each.ids) <= cut
            else (each.ids[: cut - 1] + each.ids[-1:], each.type_ids[: cut - 1] + each.type_ids[-1:])
            for each in encodings
        ]

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Logits of the passages, (n,), in their order."""
        pairs = self.encode(query, passages)
        scores = np.zeros(len(pairs), np.float32)
        for batch in self.batches(pairs, self.batch_tokens):
            scores[batch] = self.session.run(None, pad([pairs[each] for each in batch]))[0][:, 0]
        return scores

    @staticmethod
    def batches(pairs: Sequence[tuple[list[int], list[int]]], batch_tokens: int) -> list[list[int]]:
        """Positions sorted by length, cut at about ``batch_tokens`` tokens."""
        found: list[list[int]] = [[]]
        for each in sorted(range(len(pairs)), key=lambda at: len(pairs[at][0])):
            if found[-1] and (len(found[-1]) + 1) * len(pairs[each][0]) > batch_tokens:
                found.append([])
            found[-1].append(each)
        return found


def pad(pairs: Sequence[tuple[list[int], list[int]]], extra: int = 0) -> dict[str, np.ndarray]:
    """The three inputs of a batch, padded with zeros to the longest pair (and ``extra`` more)."""
    shape = (len(pairs), max(len(ids) for ids, _ in pairs) + extra)
    feed = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for row, (ids, segments) in enumerate(pairs):
        feed["input_ids"][row, : len(ids)] = ids
        feed["attention_mask"][row, : len(ids)] = 1
        feed["token_type_ids"][row, : len(ids)] = segments
    return feed
