"""Running models over token ids on the cores we really have, and ONNX graphs by ONNX Runtime.

A graph is opened once per file and shared. Each session runs with one thread; several batches run at once,
each on a thread of a small pool, which beats one session with many threads. Batches are length-sorted under a
token budget, and what a batch gives is reduced before the next one runs, so memory stays bounded.

States of several texts are passed on packed: ``(tokens, width)``, without padding, and ``(n + 1,)`` starts.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import ModelInvalidError

__all__ = [
    "TOKEN_BUDGET",
    "Batch",
    "Graph",
    "Row",
    "Starts",
    "TokenStates",
    "for_each",
    "mean_states",
    "open_graph",
    "packed_batches",
    "run_rows",
    "run_states",
    "starts_of",
    "token_batches",
    "unit",
    "usable_cores",
]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Starts = npt.NDArray[np.int32]
T = TypeVar("T")

TOKEN_BUDGET = 256
"""Tokens (padding included) in a batch: small ones stay in the processor's caches."""

_NODES_END = 8 * 2**20
_FEEDS = ("input_ids", "attention_mask", "token_type_ids")


def usable_cores(
    cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Return how many cores this process may use: the CPU affinity, limited by a container's CPU quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(min(cpu_quota(cgroup_root, membership), allowed))))


def cpu_quota(cgroup_root: Path, membership: Path) -> float:
    """Return the tightest CPU quota (in cores) of this process's cgroups, v1 or v2; infinity without one."""
    quotas = [math.inf]
    for line in _read(membership).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [cgroup_root / name for name in (controllers, "cpu")] if controllers else [cgroup_root]
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for mount in mounts:
            quotas += [_quota(mount.joinpath(*parts[:depth])) for depth in range(len(parts) + 1)]
    return min(quotas)


def _quota(folder: Path) -> float:
    quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota, period = (
            _read(folder / "cpu.cfs_quota_us").strip(),
            _read(folder / "cpu.cfs_period_us").strip(),
        )
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return cores if cores > 0 else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence of a batch: token ids, and the type id of each token."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length.

    Attributes:
        places: ``(b,)`` where each row stands among the rows given.
        ids, mask, types: ``(b, s)`` int64; the mask is 1 for tokens and 0 for padding.
    """

    places: Integers
    ids: Integers
    mask: Integers
    types: Integers


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

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ModelInvalidError: it is missing, damaged, or wants inputs other than token ids, mask and types.
        """
        self.path = path
        self._session = _open(path)
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
        batch = _pad(rows, np.arange(len(rows)), 0)
        return np.ascontiguousarray(self.run(batch)[batch.mask == 1]), starts_of(rows)

    def batches(self, lengths: Sequence[int]) -> list[Integers]:
        """Return groups of similar lengths under the graph's budget."""
        return token_batches(lengths, self.row_budget)


def _scales_by_batch(path: Path) -> bool:
    """Whether the graph has an operator for dynamic quantisation; nodes stand before weights in the file."""
    with path.open("rb") as stream:
        return b"DynamicQuantizeLinear" in stream.read(_NODES_END)


def _open(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; the runtime must not print them as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime raises many types, and bare RuntimeError
        raise ModelInvalidError(f"cannot open {path}: {_first_line(exc)}; fetch the model again") from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]


_graphs: weakref.WeakValueDictionary[tuple[str, int, int], Graph] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def open_graph(path: Path) -> Graph:
    """Return the graph of a file; all who ask for the same unchanged file share it."""
    try:
        status = path.stat()
    except OSError as exc:
        raise ModelInvalidError(f"cannot open {path}: {exc.strerror}; fetch the model again") from exc
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    with _lock:
        graph = _graphs.get(key)
        if graph is None:
            graph = _graphs[key] = Graph(path)
        return graph


def token_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> list[Integers]:
    """Group rows of similar length, longest first, so that a padded batch holds at most ``budget`` tokens.

    Args:
        lengths: tokens in each row.
        budget: most tokens in a batch, padding included; a longer row stands alone.

    Returns:
        For each batch the positions of its rows; together every position once.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def packed_batches(lengths: Sequence[int], budget: int) -> list[Integers]:
    """Group rows, longest first, into batches of about equal work, of ``budget`` tokens or fewer.

    Args:
        lengths: tokens in each row.
        budget: most tokens in a batch; a longer row stands alone.

    Returns:
        For each batch the positions of its rows; a multiple of the usable cores of them, where rows suffice.
    """
    cores = usable_cores()
    count = max(1, math.ceil(sum(lengths) / budget / cores)) * cores
    share = min(budget, math.ceil(sum(lengths) / count))
    batches: list[list[int]] = []
    filled = share
    for place in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        if filled + lengths[place] // 2 >= share:  # half of a row may stand over
            batches.append([])
            filled = 0
        batches[-1].append(place)
        filled += lengths[place]
    return [np.array(batch, dtype=np.int64) for batch in batches]


def starts_of(rows: Sequence[Row]) -> Starts:
    """Return where each row starts when they lie one after another, and the end: ``(n + 1,)``."""
    starts = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row.ids) for row in rows], out=starts[1:])
    return starts


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
    for_each(lambda places: work(_pad(rows, places, pad_id)), batches)


def _pad(rows: Sequence[Row], places: Integers, pad_id: int) -> Batch:
    shape = (len(places), max(len(rows[place].ids) for place in places))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for line, place in enumerate(places):
        row = rows[place]
        ids[line, : len(row.ids)] = row.ids
        types[line, : len(row.ids)] = row.types
        mask[line, : len(row.ids)] = 1
    return Batch(places, ids, mask, types)


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


_pool: ThreadPoolExecutor | None = None


def for_each(work: Callable[[T], None], things: Sequence[T]) -> None:
    """Call ``work`` on each thing, several at once on the usable cores; the first error ends it."""
    global _pool
    if len(things) > 1 and _pool is None and (cores := usable_cores()) > 1:
        with _lock:
            _pool = _pool or ThreadPoolExecutor(cores, thread_name_prefix="secondpass")
    if len(things) > 1 and _pool is not None:
        for _ in _pool.map(work, things):
            pass
        return
    for thing in things:
        work(thing)


def _forget_pool() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # threads do not survive a fork, their pool object would
    os.register_at_fork(after_in_child=_forget_pool)
