"""Re-ranking over HTTP: `secondpass serve` beside infinity-emb, the same weights, the same requests.

    python3 -m venv infinity
    infinity/bin/pip install torch==2.13.0 'infinity-emb[torch,server]'
    python benchmarks/serve_speed.py --infinity infinity/bin/infinity_emb

Both are real server processes on loopback and read the cross-encoder of checkpoint.py from the same
safetensors (rerank_speed.py makes it at its first run). Both get the same bytes: `POST /rerank` as infinity
speaks it, which secondpass speaks too. They are asked in turn, in rounds; the one that is not asked idles.
One client that waits for each answer gives the latency, 8 clients the throughput. infinity runs with its
defaults (torch in fp32, batches of up to 32 pairs) and as many threads as there are cores; secondpass with
its own (8 bits where the processor allows it), and once more with --precision fp32.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import http_load
import serve_load
from common import HERE, default_work, ratios, spread, target, write
from http_load import Asking, Connection
from serve_load import Mix

CLIENTS = 8
SIZES = (5, 20)
OURS, OURS_FP32, INFINITY = "secondpass", "secondpass fp32", "infinity-emb torch fp32"
QUESTIONS = 20


def asking(mix: Mix, size: int, number: int) -> Asking:
    """Return a request that both understand; ``model`` is ``m`` for both."""
    body = {"model": "m", "query": mix.question(number), "documents": mix.some(number, size)}
    return Asking.post(f"rerank {size}", "/rerank", body)


@contextmanager
def servers(weights: Path, infinity: Path, log: Path) -> Iterator[dict[str, int]]:
    """Run all; give their ports by name."""
    ports = {name: http_load.free_port() for name in (OURS, OURS_FP32, INFINITY)}
    ours = ("--rerank-only", "--reranker", weights)
    commands = {
        OURS: (http_load.serve_command(ports[OURS], *ours), "/metrics"),
        OURS_FP32: (http_load.serve_command(ports[OURS_FP32], *ours, "--precision", "fp32"), "/metrics"),
        INFINITY: (_infinity(infinity, weights, ports[INFINITY]), "/health"),
    }
    quiet = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    log.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name, (command, ready) in commands.items():
            file = log / f"{name.replace(' ', '_')}.log"
            stack.enter_context(http_load.serving(command, ports[name], ready, file, **quiet))
        yield ports


def _infinity(program: Path, weights: Path, port: int) -> list[str]:
    settings = {
        "--model-id": weights,
        "--served-model-name": "m",
        "--engine": "torch",
        "--device": "cpu",
        "--host": http_load.HOST,
        "--port": port,
    }
    given = [str(part) for pair in settings.items() for part in pair]
    return [str(program), "v2", *given, "--no-bettertransformer", "--log-level", "error"]


def measured(ports: dict[str, int], mix: Mix, rounds: int, seconds: float) -> dict[str, Any]:
    """Return latency and throughput of each, by size of the requests, with ratios round by round."""
    figures: dict[str, Any] = {}
    names = list(ports)
    for size in SIZES:
        alone: dict[str, list[float]] = {name: [] for name in names}
        together: dict[str, list[float]] = {name: [] for name in names}
        waits: dict[str, list[float]] = {name: [] for name in names}
        for number in range(-1, rounds):  # round -1 warms up
            for place in range(len(names)):
                name = names[(place + number) % len(names)]
                for clients, kept in ((1, alone), (CLIENTS, together)):
                    spent = seconds if number >= 0 else 1.0
                    load = http_load.put(
                        ports[name],
                        clients,
                        spent,
                        lambda client, count: asking(mix, size, client * 1_000_003 + count * 31),  # noqa: B023
                    )
                    if set(load.statuses()) - {"200", "429"}:
                        raise SystemExit(f"{name}: answers {load.statuses()}")
                    if number < 0:
                        continue
                    times = [each.milliseconds for each in load.answered]
                    kept[name].append(spread(times)["median"] if clients == 1 else len(times) / load.seconds)
                    if clients > 1:
                        waits[name] += times
        figures[str(size)] = _told(names, alone, together, waits)
        print(size, json.dumps(figures[str(size)], indent=1), flush=True)
    return figures


def _told(
    names: list[str],
    alone: dict[str, list[float]],
    together: dict[str, list[float]],
    waits: dict[str, list[float]],
) -> dict[str, Any]:
    others = [name for name in names if name != OURS]
    return {
        "one_client_p50_ms": {name: spread(alone[name]) for name in names},
        "times_faster": {name: ratios(alone[OURS], alone[name]) for name in others},
        "requests_per_second": {name: spread(together[name]) for name in names},
        "times_the_throughput": {
            name: ratios([1 / each for each in together[OURS]], [1 / each for each in together[name]])
            for name in others
        },
        "ms_with_all_clients": {name: spread(waits[name]) for name in names},
    }


def agreement(ports: dict[str, int], mix: Mix) -> dict[str, Any]:
    """Return on how many questions each has the same first three as infinity, which reads in fp32."""

    async def orders(port: int) -> list[list[int]]:
        connection, found = Connection(port), []
        for number in range(QUESTIONS):
            told = await connection.ask(asking(mix, 20, number * 977))
            found.append([each["index"] for each in json.loads(told.body)["results"]])
        await connection.close()
        return found

    given = {name: asyncio.run(orders(port)) for name, port in ports.items()}
    return {
        name: round(
            sum(set(one[:3]) == set(other[:3]) for one, other in zip(found, given[INFINITY], strict=True))
            / QUESTIONS,
            3,
        )
        for name, found in given.items()
        if name != INFINITY
    }


def theirs(program: Path) -> dict[str, str]:
    """Return the versions of what infinity runs on, from its own environment."""
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({n: m.version(n) for n in ('infinity_emb', 'torch', 'transformers')}))"
    )
    python = program.parent / "python"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--infinity", type=Path, required=True, help="the program infinity_emb")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--weights", type=Path, help="folder of the cross-encoder; that of rerank_speed.py")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    weights = options.weights or options.work / "rerank" / "full" / "checkpoint" / "torch"
    if not (weights / "config.json").exists():
        raise SystemExit(f"no cross-encoder in {weights}; run rerank_speed.py first, or name one: --weights")
    _, mix = serve_load.prepared(options.work, options.corpus)
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, options.seconds)
    with servers(weights, options.infinity.absolute(), options.work / "serve") as ports:
        same = agreement(ports, mix)
        found = measured(ports, mix, rounds, seconds)
    targets = [
        target(
            f"{size} passages over HTTP, {what} of infinity-emb",
            each[INFINITY]["median"],
            at_least=1.0,
            unit="x",
        )
        for size, part in found.items()
        for what, each in (("speed", part["times_faster"]), ("throughput", part["times_the_throughput"]))
    ]
    figures = {
        "quick": options.quick,
        "clients": CLIENTS,
        "infinity": theirs(options.infinity.absolute()),
        "uvicorn": importlib.metadata.version("uvicorn"),
        "same_top3_as_infinity": same,
        "passages": found,
        "targets": targets,
    }
    print(write("serve_speed", figures, Path(tempfile.gettempdir()) if options.quick else HERE))


if __name__ == "__main__":
    main()
    sys.exit(0)
