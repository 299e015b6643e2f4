"""Everyday figures on this machine: import, cold and warm search, indexing, memory, install size.

    python benchmarks/core.py              # about three minutes
    python benchmarks/core.py --install    # also installs the package into a fresh environment to weigh it

The text is what `secondpass demo` indexes: the documentation of this Python's standard library.
Writes benchmarks/core.json.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import child, cold_search, spread, write
from secondpass import Engine, Index, load_reranker
from secondpass.cli.demo import build_corpus
from secondpass.models import resolve
from secondpass.tokenizing import load_tokenizer

QUERIES = [
    "how do I wait for several things at once?",
    "write a file so that a crash does not lose it",
    "turn text into a date",
    "run another program and read what it prints",
    "remember what a function returned last time",
    "compare two versions of a text",
    "stop a loop that takes too long",
    "what happens when two threads write to the same list?",
    "read settings from a file",
    "find all files below a folder",
]


def import_time(runs: int) -> dict[str, Any]:
    """Time `import secondpass` in new processes, interleaved with an empty program."""
    with_import, without = [], []
    for _ in range(runs):
        without.append(child([sys.executable, "-c", "pass"])[0] * 1000)
        with_import.append(child([sys.executable, "-c", "import secondpass"])[0] * 1000)
    difference = statistics.median(with_import) - statistics.median(without)
    return {"process_ms": spread(with_import), "empty_ms": spread(without), "import_ms": round(difference, 1)}


def warm_search(index: Index, name: str, runs: int) -> dict[str, Any]:
    """Time `Engine.search` in this process after a warm-up, 20 candidates."""
    engine = Engine(index, None if name == "none" else load_reranker(name), candidates=20)
    engine.search(QUERIES[0])
    results = [engine.search(QUERIES[run % len(QUERIES)]) for run in range(runs)]
    stages = {
        stage: spread([getattr(each.timings, stage) for each in results])
        for stage in ("embed", "search", "rerank", "total")
    }
    return {"candidates": 20, "ms": stages}


def indexing(corpus: Path, folder: Path) -> dict[str, Any]:
    """Index the corpus anew, then once more unchanged."""
    with Index.open(folder) as index:
        start = time.perf_counter()
        report = index.add([corpus])
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        again = index.add([corpus])
        unchanged = time.perf_counter() - start
        texts = [hit.passage.text for query in QUERIES for hit in index.search(query, 50)]
    tokenizer = load_tokenizer(resolve("all-MiniLM-L6-v2", kind="embedder"))
    tokens = [len(tokenizer.encode(text).ids) for text in texts]
    return {
        "documents": report.added,
        "passages": report.passages,
        "embedded": report.embedded,
        "seconds": round(seconds, 1),
        "passages_per_second": round(report.passages / seconds, 1),
        "tokens_per_passage_mean": round(statistics.mean(tokens), 1),
        "again_unchanged_seconds": round(unchanged, 2),
        "again_embedded": again.embedded,
    }


def install_size() -> dict[str, Any]:
    """Install the checkout into a fresh virtual environment and weigh it."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        before = _megabytes(Path(folder))
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(root)], check=True)
        after = _megabytes(Path(folder))
    return {"environment_mb": after, "of_which_pip_and_python_links_mb": before}


def _megabytes(folder: Path) -> float:
    """Return what a folder occupies on disk (allocated blocks, as ``du`` counts), in MB of 10^6 bytes."""
    blocks = sum(path.lstat().st_blocks for path in folder.rglob("*"))
    return round(blocks * 512 / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="also weigh a fresh install")
    parser.add_argument("--runs", type=int, default=15, help="processes and searches to time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        corpus = build_corpus(work / "corpus")
        figures: dict[str, Any] = {"import": import_time(arguments.runs)}
        figures["indexing"] = indexing(corpus, work / "index")
        with Index.open(work / "index") as index:
            names = ["none", "late-interaction", "minilm-l6"]
            figures["warm_search"] = {name: warm_search(index, name, 3 * arguments.runs) for name in names}
        figures["cold_search"] = {
            name: cold_search(work / "index", QUERIES[0], arguments.runs, name)
            for name in ("auto", "minilm-l6", "none")
        }
        if arguments.install:
            figures["install"] = install_size()
        print(write("core", figures))


if __name__ == "__main__":
    main()
