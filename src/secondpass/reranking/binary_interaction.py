"""Late interaction over one bit a dimension: its passages can be read ahead, when they are indexed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from .. import models
from ..arguments import checked_precision
from ..batching import Integers, Row, Starts
from ..catalogue import BINARY_INTERACTION, LATE_INTERACTION
from ..checkpoints import minilm_encoder
from ..errors import InputError, StorageError
from ..inference import Floats, mean_states, run_states, unit
from ..native import best_signs
from ..products import product
from ..tokenizing import checked_query, clean, load_tokenizer, passing_texts, single_frame, slices
from ..types import Reading
from .fingerprints import fingerprint
from .late_interaction import WINDOW, query_states
from .sign_states import COSINE, PassageStates, WindowStates, packed, side_by_side, signs_of, turned, unpacked
from .state_store import STATES_FILE, StateStore, key_of
from .windows import MAX_WINDOWS, cut_windows

__all__ = ["BinaryInteraction", "Precomputed"]

_MAXSIM = 1.25
"""Weight of max-sim beside the cosine, chosen on validation queries: docs/adr/0008."""


@dataclass(frozen=True, slots=True)
class Precomputed:
    """What is kept beside an index: texts, how many of them are new, bytes on disk, seconds it took."""

    texts: int
    added: int
    size_bytes: int
    seconds: float


class BinaryInteraction:
    """``late-interaction`` with a passage's token states kept as signs: ``score = cosine + 1.25 * maxsim``.

    A score depends on query and text alone, whether the states were kept or are made now. Kept ones, see
    ``precompute``, make a search as good as free: a passage is not read by a model any more. It is no logit,
    and there is no probability. Safe to use from several threads.

    Args:
        max_windows: most windows of 256 tokens of one passage.
        precision: of activations while passages are read, see ``MiniLMEmbedder``.

    Raises:
        InputError: one of them cannot be used.
    """

    logits = False
    name = BINARY_INTERACTION

    def __init__(self, *, max_windows: int = MAX_WINDOWS, precision: str = "int8") -> None:
        if max_windows < 1:
            raise InputError(f"max_windows must be at least 1, got {max_windows}")
        folder = models.resolve(LATE_INTERACTION)
        self.max_windows = max_windows
        self._tokenizer = load_tokenizer(folder)
        self._frame = single_frame(self._tokenizer)
        self.precision = checked_precision(precision)
        self._encoder = minilm_encoder(folder, precision)
        self.fingerprint = fingerprint(folder, "signs", type(self._encoder).__name__, precision, max_windows)
        self._kept: tuple[tuple[int, int], StateStore] | None = None

    def beside(self, folder: Path) -> None:
        """Look passages up in what was kept beside an index, where there is something.

        A file that cannot be used is left alone: the passages are read instead.
        """
        try:
            status = (folder / STATES_FILE).stat()
        except OSError:
            return
        identity = (status.st_dev, status.st_ino)
        if self._kept is None or self._kept[0] != identity:
            with suppress(StorageError):
                self._kept = identity, StateStore(folder, self.fingerprint)

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return ``(n,)`` float32 in input order; a long passage has the score of its best window.

        Raises:
            QueryError: the query is empty or has more than 2048 tokens.
            InputError: ``passages`` is not a list of strings.
        """
        return np.array([reading.score for reading in self.read(query, passages)], dtype=np.float32)

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        """Like ``score``, with the tokens that were read and the window that won."""
        query = checked_query(query)
        texts = passing_texts(passages, "passages")
        if not len(passages):
            return []
        words, mean = query_states(self._tokenizer, self._frame, self._encoder, query)
        words = turned(words)
        readings: list[Reading] = []
        for part in slices(texts):
            readings += self._readings(words, mean, self._looked_up(part))
        return readings

    def precompute(
        self,
        folder: Path,
        texts: Iterable[str],
        total: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Precomputed:
        """Keep the states of these texts beside an index, and of no others.

        What is there already costs nothing; a run that was ended goes on where it was.

        Args:
            folder: of the index.
            texts: of all its passages.
            total: how many they are, for ``progress``.
            progress: told how many are done, and ``total``.

        Raises:
            StorageError: the file cannot be written.
        """
        start = perf_counter()
        store = StateStore(folder, self.fingerprint, create=True)
        wanted: set[bytes] = set()
        added = 0
        try:
            for part in slices(clean(text) for text in texts):
                keys = [key_of(text) for text in part]
                known = store.get(keys)
                missing = {key: text for key, text in zip(keys, part, strict=True) if key not in known}
                made = self._made(list(missing.values()))
                store.put([(key, packed(each)) for key, each in zip(missing, made, strict=True)])
                wanted.update(keys)
                added += len(missing)
                if progress is not None:
                    progress(len(wanted), total)
            store.keep_only(wanted)
        finally:
            store.close()
        return Precomputed(len(wanted), added, store.path.stat().st_size, perf_counter() - start)

    def _looked_up(self, texts: list[str]) -> list[PassageStates]:
        keys = [key_of(text) for text in texts]
        kept: dict[bytes, PassageStates] = {}
        if self._kept is not None:
            with suppress(StorageError, ValueError):
                kept = {key: unpacked(found) for key, found in self._kept[1].get(keys).items()}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
        if missing:
            kept.update(zip(missing, self._made(list(missing.values())), strict=True))
        return [kept[key] for key in keys]

    def _made(self, texts: list[str]) -> list[PassageStates]:
        cut = cut_windows(self._tokenizer, texts, WINDOW - self._frame.size, self.max_windows)
        found: list[WindowStates | None] = [None] * len(cut.ids)

        def work(places: Integers, states: Floats, starts: Starts) -> None:
            means, signs = unit(mean_states(states, starts)), signs_of(states)
            for line, place in enumerate(places):
                largest = float(np.abs(means[line]).max())
                values = np.rint(means[line] * (127 / largest)).astype(np.int8)
                scale = 1 / float(np.linalg.norm(values.astype(np.float32)))
                own = signs[starts[line] : starts[line + 1]].copy()
                found[place] = WindowStates(values, scale, own)

        rows: list[Row] = [self._frame.around(ids) for ids in cut.ids]
        run_states(self._encoder, rows, work)
        windows = iter(each for each in found if each is not None)
        return [PassageStates(spans, tuple(next(windows) for _ in spans.windows)) for spans in cut.spans()]

    def _readings(self, words: Floats, mean: Floats, passages: list[PassageStates]) -> list[Reading]:
        windows = [window for passage in passages for window in passage.windows]
        signs, starts = side_by_side(windows)
        maxsim = COSINE * best_signs(signs, starts, words).mean(axis=1)
        means = np.stack([window.mean for window in windows]).astype(np.float32)
        cosine = product(means, mean) * np.array([window.scale for window in windows], dtype=np.float32)
        scores = iter((cosine + _MAXSIM * maxsim).tolist())
        return [passage.spans.reading([next(scores) for _ in passage.windows]) for passage in passages]
