"""The cores this process may really use, and work spread over them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = ["cpu_quota", "for_each", "one_core", "usable_cores"]

T = TypeVar("T")

_here = threading.local()


@contextmanager
def one_core() -> Iterator[None]:
    """Have what this thread does in the block stay on this thread: others keep the other cores busy."""
    before = getattr(_here, "alone", False)
    _here.alone = True
    try:
        yield
    finally:
        _here.alone = before


def usable_cores(
    cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Return how many cores this process may use: the CPU affinity, limited by a container's CPU quota.

    Within ``one_core`` it is 1.
    """
    if getattr(_here, "alone", False):
        return 1
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


_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def for_each(work: Callable[[T], None], things: Sequence[T]) -> None:
    """Call ``work`` on each thing, several at once on the usable cores; the first error ends it."""
    global _pool
    several = len(things) > 1 and not getattr(_here, "alone", False)
    if several and _pool is None and (cores := usable_cores()) > 1:
        with _lock:
            _pool = _pool or ThreadPoolExecutor(cores, thread_name_prefix="secondpass")
    if several and _pool is not None:
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
