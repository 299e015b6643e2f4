"""Running models over token ids, and ONNX graphs by ONNX Runtime.

A graph is opened once per file and shared. Each session runs with one thread; several batches run at once,
each on a thread of a small pool, which beats one session with many threads. What a batch gives is reduced
before the next one runs, so memory stays bounded.

States of several texts are passed on packed: ``(tokens, width)``, without padding, and ``(n + 1,)`` starts.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .batching import TOKEN_BUDGET, Batch, Integers, Row, Starts, padded, starts_of, token_batches
from .cores import for_each
from .errors import InputError, ModelInvalidError

__all__ = [
    "Graph",
    "TokenStates",
    "checked_device",
    "mean_states",
    "open_graph",
    "run_rows",
    "run_states",
    "unit",
]

Floats = npt.NDArray[np.float32]

_NODES_END = 8 * 2**20
_CUDA = "CUDAExecutionProvider"
_FEEDS = ("input_ids", "attention_mask", "token_type_ids")


class TokenStates(Protocol):
    """What gives the states of tokens: an ONNX graph, or an encoder on our own kernels."""

    def states(self, rows: Sequence[Row]) -> tuple[Floats, Starts]:
        """Return packed states ``(tokens, width)`` and where each row starts, ``(n + 1,)``."""
        ...

    def batches(self, lengths: Sequence[int]) -> list[Integers]:
        """Return how rows of these lengths are best grouped: the positions of each batch's rows."""
        ...


class Graph:
    """One ONNX graph over token ids. Safe to use from several threads.

    Attributes:
        path: its file.
        inputs: names of the inputs it declares; nothing else is fed.
        outputs: name and declared shape of each output.
        row_budget: the ``budget`` for ``run_rows``: one row a batch where activations are quantised with a
            scale taken over the whole batch, so that a row's numbers never depend on its neighbours.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        """Open the file on a device, see ``checked_device``.

        Raises:
            InputError: the device cannot be used.
            ModelInvalidError: it is missing, damaged, or wants inputs other than token ids, mask and types.
        """
        self.path = path
        self._session = _open(path, device)
        self.inputs = [each.name for each in self._session.get_inputs()]
        unknown = sorted(set(self.inputs) - set(_FEEDS))
        if unknown or "input_ids" not in self.inputs:
            raise ModelInvalidError(
                f"{path} has the inputs {', '.join(self.inputs)}; secondpass can feed {', '.join(_FEEDS)}"
            )
        self.outputs: dict[str, list[Any]] = {each.name: each.shape for each in self._session.get_outputs()}

        self.row_budget = 1 if _scales_by_batch(path) else TOKEN_BUDGET

    def run(self, batch: Batch, output: str | None = None) -> Floats:
        """Return one output (the first by default) for a batch, float32.

        Raises:
            ModelInvalidError: the graph cannot be run on it, e.g. its tokenizer is another model's.
        """
        feeds = dict(zip(_FEEDS, (batch.ids, batch.mask, batch.types), strict=True))
        try:
            (values,) = self._session.run(
                [output or next(iter(self.outputs))], {name: feeds[name] for name in self.inputs}
            )
        except Exception as exc:
            raise ModelInvalidError(
                f"{self.path} cannot be run: {_first_line(exc)}; its tokenizer may belong to another model"
            ) from exc
        return np.asarray(values, dtype=np.float32)

    def states(self, rows: Sequence[Row]) -> tuple[Floats, Starts]:
        """Return the first output packed, padding left out, and where each row starts."""
        batch = padded(rows, np.arange(len(rows)), 0)
        return np.ascontiguousarray(self.run(batch)[batch.mask == 1]), starts_of(rows)

    def batches(self, lengths: Sequence[int]) -> list[Integers]:
        """Return groups of similar lengths under the graph's budget."""
        return token_batches(lengths, self.row_budget)


def _scales_by_batch(path: Path) -> bool:
    """Whether the graph has an operator for dynamic quantisation; nodes stand before weights in the file."""
    with path.open("rb") as stream:
        return b"DynamicQuantizeLinear" in stream.read(_NODES_END)


def checked_device(device: object) -> str:
    """Return the name of a device that ONNX Runtime can use here: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: it is none, or this machine's ONNX Runtime was built without it.
    """
    if device == "cpu":
        return "cpu"
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind != "cuda" or (device != "cuda" and not number.isdecimal()):
        raise InputError(f"device must be cpu, cuda or cuda:1, got {device!r}; others: backend='torch'")
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if _CUDA not in there:
        raise InputError(
            f"device {device!r} needs onnxruntime-gpu; the ONNX Runtime here offers {', '.join(there)}. "
            "Put it in its place: pip uninstall onnxruntime; pip install onnxruntime-gpu"
        )
    return str(device)


def _open(path: Path, device: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; the runtime must not print them as well
    providers: list[Any] = ["CPUExecutionProvider"]
    if checked_device(device) != "cpu":
        providers.insert(0, (_CUDA, {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as exc:  # onnxruntime raises many types, and bare RuntimeError
        raise ModelInvalidError(f"cannot open {path}: {_first_line(exc)}; fetch the model again") from exc
    if len(providers) > 1 and _CUDA not in session.get_providers():  # it falls back without a word
        raise InputError(
            f"ONNX Runtime could not start on {device}: its CUDA libraries or the driver are absent or of "
            "another version; take device='cpu', or install what onnxruntime-gpu asks for"
        )
    return session


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]


_graphs: weakref.WeakValueDictionary[tuple[str, int, int, str], Graph] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def open_graph(path: Path, device: str = "cpu") -> Graph:
    """Return the graph of a file; all who ask for the same unchanged file on the same device share it."""
    try:
        status = path.stat()
    except OSError as exc:
        raise ModelInvalidError(f"cannot open {path}: {exc.strerror}; fetch the model again") from exc
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, device)
    with _lock:
        graph = _graphs.get(key)
        if graph is None:
            graph = _graphs[key] = Graph(path, device)
        return graph


def run_states(
    model: TokenStates, rows: Sequence[Row], work: Callable[[Integers, Floats, Starts], None]
) -> None:
    """Give ``work`` the places, states and starts of each batch of rows, several at once."""

    def run(places: Integers) -> None:
        work(places, *model.states([rows[place] for place in places]))

    for_each(run, model.batches([len(row.ids) for row in rows]))


def run_rows(
    rows: Sequence[Row], work: Callable[[Batch], None], budget: int = TOKEN_BUDGET, pad_id: int = 0
) -> None:
    """Pad rows into batches and give each batch to ``work``, several at once on the usable cores.

    ``work`` must reduce what its batch gives and write it to the batch's own ``places``.
    """
    batches = token_batches([len(row.ids) for row in rows], budget)
    for_each(lambda places: work(padded(rows, places, pad_id)), batches)


def mean_states(states: Floats, starts: Starts) -> Floats:
    """Return the mean over the tokens of each row: packed ``(tokens, d)`` to ``(n, d)``."""
    sums = np.add.reduceat(states, starts[:-1], axis=0)
    return np.asarray(sums / np.diff(starts)[:, None], dtype=np.float32)


def unit(vectors: Floats) -> Floats:
    """Return the vectors along the last axis scaled to unit length; a zero vector stays zero.

    Raises:
        ModelInvalidError: a value is NaN or infinite.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ModelInvalidError(
            "the model gave numbers that are not finite; its weights are damaged, fetch it again"
        )
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
