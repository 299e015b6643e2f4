"""What indexing costs besides embedding: reading, splitting, hashing, writing, for embedders of any speed.

    python benchmarks/indexing_overhead.py                           # about a minute
    python benchmarks/indexing_overhead.py --against ../before/src   # two checkouts in turn, as a ratio
    python benchmarks/indexing_overhead.py --long                    # and 100,000 passages, for memory

Two embedders stand in for a model. `free` costs nothing: it shows the time that nothing but us takes. `paced`
waits the time that a model would compute (800 passages a second) and leaves the interpreter free, as a native
engine does: it shows how much of our own work hides behind it. Texts are sentences of this Python's standard
documentation, shuffled with a fixed seed. Each run is a process of its own. Writes
benchmarks/indexing_overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import spread, write

SHAPES = {"files": 12, "rows": 1}
"""Passages a document, about: text files of some pages, or one JSONL file with a short document a line."""
PACE = 800.0
CHILD = "--child"


def sentences() -> list[str]:
    """Return sentences as people write them."""
    from secondpass.cli.demo import build_corpus

    with tempfile.TemporaryDirectory() as folder:
        corpus = build_corpus(Path(folder) / "corpus")
        texts = [path.read_text(encoding="utf-8") for path in sorted(corpus.rglob("*")) if path.is_file()]
    found = [" ".join(part.split()) for text in texts for part in re.split(r"(?<=[.!?])\s+", text)]
    return [each for each in found if 20 <= len(each) <= 400]


def write_corpus(folder: Path, shape: str, passages: int) -> None:
    """Write so many passages' worth of text (about 450 characters each, none equal)."""
    pool, chance, size = sentences(), random.Random(20261123), SHAPES[shape]
    folder.mkdir(parents=True)
    rows = []
    for number in range(passages // size):
        paragraphs = []
        for part in range(size):
            words, place = f"({number}.{part})", chance.randrange(len(pool))
            while len(words) < 400:
                words += " " + pool[place % len(pool)]
                place += chance.randrange(1, 9)
            paragraphs.append(words[:480])
        text = "\n\n".join(paragraphs)
        if shape == "rows":
            rows.append(json.dumps({"text": text, "number": number}))
        else:
            place = folder / f"{number // 500:03}" / f"{number:06}.txt"
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
    if rows:
        (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")


def child(corpus: str, folder: str, pace: float) -> None:
    """Index and print what it took (in a process of its own)."""
    import resource

    import numpy as np

    from secondpass import Index

    unit = np.random.default_rng(7).standard_normal((1024, 384)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    class Paced:
        name, dimension = "paced", 384

        def embed_passages(self, texts: list[str]) -> Any:
            if pace:
                time.sleep(len(texts) / pace)
            return unit[np.arange(len(texts)) % len(unit)]

        embed_queries = embed_passages

    with Index.open(folder, embedder=Paced()) as index:
        start = time.perf_counter()
        report = index.add([corpus])
        seconds = time.perf_counter() - start
        start, used = time.perf_counter(), time.process_time()
        index.add([corpus])
        again = time.perf_counter() - start
        fingerprint = index.fingerprint(vectors=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {
        "passages": report.passages,
        "documents": report.added,
        "seconds": seconds,
        "processor_seconds": used,
        "unchanged_seconds": again,
        "peak_memory_mb": peak / 1e6,
        "fingerprint": fingerprint,
    }
    print(json.dumps(figures))


LAUNCHER = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
"""A small process starts what is measured: a child inherits the peak memory of whoever starts it."""


def measured(source: Path | None, corpus: Path, work: Path, pace: float) -> dict[str, Any]:
    """Run one child, with the package from a source folder if one is named."""
    environment = {**os.environ, **({"PYTHONPATH": str(source)} if source else {})}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [sys.executable, __file__, CHILD, str(corpus), folder, str(pace)]
        done = subprocess.run(
            [sys.executable, "-S", "-c", LAUNCHER, *command],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
    return dict(json.loads(done.stdout))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spread over the runs."""
    return {
        "passages": runs[0]["passages"],
        "documents": runs[0]["documents"],
        "passages_per_second": spread([each["passages"] / each["seconds"] for each in runs], 0),
        "processor_seconds": spread([each["processor_seconds"] for each in runs], 2),
        "unchanged_seconds": spread([each["unchanged_seconds"] for each in runs], 2),
        "peak_memory_mb": spread([each["peak_memory_mb"] for each in runs], 0),
    }


def compared(
    sources: dict[str, Path | None], corpus: Path, work: Path, pace: float, runs: int
) -> dict[str, Any]:
    """Run each source in turn; the fingerprints of what they built must be equal."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sources}
    for _ in range(runs):
        for name, source in sources.items():
            found[name].append(measured(source, corpus, work, pace))
    built = {each["fingerprint"] for figures in found.values() for each in figures}
    if len(built) != 1:
        raise SystemExit("the runs built different indexes")
    figures: dict[str, Any] = {name: summary(each) for name, each in found.items()}
    if len(found) == 2:
        before, after = (found[name] for name in ("before", "now"))
        ratios = [old["seconds"] / new["seconds"] for old, new in zip(before, after, strict=True)]
        figures["times_faster"] = spread(ratios, 2)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=12_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--against", type=Path, help="source folder of another version, run in turn")
    parser.add_argument("--long", action="store_true", help="also 100,000 passages, once")
    parser.add_argument("--print", action="store_true", help="print instead of writing the JSON")
    arguments = parser.parse_args()
    sources: dict[str, Path | None] = {"now": None}
    if arguments.against:
        sources = {"before": arguments.against.resolve(), "now": None}
    figures: dict[str, Any] = {"pace_passages_per_second": PACE}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for shape in SHAPES:
            corpus = work / shape
            write_corpus(corpus, shape, arguments.passages)
            figures[shape] = {
                name: compared(sources, corpus, work, pace, arguments.runs)
                for name, pace in (("free", 0.0), ("paced", PACE))
            }
        if arguments.long:
            write_corpus(work / "long", "files", 100_000)
            figures["long"] = compared({"now": None}, work / "long", work, 0.0, 1)
    print(json.dumps(figures, indent=2) if arguments.print else write("indexing_overhead", figures))


if __name__ == "__main__":
    if CHILD in sys.argv:
        child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()
