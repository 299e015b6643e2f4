"""The table of costs in docs/why.md, from core.json, rerank_speed.json and the size of the models.

python benchmarks/costs.py        # tables.py does it, too
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "why.md"
BEGIN, END = "<!-- begin: written by benchmarks/costs.py -->", "<!-- end -->"
NOT_RUN = "not run yet"


def read(name: str, folder: Path = HERE) -> dict[str, Any]:
    """Return the figures of a script, empty if it was not run."""
    path = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def table(core: dict[str, Any], speed: dict[str, Any]) -> str:
    """Return the table: a row for each cost, ours beside what is commonly quoted."""
    rows = [
        ("stage 1 alone, warm", warm(core, "none", "total"), ""),
        ("re-ranking 20 passages, `minilm-l6`", warm(core, "minilm-l6", "rerank"), "~60 ms"),
        ("re-ranking 20 passages, `late-interaction`", warm(core, "late-interaction", "rerank"), ""),
        ("re-ranking 20 passages, a 6-layer MiniLM", peer(speed, 20), "~60 ms"),
        ("re-ranking 100 passages, a 6-layer MiniLM", peer(speed, 100), "~250 ms"),
        ("embedder", "23 MB", "90 MB"),
        ("re-ranker", "29 MB (`minilm-l6`); none (`late-interaction` reads with the embedder)", "80 MB"),
    ]
    lines = ["| cost | here | commonly quoted |", "| --- | --- | --- |"]
    lines += [f"| {what} | {ours} | {theirs} |" for what, ours, theirs in rows]
    sources = [where(name, found) for name, found in (("core", core), ("rerank_speed", speed)) if found]
    return "\n".join([*lines, "", "; ".join(sources) + "."])


def warm(core: dict[str, Any], reranker: str, part: str) -> str:
    """Return the median of one part of a warm search over 20 candidates."""
    return milliseconds(core["warm_search"][reranker]["ms"][part]) if core else NOT_RUN


def peer(speed: dict[str, Any], depth: int) -> str:
    """Return what our reading of the checkpoint that is compared with peers takes."""
    return milliseconds(speed["candidates"][str(depth)]["ms"]["secondpass"]) if speed else NOT_RUN


def milliseconds(spread: dict[str, float]) -> str:
    """Return a median with its 95th percentile."""
    return f"{spread['median']:.0f} ms (p95 {spread['p95']:.0f})"


def where(name: str, found: dict[str, Any]) -> str:
    """Return which file, which day and which machine."""
    machine = found["machine"]
    link = f"[{name}.json](../benchmarks/{name}.json)"
    return f"{link}: {found['date']}, commit {found['commit']}, {machine['cpu']}, {machine['cores']} cores"


def with_costs(page: str, core: dict[str, Any], speed: dict[str, Any]) -> str:
    """Return a page with the table between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n\n{table(core, speed)}\n\n{END}{after}"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_costs(page, read("core"), read("rerank_speed")), encoding="utf-8")


if __name__ == "__main__":
    main()
