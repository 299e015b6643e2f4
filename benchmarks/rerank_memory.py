"""How much memory re-ranking takes: 10,000 passages of 100 KB each, made as they are read, within 1 GB.

    python benchmarks/rerank_memory.py                       # about ten minutes on two idle cores
    python benchmarks/rerank_memory.py --counts 100 1000

Each count is a process of its own; its peak resident memory is what the system reports at the end. To read
so much text whole would take hours, so the many are read by their first window only; a few are read whole.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from common import peak_memory_mb, write

QUERY = "how long may a queue wait for a lock before it gives up?"
LIMIT_MB = 1000


class Made(Sequence[str]):
    """Distinct texts of about the same length, made whenever they are asked for."""

    def __init__(self, count: int, characters: int) -> None:
        self.count, self.characters = count, characters
        path = Path(__file__).with_name("README.md")
        self.words = sorted(set(path.read_text(encoding="utf-8").split()))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        if not 0 <= place < self.count:
            raise IndexError(place)
        words = " ".join(random.Random(place).choices(self.words, k=self.characters // 4))
        return f"{place} {words}"[: self.characters]


def measure(count: int, kilobytes: int, max_length: int | None, max_windows: int) -> dict[str, Any]:
    from secondpass import CrossEncoder

    reranker = CrossEncoder("minilm-l6", max_length=max_length, max_windows=max_windows)
    reranker.read(QUERY, ["warm up"])
    before = peak_memory_mb()
    start = perf_counter()
    readings = reranker.read(QUERY, Made(count, kilobytes * 1000))
    return {
        "passages": count,
        "kilobytes_each": kilobytes,
        "max_length": reranker.max_length,
        "max_windows": max_windows,
        "readings": len(readings),
        "tokens": sum(each.tokens_total for each in readings),
        "tokens_read": sum(each.tokens_seen for each in readings),
        "seconds": round(perf_counter() - start, 1),
        "peak_mb_with_the_model_alone": before,
        "peak_mb": peak_memory_mb(),
    }


def in_a_process(*settings: object) -> dict[str, Any]:
    """Measure in a child: its peak is its own."""
    command = [sys.executable, __file__, "--child", json.dumps(settings)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(done.stdout.strip(), flush=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--whole", type=int, default=20, help="passages that are read with all their windows")
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(*json.loads(options.child))))
        return
    runs = [in_a_process(options.whole, options.kilobytes, None, 32)]
    runs += [in_a_process(count, options.kilobytes, 128, 1) for count in options.counts]
    within = all(run["peak_mb"] <= LIMIT_MB for run in runs)
    write("rerank_memory", {"limit_mb": LIMIT_MB, "within": within, "runs": runs})


if __name__ == "__main__":
    main()
