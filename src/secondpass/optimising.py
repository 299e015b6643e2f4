"""A re-ranker in 8 bits, made once, and how far its scores drift on text one cares about.

Drift is not assumed: float32 and 8 bits score the same candidates of the same queries, and where too many
top 3s come out differently, float32 stays in use. There are two ways to compute in 8 bits, and each is looked
at by itself: a copy of the graph for ONNX Runtime, and our own kernels where this processor can run them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import models
from .batching import Batch, Row
from .converting import Receipt, int8_file, made_from, onnx_file, write_int8, write_receipt
from .drift import Asked, Drift, Scorer, drift
from .errors import InputError, ModelError, ModelInvalidError
from .inference import open_graph, run_rows
from .models import ModelFolder
from .reranking.scorers import kernel_scorer
from .tokenizing import load_tokenizer, pair_frame

if TYPE_CHECKING:
    from .types import Floats

__all__ = ["KERNELS", "MAX_CHANGE", "RUNTIME", "Optimised", "Way", "forget", "optimise"]

MAX_CHANGE = 0.25
"""Share of queries whose top 3 may be another set of passages in 8 bits than in float32.

The copy of minilm-l6 for ONNX Runtime changes 4 to 22 of 100; a model that was hardly trained, whose scores
lie so close together that rounding decides, changes 56. See docs/precision.md.
"""
RUNTIME, KERNELS = "onnxruntime", "kernels"
"""The two ways to compute in 8 bits."""
_LONGEST = 256
"""Tokens of a pair that are scored here; drift does not need more, and the check should not take long."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute in 8 bits: how far it drifts, and whether it is used from now on."""

    drift: Drift
    accepted: bool


@dataclass(frozen=True, slots=True)
class Optimised:
    """What one ``optimise`` did.

    Attributes:
        name: of the model.
        source, source_bytes: the float32 graph.
        file: its 8-bit copy; None where that was refused.
        file_bytes: size of the copy, also where it was refused.
        ways: ``onnxruntime``, and ``kernels`` where they can run the model on this processor.
        max_change: the limit for ``Drift.top3_changed``.
    """

    name: str
    source: Path
    source_bytes: int
    file: Path | None
    file_bytes: int
    ways: Mapping[str, Way]
    max_change: float

    @property
    def used(self) -> str | None:
        """The way that this machine takes from now on; None where it is float32."""
        return next((way for way in (KERNELS, RUNTIME) if way in self.ways and self.ways[way].accepted), None)


def optimise(
    name_or_folder: str | Path, asked: Sequence[Asked], *, max_change: float = MAX_CHANGE, text: str = ""
) -> Optimised:
    """Put a re-ranker into 8 bits, measure the drift on queries and candidates, and keep it or leave it.

    Args:
        name_or_folder: see ``secondpass.models.resolve``; ONNX, or safetensors that can be converted.
        asked: at least one query with at least two candidates; see ``secondpass.drift``.
        max_change: largest share of queries whose top 3 may change, 0 to 1.
        text: what ``asked`` was made of, for the receipt.

    Raises:
        InputError: nothing to measure on, a limit out of range, or a model that came with the package.
        MissingExtraError: the extra ``convert`` is not installed.
        ModelError: the model cannot be found, read, put into 8 bits, or written.
    """
    if isinstance(max_change, bool) or not 0 <= max_change <= 1:
        raise InputError(f"max_change is a share of queries from 0 to 1, got {max_change!r}")
    if not any(len(texts) > 1 for _, texts in asked):
        raise InputError("drift needs a query with at least two candidates; index some text first")
    folder = _own(models.resolve(name_or_folder, "reranker"))
    source = onnx_file(folder)
    copy = int8_file(folder, source)
    _delete(copy)  # from here to the receipt, a copy that is there is not used
    try:
        write_int8(source, copy)
        size, ways = copy.stat().st_size, _measured(folder, source, copy, asked, max_change)
        _keep(copy, source, size, ways, text)
    except BaseException:
        _delete(copy)
        raise
    kept = copy if ways[RUNTIME].accepted else None
    return Optimised(folder.name, source, _size(source), kept, size, ways, max_change)


def forget(name_or_folder: str | Path) -> Path | None:
    """Delete the 8-bit copy of a re-ranker and its receipt; return the copy, None where there was none."""
    folder = _own(models.resolve(name_or_folder, "reranker"))
    copy = int8_file(folder, onnx_file(folder))
    there = copy.is_file()
    _delete(copy)
    return copy if there else None


def _measured(
    folder: ModelFolder, source: Path, copy: Path, asked: Sequence[Asked], max_change: float
) -> dict[str, Way]:
    full, ways = _scorer(folder, _logits(folder, source)), {}
    for way, logits in _in_8_bits(folder, copy).items():
        found = drift(asked, full, _scorer(folder, logits))
        ways[way] = Way(found, found.top3_changed <= max_change)
    return ways


def _own(folder: ModelFolder) -> ModelFolder:
    if folder.origin == "package":
        raise InputError(
            f"{folder.name} came with the package, its weights in 8 bits already; nothing is to be optimised"
        )
    return folder


def _delete(copy: Path) -> None:
    try:
        copy.with_suffix(".json").unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    except OSError as exc:
        raise ModelError(f"cannot delete {exc.filename}: {exc.strerror}; delete it yourself") from exc


def _keep(copy: Path, source: Path, size: int, ways: Mapping[str, Way], text: str) -> None:
    """Write the receipt; delete a copy that was refused."""
    accepted = ways[RUNTIME].accepted
    if not accepted:
        _delete(copy)
    receipt = Receipt(
        **made_from(source),
        size=size if accepted else 0,
        accepted=accepted,
        kernels_accepted=ways[KERNELS].accepted if KERNELS in ways else None,
        versions={name: importlib.metadata.version(name) for name in ("secondpass", "onnx", "onnxruntime")},
        drift={"text": text, **{name: asdict(way.drift) for name, way in ways.items()}},
    )
    try:
        write_receipt(copy, receipt)
    except OSError as exc:
        raise ModelError(f"cannot write to {copy.parent}: {exc.strerror or exc}; free space") from exc


def _size(source: Path) -> int:
    return int(made_from(source)["source_size"])


Logits = Callable[[Sequence[Row]], "Floats"]


def _in_8_bits(folder: ModelFolder, copy: Path) -> dict[str, Logits]:
    """Return what gives framed pairs their logits, for each way there is on this machine."""
    ways = {RUNTIME: _logits(folder, copy)}
    kernels = kernel_scorer(folder, folder.json("config.json"))
    return ways if kernels is None else {**ways, KERNELS: kernels.logits}


def _logits(folder: ModelFolder, file: Path) -> Logits:
    """Return the logits of one graph, on ONNX Runtime."""
    graph, pad = open_graph(file), _pad(folder)
    output = "logits" if "logits" in graph.outputs else None

    def logits(rows: Sequence[Row]) -> Floats:
        found = np.empty(len(rows), dtype=np.float32)

        def work(batch: Batch) -> None:
            values = graph.run(batch, output)
            if values.size != len(batch.places):
                raise ModelInvalidError(f"{file} gives several values a pair; a re-ranker gives one logit")
            found[batch.places] = values.reshape(-1)

        run_rows(rows, work, graph.row_budget, pad)
        return found

    return logits


def _scorer(folder: ModelFolder, logits: Logits) -> Scorer:
    """Return what scores the candidates of a query, the beginning of each where it is long."""
    tokenizer = load_tokenizer(folder)
    frame = pair_frame(tokenizer)
    positions = int(folder.json("config.json").get("max_position_embeddings") or _LONGEST)
    room = max(2, min(_LONGEST, positions - _pad(folder) - 1) - frame.size)

    def score(query: str, texts: Sequence[str]) -> Floats:
        asked = tokenizer.encode(query, add_special_tokens=False).ids[: room // 2]
        read = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        scores = logits([frame.around(asked, each.ids[: room - len(asked)]) for each in read])
        if not np.isfinite(scores).all():
            raise ModelInvalidError(
                f"{folder.name} gave a logit that is not finite; its weights are damaged, fetch it again"
            )
        return scores

    return score


def _pad(folder: ModelFolder) -> int:
    return int(folder.json("config.json").get("pad_token_id") or 0)
