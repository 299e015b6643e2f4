"""The tables of benchmarks/README.md, written from the JSON files beside it: `python benchmarks/tables.py`.

Between two marks in the README stands what this writes; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- begin: written by tables.py -->", "<!-- end -->"
SPEED = (
    "rerank_speed",
    "search_scaling",
    "indexing_speed",
    "indexing_large",
    "precompute",
    "eval_speed",
    "serve_load",
    "serve_speed",
)
HOW = {
    "rerank_speed": "`rerank_speed.py`",
    "search_scaling": "`search_scaling.py`",
    "indexing_speed": "`indexing_speed.py`",
    "indexing_large": "`indexing_speed.py --large`",
    "precompute": "`precompute.py`",
    "eval_speed": "`eval_speed.py`",
    "serve_load": "`serve_load.py`",
    "serve_speed": "`serve_speed.py`",
}

Figures = dict[str, Any]


def figures(folder: Path = HERE) -> dict[str, Figures]:
    """Return what the speed benchmarks left in a folder, by name."""
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in SPEED
        if (folder / f"{name}.json").exists()
    }


def with_tables(readme: str, found: dict[str, Figures]) -> str:
    """Return the README with its tables written anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}"


def tables(found: dict[str, Figures]) -> str:
    """Return all tables."""
    parts = [_targets(found)]
    makers = {
        "rerank_speed": _rerank,
        "search_scaling": _scaling,
        "indexing_speed": _indexing,
        "indexing_large": _large,
        "precompute": _ahead,
        "serve_load": _load,
        "serve_speed": _served,
    }
    parts += [maker(found[name]) for name, maker in makers.items() if name in found]
    return "\n\n".join(parts)


def _targets(found: dict[str, Figures]) -> str:
    rows = [
        (
            each["what"],
            f"{each['sign']} {_number(each['wanted'])} {each['unit']}",
            f"{_number(each['measured'])} {each['unit']}",
            "yes" if each["met"] else "no",
        )
        for name in found
        for each in found[name]["targets"]
    ]
    lines = ["### Targets", "", _table(("what", "wanted", "measured", "met"), rows)]
    absent = [HOW[name] for name in SPEED if name not in found]
    if absent:
        lines += ["", f"Not run yet: {', '.join(absent)}."]
    return "\n".join(lines)


def _rerank(given: Figures) -> str:
    lines = [
        "### Re-ranking beside peers",
        "",
        f"{_where(given)}; the same weights, {_number(given['passages']['tokens_mean'])} tokens a passage, "
        f"{given['threads']} threads. Milliseconds are medians; the ratio is that of each round: median "
        "(quartiles).",
        "",
    ]
    depths = list(given["candidates"])
    head = ["", *(part for depth in depths for part in (f"{depth} passages", "we are faster"))]
    names = list(given["candidates"][depths[0]]["ms"])
    rows = []
    for name in names:
        row = [name]
        for depth in depths:
            part = given["candidates"][depth]
            row += [f"{_number(part['ms'][name]['median'])} ms", _ratio(part["times_faster"].get(name))]
        rows.append(tuple(row))
    lines += [_table(head, rows), ""]
    agreement = given["agreement_with_fp32"]
    asked = f"{agreement['questions']} questions with {agreement['candidates']} candidates each"
    lines += [
        f"Against fp32 in torch, {asked}:",
        "",
        _table(
            ("", "same top 3", "in the same order", "largest difference of a logit"),
            [
                (
                    name,
                    f"{100 * row['top3_same_set']:.1f} %",
                    f"{100 * row['top3_same_order']:.1f} %",
                    f"{row['max_score_difference']:.2g}",
                )
                for name, row in agreement["by_contender"].items()
            ],
        ),
    ]
    if given["not_measured"]:
        lines += ["", f"Not measured, since not installed: {', '.join(given['not_measured'])}."]
    return "\n".join(lines)


def _scaling(given: Figures) -> str:
    rows = [
        (
            f"{int(size):,}",
            f"{_number(row['build_seconds_without_embedding'])} s",
            f"{_number(row['disk_mb'])} MB",
            *(_p50_p95(row[way]) for way in ("dense", "lexical", "hybrid", "both_20", "both_100")),
            f"{row['dense_recall_at_20']:.3f}",
            f"{_number(row['stage1_peak_memory_mb'])} / {_number(row['both_peak_memory_mb'])} MB",
            f"{row['cold_search']['ms']['median'] / 1000:.2f} s",
        )
        for size, row in given["passages"].items()
    ]
    head = (
        "passages",
        "build",
        "on disk",
        "dense",
        "lexical",
        "hybrid",
        "20 re-ranked",
        "100 re-ranked",
        "recall@20",
        "memory, stage 1 / both",
        "cold start",
    )
    names = {row["reranker"] for row in given["passages"].values()}
    return "\n".join(
        [
            "### As the index grows",
            "",
            f"{_where(given)}; {given['threads']} threads, re-ranker {' and '.join(sorted(names))}. Whole "
            "searches in ms, p50 / p95. Build: without embedding the passages. Recall: of the exact 20 "
            f"nearest. Vectors: {given['vectors']}.",
            "",
            _table(head, rows),
        ]
    )


def _indexing(given: Figures) -> str:
    sides = {
        "secondpass": "secondpass",
        "SentenceTransformer.encode + Chroma add": "sentence_transformers_and_chroma",
    }
    rows = [
        (
            name,
            f"{_number(given[key]['passages_per_second']['median'])}/s",
            f"{_number(given[key]['seconds'])} s",
            f"{_number(given[key]['disk_mb'])} MB",
        )
        for name, key in sides.items()
    ]
    return "\n".join(
        [
            "### Indexing beside sentence-transformers and Chroma",
            "",
            f"{_where(given)}; {given['passages']:,} passages in {given['slices']} slices, in turn, "
            f"{given['threads']} threads. We are {_ratio(given['times_faster'])} faster.",
            "",
            _table(("", "passages", "all", "on disk"), rows),
        ]
    )


def _large(given: Figures) -> str:
    spent = given["stage1_ms"]
    return "\n".join(
        [
            "### Indexing much",
            "",
            f"{_where(given)}; {given['passages']:,} passages in {_number(given['seconds'])} s "
            f"({_number(given['passages_per_second'])}/s), at most {_number(given['peak_memory_mb'])} MB of "
            f"memory, {_number(given['disk_mb'])} MB on disk. Then stage 1 alone: p50 "
            f"{_number(spent['total']['median'])} ms, p95 {_number(spent['total']['p95'])} ms "
            f"(embedding the query {_number(spent['embed']['median'])} ms of it).",
        ]
    )


def _ahead(given: Figures) -> str:
    kept = given["read_ahead"]
    rows = [
        (
            name,
            f"{_number(each['rerank_ms']['median'])} ms",
            f"{_number(each['search_ms']['median'])} ms",
            _ratio(each["times_faster_than_usual"]),
        )
        for name, each in given["settings"].items()
    ]
    return "\n".join(
        [
            "### Passages read ahead",
            "",
            f"{_where(given)}; `index --precompute` kept {kept['texts']:,} texts in "
            f"{_number(kept['seconds'])} s, {_number(kept['kept_mb'])} MB "
            f"({kept['bytes_a_text']:,} bytes a text) beside an index of {_number(kept['index_mb'])} MB. "
            "Medians; the ratio is stage 2's, question by question, to "
            "`minilm-l6` over 20: median (quartiles).",
            "",
            _table(("re-ranker and candidates", "stage 2", "whole search", "times faster"), rows),
        ]
    )


def _load(given: Figures) -> str:
    mixed, shared = given["mixed_load"], given["one_at_a_time_and_together"]
    memory, clients = mixed["memory_mb"], str(mixed["clients"])
    rows = [
        (kind, f"{each['runs']:,}", f"{_number(each['median'])} ms", f"{_number(each['p95'])} ms")
        for kind, each in mixed["ms"].items()
    ]
    sizes = [
        (
            size,
            f"{_number(each['passages_per_second']['1']['median'])}/s",
            f"{_number(each['ms']['1']['median'])} ms",
            f"{_number(each['passages_per_second'][clients]['median'])}/s",
            f"{_number(each['ms'][clients]['p95'])} ms",
            _ratio(each["times_the_throughput"]),
        )
        for size, each in shared.items()
    ]
    statuses = ", ".join(f"{count:,} times {status}" for status, count in mixed["statuses"].items())
    return "\n".join(
        [
            "### A server under load",
            "",
            f"{_where(given)}, which clients and server share; re-ranker {given['reranker']}. "
            f"{clients} clients without pause for {mixed['seconds']:.0f} s: {statuses}; "
            f"{_number(mixed['requests_per_second'])} requests a second. Memory of the server "
            f"{_number(memory['before'])} MB before, {_number(memory['after'])} MB after "
            f"({_number(memory['at_start'])} MB when it had just started).",
            "",
            _table(("", "answers", "p50", "p95"), rows),
            "",
            f"Re-ranking alone, one client that waits for each answer beside {clients}:",
            "",
            _table(
                ("passages a request", "one client", "p50", f"{clients} clients", "p95", "throughput"), sizes
            ),
        ]
    )


def _served(given: Figures) -> str:
    rows = []
    for size, part in given["passages"].items():
        for name, alone in part["one_client_p50_ms"].items():
            rows.append(
                (
                    f"{name}, {size} passages",
                    f"{_number(alone['median'])} ms",
                    _ratio(part["times_faster"].get(name)),
                    f"{part['requests_per_second'][name]['median']:.1f}/s",
                    _ratio(part["times_the_throughput"].get(name)),
                )
            )
    theirs = given["infinity"]
    same = ", ".join(f"{name} {100 * share:.0f} %" for name, share in given["same_top3_as_infinity"].items())
    return "\n".join(
        [
            "### Re-ranking over HTTP beside infinity-emb",
            "",
            f"{_where(given)}; infinity-emb {theirs['infinity_emb']} on torch {theirs['torch']}; the same "
            f"weights, the same requests. p50 with one client, requests a second with {given['clients']}; "
            f"ratios round by round, ours to theirs. The same top 3 as infinity: {same}.",
            "",
            _table(("", "p50", "we are faster", "requests", "our throughput"), rows),
        ]
    )


def _where(given: Figures) -> str:
    machine = given["machine"]
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    quick = ", quick run" if given["quick"] else ""
    return f"{given['date']}, {given['commit']}{quick}; {machine['cpu']}{flags}, {machine['cores']} cores"


def _p50_p95(row: Figures) -> str:
    return f"{_number(row['total']['median'])} / {_number(row['total']['p95'])}"


def _ratio(ratio: Figures | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} x ({ratio['quartile1']:.2f} to {ratio['quartile3']:.2f})"


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(head: Any, rows: Any) -> str:
    lines: Iterator[Any] = iter([head, ["---"] * len(tuple(head)), *rows])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    readme = HERE / "README.md"
    text = with_tables(readme.read_text(encoding="utf-8"), figures())
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
