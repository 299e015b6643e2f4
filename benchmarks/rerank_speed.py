"""How fast a cross-encoder reads candidates: secondpass beside its peers, one run, the same weights and text.

    python benchmarks/rerank_speed.py --quick                    # a few minutes, a first impression
    python benchmarks/rerank_speed.py                            # the figures in rerank_speed.json
    python benchmarks/rerank_speed.py --corpus FOLDER            # your own text instead of Python's own docs

Peers: sentence-transformers (torch, fp32), FlashRank (ONNX, int8), fastembed (ONNX, fp32 and int8). They
come with the extra `bench-peers`, which asks for an older huggingface-hub: give it an environment of its
own. A peer that is not installed is left out and named. Everything runs in one process on --threads cores,
in rounds: each contender re-ranks the same candidates once a round, in an order that turns. Ratios are per
round. The weights are made at the first run (see checkpoint.py; a quarter of an hour) and kept in --work.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import checkpoint
import texts
from common import HERE, default_work, ratios, spread, target, use_cores, write

Score = Callable[[str, list[str]], np.ndarray]
Work = list[tuple[str, list[str]]]

PACKAGES = (
    "secondpass",
    "onnxruntime",
    "numpy",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
    "FlashRank",
    "fastembed",
)
OURS = "secondpass"
TRUTH = "sentence-transformers torch fp32"
FLASHRANK, FASTEMBED, FASTEMBED_INT8 = "FlashRank int8", "fastembed fp32", "fastembed int8"
TARGETS = {
    20: {TRUTH: 6.0, FLASHRANK: 4.5, FASTEMBED_INT8: 3.0},
    100: {TRUTH: 4.0, FLASHRANK: 5.0, FASTEMBED_INT8: 3.0},
}
AGREEMENT_TARGET = 97.0
PAUSE = 0.25
"""Seconds before each call: threads of torch and ONNX Runtime spin for a while after their work, and whoever
came next would share the cores with them."""


def contenders(folder: Path, threads: int) -> tuple[dict[str, Score], dict[str, str]]:
    """Return who is here, ours first, and why others are not."""
    makers: dict[str, Callable[[], Score]] = {
        OURS: lambda: _secondpass(folder / "torch"),
        f"{OURS} fp32": lambda: _secondpass(folder / "torch", precision="fp32"),
        TRUTH: lambda: _sentence_transformers(folder / "torch"),
        FLASHRANK: lambda: _flashrank(folder / "int8"),
        FASTEMBED: lambda: _fastembed(folder / "fp32", threads),
        FASTEMBED_INT8: lambda: _fastembed(folder / "int8", threads),
    }
    here: dict[str, Score] = {}
    absent: dict[str, str] = {}
    for name, maker in makers.items():
        try:
            here[name] = maker()
        except ImportError as exc:
            absent[name] = str(exc).splitlines()[0]
    return here, absent


def _secondpass(folder: Path | str, **settings: Any) -> Score:
    from secondpass import CrossEncoder

    reranker = CrossEncoder(folder, **settings)
    return lambda query, passages: np.asarray(reranker.score(query, passages))


def _sentence_transformers(folder: Path) -> Score:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())

    def score(query: str, passages: list[str]) -> np.ndarray:
        return np.asarray(model.predict([(query, each) for each in passages], show_progress_bar=False))

    return score


def _flashrank(folder: Path) -> Score:
    from flashrank import Config, Ranker, RerankRequest

    Config.model_file_map[folder.name] = "onnx/model.onnx"
    ranker = Ranker(folder.name, cache_dir=str(folder.parent), log_level="WARNING")

    def score(query: str, passages: list[str]) -> np.ndarray:
        request = RerankRequest(query, [{"id": n, "text": each} for n, each in enumerate(passages)])
        given = np.empty(len(passages))
        for each in ranker.rerank(request):
            given[each["id"]] = each["score"]
        return np.log(given / (1 - given))  # it gives probabilities

    return score


def _fastembed(folder: Path, threads: int) -> Score:
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    name = f"secondpass-benchmark/{folder.name}"
    TextCrossEncoder.add_custom_model(name, ModelSource(hf=name), model_file="onnx/model.onnx")
    model = TextCrossEncoder(name, threads=threads, specific_model_path=str(folder))
    return lambda query, passages: np.array(list(model.rerank(query, passages)))


def candidates(found: Sequence[Any], questions: list[str], depth: int, work: Path) -> Work:
    """Return for each question its dense candidates, from an index that is made once and kept."""
    from secondpass import Index

    key = hashlib.sha256("\0".join(each.text for each in found).encode()).hexdigest()[:16]
    with Index.open(work / f"index-{key}") as index:
        index.add(found)
        return [(query, [hit.passage.text for hit in index.search(query, depth)]) for query in questions]


def rounds(scorers: dict[str, Score], work: Work, depth: int, count: int) -> dict[str, list[float]]:
    """Return milliseconds of each contender in each round; the order turns from round to round."""
    names = list(scorers)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, count):  # round -1 warms up
        query, passages = work[number % len(work)]
        passages = passages[:depth]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            time.sleep(PAUSE)
            start = time.perf_counter()
            scorers[name](query, passages)
            if number >= 0:
                spent[name].append((time.perf_counter() - start) * 1000)
        _say(f"{depth} passages, round {number + 1} of {count}")
    return spent


def agreement(scorers: dict[str, Score], work: Work, depth: int, true: str = TRUTH) -> dict[str, Any]:
    """Compare everybody's scores and top 3 with those of one of them."""
    if true not in scorers:
        return {}
    figures: dict[str, Any] = {
        name: {"same_order": 0, "same_set": 0, "worst": 0.0} for name in scorers if name != true
    }
    for number, (query, passages) in enumerate(work):
        passages = passages[:depth]
        truth = scorers[true](query, passages)
        for name, row in figures.items():
            given = scorers[name](query, passages)
            ours, theirs = _top(given), _top(truth)
            row["same_order"] += ours == theirs
            row["same_set"] += set(ours) == set(theirs)
            row["worst"] = max(row["worst"], float(np.abs(given - truth).max()))
        _say(f"agreement, question {number + 1} of {len(work)}")
    return {
        name: {
            "top3_same_set": round(row["same_set"] / len(work), 4),
            "top3_same_order": round(row["same_order"] / len(work), 4),
            "max_score_difference": float(f"{row['worst']:.3g}"),
        }
        for name, row in figures.items()
    }


def _top(scores: np.ndarray) -> list[int]:
    return [int(place) for place in np.argsort(-scores, kind="stable")[:3]]


def speed(scorers: dict[str, Score], work: Work, depth: int, count: int) -> dict[str, Any]:
    """Return times, ratios and what was to be reached, for one number of candidates."""
    spent = rounds(scorers, work, depth, count)
    times = {name: spread(each) for name, each in spent.items()}
    compared = {name: ratios(spent[OURS], each) for name, each in spent.items() if not name.startswith(OURS)}
    return {"ms": times, "times_faster": compared}


def targets(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was to be reached."""
    found = []
    for depth, row in figures["candidates"].items():
        for name, wanted in TARGETS[int(depth)].items():
            if name in row["times_faster"]:
                faster = row["times_faster"][name]["median"]
                found.append(
                    target(f"{depth} passages, faster than {name}", faster, at_least=wanted, unit="x")
                )
    ours = figures["agreement_with_fp32"]["by_contender"].get(OURS)
    if ours is not None:
        share = round(100 * ours["top3_same_set"], 1)
        found.append(
            target("questions with the same top 3 as fp32", share, at_least=AGREEMENT_TARGET, unit="%")
        )
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    threads = use_cores(arguments.threads)
    import torch

    torch.set_num_threads(threads)
    work = arguments.work / ("quick" if arguments.quick else "full")
    os.environ["SECONDPASS_MODELS"] = str(work / "models")  # where converted models go
    found = texts.first_with(texts.documents(arguments.corpus, work), 400 if arguments.quick else 3000)
    measured = 20 if arguments.quick else 120
    asked = texts.questions(found, measured + (40 if arguments.quick else 480))
    _say(f"{len(found)} documents, {len(asked)} questions; stage 1 ...")
    listed = candidates(found, asked, 100, work)
    listed, others = listed[:measured], listed[measured:]  # nothing is measured on what was learnt from
    pairs = [(query, each) for query, given in others for each in (*given[:5], *given[5:100:19])]
    fitted = checkpoint.make(work / "checkpoint", pairs, epochs=1)
    if arguments.prepare:
        raise SystemExit(f"the checkpoint is in {work / 'checkpoint'}: {fitted}")
    scorers, absent = contenders(work / "checkpoint", threads)
    figures: dict[str, Any] = {
        "quick": arguments.quick,
        "threads": threads,
        "text": "--corpus" if arguments.corpus else "the standard library's documentation",
        "passages": _tokens(work / "checkpoint" / "torch", listed),
        "checkpoint": fitted,
        "not_measured": absent,
    }
    counts = {20: 5, 100: 3} if arguments.quick else {20: 30, 100: 12}
    figures["candidates"] = {
        str(depth): speed(scorers, listed, depth, count) for depth, count in counts.items()
    }
    figures["agreement_with_fp32"] = {
        "questions": len(listed),
        "candidates": 20,
        "by_contender": agreement(scorers, listed, 20),
    }
    return {"targets": targets(figures), **figures}


def _tokens(folder: Path, listed: Work) -> dict[str, float]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lengths = [len(each.ids) - 2 for _, given in listed for each in tokenizer.encode_batch(given[:20])]
    asked = [len(tokenizer.encode(query).ids) - 2 for query, _ in listed]
    return {
        "tokens_mean": round(statistics.mean(lengths), 1),
        "tokens_max": max(lengths),
        "query_tokens_mean": round(statistics.mean(asked), 1),
    }


def _say(text: str) -> None:
    print(f"\r{text:70}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few questions and rounds, a first impression")
    parser.add_argument("--prepare", action="store_true", help="only make the checkpoint")
    parser.add_argument("--corpus", type=Path, help="folder of text; default: Python's own documentation")
    parser.add_argument("--threads", type=int, default=2, help="cores for everybody")
    parser.add_argument(
        "--work", type=Path, default=default_work() / "rerank", help="what is kept between runs"
    )
    parser.add_argument("--out", type=Path, help="folder for the JSON; default: beside this, --work if quick")
    arguments = parser.parse_args()
    out = arguments.out or (arguments.work if arguments.quick else HERE)
    figures = measure(arguments)
    _say("")
    for depth, row in figures["candidates"].items():
        for name, times in row["ms"].items():
            faster = row["times_faster"].get(name)
            ratio = f"  {faster['median']:.2f} x" if faster else ""
            print(f"{depth:>4} passages  {name:34} {times['median']:8.1f} ms{ratio}")
    print(write("rerank_speed", figures, out, PACKAGES))


if __name__ == "__main__":
    main()
