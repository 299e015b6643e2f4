"""What reading passages ahead gives: stage 2 over 20 and 100 candidates, disk, and time to keep it up.

    python benchmarks/precompute.py --quick        # 1,000 passages, half a minute, written elsewhere
    python benchmarks/precompute.py                # up to 10,000 passages, a minute and a half

One index of real passages (Python's own documentation, or --corpus). `index --precompute` runs as a process
of its own, as a user would. Then the same questions are searched through `Engine.search` with each setting
in turn, nothing cached: the engine tells stage 2's share of the time. Ratios are taken question by question.
Writes precompute.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import texts
from common import HERE, default_work, folder_size_mb, ratios, spread, target, write
from secondpass import Engine, Index, load_reranker

SETTINGS = (
    ("minilm-l6", 20),
    ("late-interaction", 20),
    ("late-interaction-1bit", 20),
    ("late-interaction-1bit", 100),
)
USUAL = "minilm-l6 20"


def built(work: Path, corpus: Path | None, passages: int) -> tuple[Path, list[str]]:
    """Return an index that is made once and kept, and questions from its text."""
    found = texts.first_with(texts.documents(corpus, work), passages)
    folder = work / "precompute" / f"index-{passages}"
    with Index.open(folder) as index:
        index.add(found)
    return folder, texts.questions(found, 60)


def read_ahead(folder: Path, work: Path) -> dict[str, Any]:
    """Return what `index --precompute` says of itself when nothing was kept yet, and the second time."""
    for old in folder.glob("token_states.db*"):
        old.unlink()
    before = folder_size_mb(folder)
    note = work / "precompute" / "one.txt"
    note.write_text("One more note, so that there is something to index.")
    command = [
        sys.executable,
        "-m",
        "secondpass",
        "index",
        str(note),
        "--index",
        str(folder),
        "--precompute",
        "--json",
    ]
    first, again = (
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["precomputed"]
        for _ in range(2)
    )
    return {
        "texts": first["texts"],
        "index_mb": round(before, 1),
        "kept_mb": round(first["size_bytes"] / 1e6, 1),
        "bytes_a_text": round(first["size_bytes"] / first["texts"]),
        "seconds": first["seconds"],
        "texts_a_second": round(first["added"] / first["seconds"]),
        "seconds_when_nothing_is_new": again["seconds"],
    }


def measured(folder: Path, questions: list[str]) -> dict[str, Any]:
    """Return stage 2's milliseconds for each setting, asked in turn."""
    times: dict[str, list[float]] = {f"{name} {count}": [] for name, count in SETTINGS}
    totals: dict[str, list[float]] = {name: [] for name in times}
    with Index.open(folder) as index:
        engines = {(name, count): Engine(index, load_reranker(name), count) for name, count in SETTINGS}
        for number, question in enumerate(questions):
            for (name, count), engine in engines.items():
                spent = engine.search(question, 3).timings
                if number >= 5:  # the first warm up
                    times[f"{name} {count}"].append(spent.rerank)
                    totals[f"{name} {count}"].append(spent.total)
    return {
        name: {
            "rerank_ms": spread(times[name], 2),
            "search_ms": spread(totals[name], 2),
            "times_faster_than_usual": ratios(times[name], times[USUAL]),
        }
        for name in times
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--work", type=Path, default=default_work())
    options = parser.parse_args()
    folder, questions = built(options.work, options.corpus, 1_000 if options.quick else 10_000)
    ahead = read_ahead(folder, options.work)
    print(json.dumps(ahead, indent=1), flush=True)
    found = measured(folder, questions)
    print(json.dumps(found, indent=1), flush=True)
    hundred = found["late-interaction-1bit 100"]["rerank_ms"]["median"]
    figures = {
        "quick": options.quick,
        "read_ahead": ahead,
        "settings": found,
        "targets": [
            target(
                "100 candidates read ahead, stage 2 beside 20 that are read then",
                round(hundred / found[USUAL]["rerank_ms"]["median"], 2),
                at_most=1.0,
                unit="x",
            ),
            target(
                "20 candidates read ahead, stage 2 beside 20 that are read then",
                round(
                    found["late-interaction-1bit 20"]["rerank_ms"]["median"]
                    / found[USUAL]["rerank_ms"]["median"],
                    2,
                ),
                at_most=0.5,
                unit="x",
            ),
        ],
    }
    print(write("precompute", figures, Path(tempfile.gettempdir()) if options.quick else HERE))


if __name__ == "__main__":
    main()
