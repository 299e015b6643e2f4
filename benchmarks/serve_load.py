"""`secondpass serve` under load: 32 clients for a minute, its memory, and what sharing micro-batches gives.

    python benchmarks/serve_load.py                     # the figures in serve_load.json, about four minutes
    python benchmarks/serve_load.py --quick             # half a minute, written elsewhere

A real server process on loopback, asked by clients in this process, on the same cores. First a mix of
searches and re-rankings from all clients at once. Then re-ranking alone, requests of 1, 5 and 20 passages:
one client that waits for each answer (one request at a time) beside 32 clients (requests share
micro-batches), in turn. Memory is read from the system before and after the minute, the server warm.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import http_load
import texts
from common import HERE, default_work, ratios, spread, target, write
from http_load import Asking, Load, Told

CLIENTS = 32
SIZES = (1, 5, 20)
PASSAGES = 2000
MEMORY_LIMIT = 50.0
WANTED_RATIO = 2.0
ALLOWED = {200, 429, 503}


class Mix:
    """The requests of a mixed load; every number gives another one, and the same one in every run."""

    def __init__(self, questions: Sequence[str], passages: Sequence[str], searches: bool = True) -> None:
        self.questions = questions
        self.passages = passages
        self.searches = searches

    def some(self, number: int, count: int) -> list[str]:
        """Return ``count`` passages."""
        return [
            self.passages[(number * 7919 + place * 104729) % len(self.passages)] for place in range(count)
        ]

    def question(self, number: int) -> str:
        """Return a question."""
        return self.questions[number % len(self.questions)]

    def rerank(self, number: int, size: int) -> Asking:
        """Return a re-rank request."""
        body = {"query": self.question(number), "texts": self.some(number, size), "raw_scores": True}
        return Asking.post(f"rerank {size}", "/rerank", body)

    def mixed(self, client: int, count: int) -> Asking:
        """Return the next request of a client: searches and re-rankings of several sizes by turns."""
        number = client * 1_000_003 + count * 31
        if count % 2 and self.searches:
            return Asking.post("search", "/v1/search", {"query": self.question(number), "k": 3})
        return self.rerank(number, (1, 5, 10, 20)[(client + count // 2) % 4])


def of_one_size(mix: Mix, size: int) -> Callable[[int, int], Asking]:
    """Return what clients ask that only re-rank."""
    return lambda client, count: mix.rerank(client * 1_000_003 + count * 31, size)


def under_load(process: int, port: int, mix: Mix, clients: int, seconds: float) -> dict[str, Any]:
    """Return what happened to mixed requests, and to the server's memory."""
    http_load.put(port, clients, max(2.0, seconds / 10), mix.mixed)  # models, caches and threads are there
    time.sleep(1)
    before = http_load.memory_mb(process)
    errors: list[str] = []

    def look(told: Told) -> None:
        if told.status not in ALLOWED:
            errors.append(f"{told.kind}: {told.status} {told.body[:200]!r}")
        elif told.status == 200:
            json.loads(told.body)

    load = http_load.put(port, clients, seconds, mix.mixed, look)
    time.sleep(1)
    after = http_load.memory_mb(process)
    return {
        "clients": clients,
        "seconds": round(load.seconds, 1),
        "statuses": load.statuses(),
        "errors": errors[:20],
        "requests_per_second": round(len(load.answered) / load.seconds, 1),
        "ms": {kind: spread(times) for kind, times in by_kind(load).items()},
        "memory_mb": {"before": before, "after": after, "growth": round(after - before, 1)},
    }


def by_kind(load: Load) -> dict[str, list[float]]:
    """Return the milliseconds of the answers, by kind of request, and of all."""
    found: dict[str, list[float]] = {"all": [each.milliseconds for each in load.answered]}
    for each in load.answered:
        found.setdefault(each.kind, []).append(each.milliseconds)
    return {kind: times for kind, times in sorted(found.items()) if times}


def batching(port: int, mix: Mix, clients: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Return requests a second of one client beside many, by size of the requests."""
    figures = {}
    for size in SIZES:
        asking = of_one_size(mix, size)
        rates: dict[int, list[float]] = {1: [], clients: []}
        slowest: dict[int, list[float]] = {1: [], clients: []}
        for number in range(-1, rounds):  # round -1 warms up
            for many in (1, clients):
                load = http_load.put(port, many, seconds if number >= 0 else 1.0, asking)
                wrong = {each.status for each in load.told} - ALLOWED
                if wrong:
                    raise SystemExit(f"{many} clients, {size} passages: answers {wrong}")
                if number >= 0:
                    rates[many].append(len(load.answered) / load.seconds)
                    slowest[many] += [each.milliseconds for each in load.answered]
        figures[str(size)] = {
            "requests_per_second": {str(many): spread(found) for many, found in rates.items()},
            "passages_per_second": {
                str(many): spread([size * each for each in found], 0) for many, found in rates.items()
            },
            "ms": {str(many): spread(found) for many, found in slowest.items()},
            "times_the_throughput": ratios(
                [1 / each for each in rates[clients]], [1 / each for each in rates[1]]
            ),
        }
        print(f"{size} passages: {figures[str(size)]['times_the_throughput']['median']} x", flush=True)
    return figures


def prepared(work: Path, corpus: Path | None) -> tuple[Path, Mix]:
    """Return an index that is made once and kept, and requests from its text."""
    from secondpass import Index

    found = texts.first_with(texts.documents(corpus, work), PASSAGES)
    folder = work / "serve" / "index"
    with Index.open(folder) as index:
        index.add(found)
    return folder, Mix(texts.questions(found, 400), [each.text for each in texts.passages_of(found)])


def offers(port: int, path: str) -> bool:
    """Return whether a server answers under a path, as its OpenAPI document tells."""
    told = http_load.ask_once(port, Asking.get("openapi", "/openapi.json"))
    return path in json.loads(told.body)["paths"]


def targets(mixed: dict[str, Any], shared: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was to be reached."""
    wrong = sum(count for status, count in mixed["statuses"].items() if int(status) not in ALLOWED)
    who = f"{mixed['clients']} clients for {mixed['seconds']:.0f} s"
    growth = mixed["memory_mb"]["growth"]
    ratio = shared["1"]["times_the_throughput"]["median"]
    return [
        target(f"{who}, answers other than 200, 429, 503", wrong, at_most=0),
        target(f"{who}, growth of the server's memory", growth, at_most=MEMORY_LIMIT, unit="MB"),
        target(
            "re-ranking one passage a request, throughput of 32 clients against one",
            ratio,
            at_least=WANTED_RATIO,
            unit="x",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    seconds, rounds, each = (8.0, 1, 2.0) if options.quick else (options.seconds, options.rounds, 4.0)
    folder, mix = prepared(options.work, options.corpus)
    port = http_load.free_port()
    command = http_load.serve_command(port, "--index", folder, "--no-cache")
    with http_load.serving(command, port, "/metrics", options.work / "serve" / "serve.log") as process:
        cold = http_load.memory_mb(process)
        mix.searches = offers(port, "/v1/search")
        mixed = under_load(process, port, mix, CLIENTS, seconds)
        mixed["memory_mb"]["at_start"] = cold
        print(json.dumps(mixed, indent=1), flush=True)
        shared = batching(port, mix, CLIENTS, rounds, each)
    figures = {
        "quick": options.quick,
        "reranker": "minilm-l6",
        "mixed_load": mixed,
        "one_at_a_time_and_together": shared,
        "targets": targets(mixed, shared),
    }
    print(write("serve_load", figures, Path(tempfile.gettempdir()) if options.quick else HERE))
    sys.exit(1 if mixed["errors"] else 0)


if __name__ == "__main__":
    main()
