"""Late interaction without training: cosine plus token max-sim over the embedder's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import models
from ..arguments import checked_precision
from ..batching import Integers, Starts
from ..catalogue import LATE_INTERACTION
from ..checkpoints import minilm_encoder
from ..errors import InputError, QueryError
from ..inference import Floats, TokenStates, run_states, unit
from ..native import best_cosines
from ..products import product
from ..tokenizing import (
    MAX_QUERY_TOKENS,
    Frame,
    checked_query,
    load_tokenizer,
    parts,
    passing_texts,
    single_frame,
)
from ..types import Reading
from .fingerprints import fingerprint
from .windows import MAX_WINDOWS, read_windows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WINDOW", "LateInteraction", "query_states"]

WINDOW = 256


class LateInteraction:
    """Training-free re-ranker over all-MiniLM-L6-v2: ``score = cosine + maxsim``, in -2..2, higher is better.

    - cosine: of the mean-pooled vectors of query and passage, as in stage 1.
    - maxsim: for each word token of the query (all but [CLS] and [SEP]) the best cosine with any token of the
      passage (its [CLS] and [SEP] included), states of the last layer; then the mean over the query's tokens.

    Both are added as they are, with weight 1 each, so a score does not depend on the other candidates. It is
    no logit, and there is no probability. Query and passage are encoded apart, 256 tokens at once: a longer
    passage counts by its best window, a longer query in parts, none of it cut. Safe to use from several
    threads.

    Args:
        max_windows: most windows of one passage; tokens behind them are not read, and a ``Reading`` says so.
        precision: of activations, see ``MiniLMEmbedder``.

    Raises:
        InputError: one of them cannot be used.
    """

    logits = False
    name = LATE_INTERACTION

    def __init__(self, *, max_windows: int = MAX_WINDOWS, precision: str = "int8") -> None:
        if max_windows < 1:
            raise InputError(f"max_windows must be at least 1, got {max_windows}")
        folder = models.resolve(LATE_INTERACTION)
        self.max_windows = max_windows
        self._tokenizer = load_tokenizer(folder)
        self._frame = single_frame(self._tokenizer)
        self.precision = checked_precision(precision)
        self._encoder = minilm_encoder(folder, precision)
        self.fingerprint = fingerprint(folder, type(self._encoder).__name__, precision, max_windows)

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return ``(n,)`` float32 in input order; a long passage has the score of its best window.

        Raises:
            QueryError: the query is empty or has more than 2048 tokens.
            InputError: ``passages`` is not a list of strings.
        """
        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won.

        Passages are read in slices of about a million characters, so a ``Sequence`` that makes or fetches
        its texts when asked for them can hold far more text than fits into memory.
        """
        query = checked_query(query)
        texts = passing_texts(passages, "passages")
        if not len(passages):
            return []
        words, mean = query_states(self._tokenizer, self._frame, self._encoder, query)

        def score(windows: list[list[int]]) -> Floats:
            return self._mix(words, mean, windows)

        room = WINDOW - self._frame.size
        return read_windows(self._tokenizer, texts, room, self.max_windows, score)

    def _mix(self, words: Floats, mean: Floats, windows: list[list[int]]) -> Floats:
        scores = np.empty(len(windows), dtype=np.float32)

        def work(places: Integers, states: Floats, starts: Starts) -> None:
            sums, best = best_cosines(states, starts, words)
            scores[places] = product(unit(sums), mean) + best.mean(axis=1)

        run_states(self._encoder, [self._frame.around(window) for window in windows], work)
        return scores


def query_states(
    tokenizer: Tokenizer, frame: Frame, encoder: TokenStates, query: str
) -> tuple[Floats, Floats]:
    """Return the unit states ``(t, d)`` of the query's word tokens and its unit mean ``(d,)``.

    Raises:
        QueryError: it has no token, or more than 2048.
    """
    ids = tokenizer.encode(query, add_special_tokens=False).ids
    if not 0 < len(ids) <= MAX_QUERY_TOKENS:
        raise QueryError(
            f"the query has {len(ids)} tokens, 1 to {MAX_QUERY_TOKENS} can be read; ask another question"
        )
    rows = [frame.around(part) for part in parts(ids, WINDOW - frame.size)]
    first, last = len(frame.parts[0].ids), len(frame.parts[-1].ids)
    words: list[Floats] = [np.empty(0, dtype=np.float32)] * len(rows)
    sums: list[Floats] = [np.empty(0, dtype=np.float32)] * len(rows)

    def work(places: Integers, states: Floats, starts: Starts) -> None:
        for line, place in enumerate(places):
            own = states[starts[line] : starts[line + 1]]
            words[place] = own[first : len(own) - last]
            sums[place] = own.sum(axis=0)

    run_states(encoder, rows, work)
    return unit(np.concatenate(words)), unit(np.sum(sums, axis=0))
