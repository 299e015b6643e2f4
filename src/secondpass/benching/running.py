"""A bench from the outside: a process for each way to search, new processes for the cold start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from .. import models
from ..arguments import checked_text
from ..errors import InputError, SecondpassError
from ..reranking.remote import is_remote
from .machine import describe
from .values import AtDepth, Bench, Failure, Measured, Spread

__all__ = ["DEPTHS", "bench"]

DEPTHS = (20, 100)
"""Candidates: what is read by default, and as many as people hand on at most."""
RUNS, SECONDS, COLD_RUNS = 40, 20.0, 5
QUICK_RUNS, QUICK_SECONDS, QUICK_COLD_RUNS = 8, 4.0, 1

_PYTHON = (sys.executable, "-P", "-m")  # -P: nothing in the working directory stands in for a module


def bench(
    index: Path,
    passages: int,
    queries: Sequence[str],
    rerankers: Sequence[str],
    *,
    precision: str = "int8",
    quick: bool = False,
    progress: Callable[[], None] | None = None,
) -> Bench:
    """Measure stage 1 alone and each re-ranker, one after the other, each in processes of its own.

    Args:
        index: folder of an index.
        passages: how many it holds; more candidates than that are not asked for.
        queries: what is searched for, in turn.
        rerankers: names or folders.
        precision: numbers of stage 2, ``int8`` or ``fp32``.
        quick: fewer searches, for a first impression.
        progress: called after each way to search.

    Raises:
        InputError: no query, or an index without passages.
        SecondpassError: stage 1 alone could not be measured. A re-ranker that fails is among ``failures``.
    """
    if not queries or passages < 1:
        raise InputError(f"a bench needs queries and passages; there are {len(queries)} and {passages}")
    for query in queries:
        checked_text(query)
    order = {
        "index": str(index.absolute()),
        "queries": list(queries),
        "precision": precision,
        "depths": sorted({min(depth, passages) for depth in DEPTHS}),
        "runs": QUICK_RUNS if quick else RUNS,
        "seconds": QUICK_SECONDS if quick else SECONDS,
    }
    cold_runs = QUICK_COLD_RUNS if quick else COLD_RUNS
    measured: list[Measured] = []
    failures: list[Failure] = []
    for name in ("none", *rerankers):
        try:
            measured.append(_measure({**order, "reranker": _named(str(name))}, cold_runs))
        except SecondpassError as exc:
            if name == "none":
                raise
            failures.append(Failure(str(name), str(exc)))
        if progress is not None:
            progress()
    stage1, *others = measured
    facts = (describe(), str(index), passages, len(queries))
    return Bench(*facts, stage1, tuple(others), tuple(failures))


def _named(name: str) -> str:
    """Return what names a re-ranker from any working directory."""
    folder = None if name == "none" or is_remote(name) else models.resolve(name, "reranker")
    return str(folder.path) if folder is not None and folder.origin == "folder" else name


def _measure(order: dict[str, Any], cold_runs: int) -> Measured:
    answer = _ask(order)
    return Measured(
        name=answer["name"],
        load=answer["load"],
        at=tuple(_at_depth(row) for row in answer["at"]),
        passages_per_second=answer["passages_per_second"],
        tokens_per_passage=answer["tokens_per_passage"],
        peak_memory=answer["peak_memory"],
        cold=_cold(order, cold_runs),
    )


def _at_depth(row: dict[str, Any]) -> AtDepth:
    rerank = None if row["rerank"] is None else Spread(**row["rerank"])
    return AtDepth(row["candidates"], Spread(**row["stage1"]), rerank, Spread(**row["total"]))


def _ask(order: dict[str, Any]) -> dict[str, Any]:
    """Let a new process measure."""
    done = subprocess.run(  # noqa: S603  our own Python runs our own module
        [*_PYTHON, "secondpass.benching.worker"],
        input=json.dumps(order).encode("ascii"),
        capture_output=True,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SecondpassError(f"measuring {order['reranker']} broke off: {_last_line(done)}") from None
    if "error" in answer:
        raise SecondpassError(answer["error"])
    return answer


def _cold(order: dict[str, Any], runs: int) -> Spread:
    """Time the command in new processes; a first one, not counted, brings the files into the cache.

    Scores kept from earlier searches are not used, nor settings from variables or a settings file.
    """
    words = ["search", "--index", order["index"], "--reranker", order["reranker"], "--json", "--quiet"]
    words += ["--candidates", str(order["depths"][0]), "--k", "1", "--stage1", "dense", "--no-cache"]
    words += ["--precision", order["precision"]]
    names = (name for name in os.environ if not name.startswith("SECONDPASS_") or name == "SECONDPASS_MODELS")
    environment = {name: os.environ[name] for name in names}
    with TemporaryDirectory(prefix="secondpass-bench-") as empty:
        return _timed(order["queries"], runs, words, environment, empty)


def _timed(
    queries: Sequence[str], runs: int, words: Sequence[str], environment: dict[str, str], place: str
) -> Spread:
    spent = []
    for run in range(runs + 1):
        command = [*_PYTHON, "secondpass", *words, "--", queries[run % len(queries)]]
        start = perf_counter()
        done = subprocess.run(  # noqa: S603  as above
            command, capture_output=True, check=False, env=environment, cwd=place
        )
        if done.returncode:
            raise SecondpassError(f"a search in a new process failed: {_last_line(done)}")
        spent.append((perf_counter() - start) * 1000)
    return Spread.of(spent[1:])


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"its process ended with {done.returncode}; it may have run out of memory"
