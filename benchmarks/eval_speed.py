"""How long `secondpass eval` takes on a folder in BEIR layout: cold, and again with everything cached.

Real processes: the index alone (`index_of`), the first evaluation over it, and the same command again.
Cold is the sum of the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import HERE, default_work, target, use_cores, write

SHARED = HERE.parent.parent / "shared" / "data" / "collections"
INDEXING = """
import sys
from secondpass.evaluation.corpus import index_of
with index_of(sys.argv[1]) as index:
    status = index.status()
print(status.documents, status.passages)
"""


def timed(command: list[str], cache: Path) -> tuple[float, str]:
    """Run a command to its end with a cache folder of its own; return seconds and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=cache.parent,  # no settings file of whoever runs this
        env=os.environ | {"SECONDPASS_CACHE_FOLDER": str(cache)},
    )
    return time.perf_counter() - start, done.stdout


def measure(folder: Path, candidates: int, cached_runs: int, work: Path) -> dict[str, Any]:
    """Return the seconds of each step."""
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    command = ["-m", "secondpass", "eval", str(folder.resolve()), "--candidates", str(candidates)]
    command += ["--reranker", "minilm-l6", "--stage1", "dense", "--json"]
    indexing, counts = timed(["-c", INDEXING, str(folder.resolve())], cache)
    evaluating, printed = timed(command, cache)
    again = [timed(command, cache) for _ in range(cached_runs)]
    first = without_times(json.loads(printed))
    if any(without_times(json.loads(each)) != first for _, each in again):
        raise SystemExit("a cached run does not say what the first one said")
    documents, passages = map(int, counts.split())
    cached = max(seconds for seconds, _ in again)
    return {
        "targets": [
            target(
                f"eval {folder.name} cold, re-ranking {candidates}",
                round(indexing + evaluating, 1),
                at_most=240,
                unit="s",
            ),
            target(f"eval {folder.name} cached", round(cached, 1), at_most=10, unit="s"),
        ],
        "collection": folder.name,
        "documents": documents,
        "passages": passages,
        "queries": first["queries"],
        "candidates": candidates,
        "indexing_s": round(indexing, 1),
        "evaluation_s": round(evaluating, 1),
        "cached_s": [round(seconds, 2) for seconds, _ in again],
    }


def without_times(found: Any) -> Any:
    """Return what was printed without what differs between two runs: wall times."""
    if isinstance(found, dict):
        return {
            name: without_times(value)
            for name, value in found.items()
            if not name.endswith("_ms") and name not in ("ms", "seconds", "timings")
        }
    return [without_times(each) for each in found] if isinstance(found, list) else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=SHARED / "scifact", help="a folder in BEIR layout")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--cached-runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--work", type=Path, default=default_work() / "eval", help="for the cache")
    parser.add_argument(
        "--out", type=Path, help="folder for the JSON; default: beside this if scifact, else --work"
    )
    arguments = parser.parse_args()
    threads = use_cores(arguments.threads)
    full = (arguments.folder.name, arguments.candidates) == ("scifact", 20)
    out = arguments.out or (HERE if full else arguments.work)
    figures = measure(arguments.folder, arguments.candidates, arguments.cached_runs, arguments.work)
    print(write("eval_speed", {"quick": not full, "threads": threads, **figures}, out))


if __name__ == "__main__":
    main()
