"""Any encoder as an embedder: its own prefixes, its own pooling, unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoints, models, native
from ..arguments import checked_precision
from ..batching import Batch, Integers, Row, Starts, padded, starts_of, token_batches
from ..converting import best_graph
from ..errors import InputError, ModelInvalidError, QueryError
from ..inference import Floats, Graph, mean_states, open_graph, run_states, unit
from ..models import ModelFolder
from ..tokenizing import (
    MAX_QUERY_TOKENS,
    Frame,
    check_length,
    checked_texts,
    load_tokenizer,
    parts,
    single_frame,
    slices,
)
from .pooling import Pool, pool_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..inference import TokenStates

__all__ = ["PooledEmbedder"]

MAX_WINDOW = 512
"""Tokens read at once, special ones included, if the model does not say less; passages are far shorter."""
MAX_CHARACTERS = 40_000
"""A passage is cut here before it is tokenised: 510 tokens never need more, unless a text is all spaces."""
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert"}


class PooledEmbedder:
    """An encoder whose token states are pooled to one vector a text, scaled to unit length.

    Checkpoints of the BERT family run on our own 8-bit kernels where the processor can; any ONNX graph whose
    first output is the states of the last layer runs on ONNX Runtime. Prefixes and pooling are those of the
    known model, or those that a folder of sentence-transformers names. Safe to use from several threads.

    Args:
        name_or_folder: see ``secondpass.models.resolve``.
        precision: ``int8`` where model and processor allow it, or ``fp32``.
        download: fetch the model from the hub when it is nowhere on this machine.

    Raises:
        InputError: another precision, or the name of a re-ranker.
        ModelNotFoundError: unknown, or not on this machine.
        ModelInvalidError: a file is missing, damaged or of another kind, or says it pools in a way that is
            not known here.

    Attributes:
        name: under which an index records it: the short name, the hub id, or the path of the folder.
        dimension: numbers of a vector.
        pool: prefixes and pooling.
        window: tokens of a text that are read.
    """

    def __init__(self, name_or_folder: str, *, precision: str = "int8", download: bool = False) -> None:
        self.precision = checked_precision(precision)
        self._folder = models.resolve(name_or_folder, "embedder", download, precision=precision)
        self._config = self._folder.json("config.json")
        if models.kind_of(self._folder) != "embedder":
            raise InputError(
                f"{self._folder.name} is a re-ranker, not an embedder; see: secondpass models list"
            )
        self.name = str(self._folder.path) if self._folder.origin == "folder" else self._folder.name
        self.pool: Pool = pool_of(self._folder)
        self.window = _window(self._folder, self._config)
        width = self._config.get("hidden_size")
        if not isinstance(width, int) or width < 1:
            raise ModelInvalidError(
                f"{self._folder.path}/config.json has no hidden_size; fetch the model again"
            )
        self.dimension = width

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Embed queries, each behind the model's query prefix, none cut.

        A query longer than the window is read in parts whose vectors are averaged, weighted by their tokens;
        the prefix stands before the first of them.

        Returns:
            ``(n, dimension)`` float32, each row of unit length.

        Raises:
            QueryError: a query has more than 2048 tokens or 20,000 characters.
            InputError: not a list of strings.
        """
        queries = checked_texts(texts, "queries")
        for query in queries:
            check_length(query)
        rows: list[list[int]] = []
        owners: list[int] = []
        for place, ids in enumerate(self._tokenise([self.pool.query_prefix + query for query in queries])):
            if len(ids) > MAX_QUERY_TOKENS:
                raise QueryError(
                    f"the query has {len(ids)} tokens, at most {MAX_QUERY_TOKENS} can be read; "
                    "ask a shorter question"
                )
            own = parts(ids, self._room)
            rows += own
            owners += [place] * len(own)
        sums = np.zeros((len(queries), self.dimension), dtype=np.float32)
        weights = np.array([len(row) + self._frame.size for row in rows], dtype=np.float32)[:, None]
        np.add.at(sums, owners, self._embed(rows) * weights)
        return unit(sums)

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Embed passages, each behind the model's passage prefix; of a longer one the window is read.

        Returns:
            ``(n, dimension)`` float32, each row of unit length.

        Raises:
            InputError: not a list of strings.
        """
        passages = checked_texts(texts, "passages")
        vectors = np.empty((len(passages), self.dimension), dtype=np.float32)
        start = 0
        for part in slices([text[:MAX_CHARACTERS] for text in passages]):
            found = self._embed(self._tokenise([self.pool.passage_prefix + text for text in part]))
            vectors[start : start + len(part)] = found
            start += len(part)
        return vectors

    def _tokenise(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _embed(self, texts: list[list[int]]) -> Floats:
        rows = [self._frame.around(ids[: self._room]) for ids in texts]
        pooled = np.empty((len(rows), self.dimension), dtype=np.float32)

        def work(places: Integers, states: Floats, starts: Starts) -> None:
            if states.ndim != 2 or states.shape[1] != self.dimension:
                raise ModelInvalidError(
                    f"{self.name} gives {states.shape[1:]} numbers a token, its config.json says "
                    f"{self.dimension}; fetch the model again"
                )
            pooled[places] = (
                states[starts[:-1]] if self.pool.pooling == "cls" else mean_states(states, starts)
            )

        run_states(self._encoder, rows, work)
        return unit(pooled)

    @property
    def _room(self) -> int:
        return self.window - self._frame.size

    @cached_property
    def _encoder(self) -> TokenStates:
        weights = self._folder.safetensors() or self._folder.onnx()
        if self.precision == "int8" and weights and native.available() and checkpoints.fits(self._config):
            try:
                return checkpoints.bert_encoder(checkpoints.weights_of(weights), self._config)
            except KeyError:  # its file is built another way: the runtime can read it
                pass
        pad = int(self._config.get("pad_token_id") or 0)
        return _GraphStates(open_graph(best_graph(self._folder, self.precision)), pad)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._folder)

    @cached_property
    def _frame(self) -> Frame:
        return single_frame(self._tokenizer)


class _GraphStates:
    """Token states of an ONNX graph, padded with the model's own padding."""

    def __init__(self, graph: Graph, pad: int) -> None:
        self._graph, self._pad = graph, pad

    def states(self, rows: Sequence[Row]) -> tuple[Floats, Starts]:
        """Return packed states and where each row starts."""
        batch: Batch = padded(rows, np.arange(len(rows)), self._pad)
        return np.ascontiguousarray(self._graph.run(batch)[batch.mask == 1]), starts_of(rows)

    def batches(self, lengths: Sequence[int]) -> list[Integers]:
        """Return groups of similar lengths under the graph's budget."""
        return token_batches(lengths, self._graph.row_budget)


def _window(folder: ModelFolder, config: dict[str, Any]) -> int:
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 8:
        return MAX_WINDOW
    if config.get("model_type") in _OFFSET_POSITIONS:  # positions start behind that of the padding
        positions -= int(config.get("pad_token_id") or 0) + 1
    settings = folder.json("tokenizer_config.json", required=False).get("model_max_length")
    longest = int(settings) if isinstance(settings, int | float) and 8 <= settings < 2**31 else positions
    return min(positions, longest, MAX_WINDOW)
