"""This machine in facts: processor, cores we may use, memory, versions; and how much memory we took."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import sys
from pathlib import Path

from ..cores import cpu_quota, usable_cores
from .values import Machine

__all__ = ["describe", "peak_memory"]

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
_PACKAGES = ("secondpass", "numpy", "onnxruntime", "tokenizers", "usearch")


def describe() -> Machine:
    """Return the facts of this machine, as this process sees it."""
    cpu, flags = _processor()
    quota = cpu_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=cpu,
        flags=flags,
        cores=usable_cores(),
        affinity=affinity,
        quota=None if math.isinf(quota) else quota,
        memory=_memory(),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **_versions()},
    )


def peak_memory() -> int | None:
    """Return the most bytes of main memory that this process held at once; None where nobody counts."""
    try:
        # Of this program alone; getrusage also remembers whoever started it.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> tuple[str, tuple[str, ...]]:
    name = platform.processor() or platform.machine() or "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return name, ()
    facts = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = (facts.get("flags") or facts.get("features") or "").split()
    return facts.get("model name") or name, tuple(flag for flag in _FLAGS if flag in known)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
