"""How fast text becomes searchable: `Index.add` beside SentenceTransformer.encode and Chroma's add.

    python benchmarks/indexing_speed.py --quick          # a minute or two, a first impression
    python benchmarks/indexing_speed.py                  # the figures in indexing_speed.json
    python benchmarks/indexing_speed.py --large          # 100,000 passages: memory, and stage 1 afterwards
    python benchmarks/indexing_speed.py --corpus FOLDER  # your own text instead of Python's own docs

Both sides get the same passages in slices, in turn, in one process on --threads cores; the ratio is per
slice. Ours splits, embeds, writes to disk and prepares the search. Theirs is given the passages already
split, embeds them with the same model in fp32 and adds them to a collection on disk. The peers come with
the extra `bench-peers`. `--large` needs no peer and writes indexing_large.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import checkpoint
import texts
from common import (
    HERE,
    default_work,
    folder_size_mb,
    peak_memory_mb,
    ratios,
    spread,
    target,
    use_cores,
    write,
)
from secondpass import Document, Engine, Index, RecursiveSplitter

Slice = tuple[list[Document], list[str]]

PACKAGES = (
    "secondpass",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
    "chromadb",
)
WINDOW = 256
"""Tokens of a passage that both sides read at most."""
LARGE = 100_000


def slices(found: Sequence[Document], passages: int, count: int) -> list[Slice]:
    """Return documents in slices of about so many passages, each with its passages' distinct texts."""
    splitter, made = RecursiveSplitter(), []
    documents: list[Document] = []
    known: set[str] = set()
    own: dict[str, None] = {}
    for document in found:
        documents.append(document)
        own.update(dict.fromkeys(each.text for each in splitter.split(document) if each.text not in known))
        if len(own) >= passages:
            made.append((documents, list(own)))
            known |= own.keys()
            documents, own = [], {}
        if len(made) == count:
            break
    return made


def theirs(folder: Path, threads: int) -> Callable[[Sequence[str]], None]:
    """Return what embeds texts and adds them to a new collection."""
    import chromadb
    import torch
    from chromadb.config import Settings
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(checkpoint.base_folder()), device="cpu")
    model.max_seq_length = WINDOW
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.create_collection("benchmark", metadata={"hnsw:space": "cosine"})
    added = 0

    def add(passages: Sequence[str]) -> None:
        nonlocal added
        vectors = model.encode(list(passages), normalize_embeddings=True, show_progress_bar=False)
        names = [str(added + number) for number in range(len(passages))]
        collection.add(ids=names, embeddings=vectors, documents=list(passages))
        added += len(passages)

    return add


def beside(arguments: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Index slice by slice on both sides, in turn."""
    work = arguments.work / "beside"
    shutil.rmtree(work, ignore_errors=True)
    found = texts.documents(arguments.corpus, arguments.work)
    size, count = (60, 4) if arguments.quick else (400, 13)
    made = slices(found, size, count)
    if len(made) < 3:
        raise SystemExit("the corpus is too small; give more text with --corpus")
    add = theirs(work / "chroma", threads)
    ours_ms, theirs_ms, numbers = [], [], []
    with Index.open(work / "index") as index:
        sides = {"ours": lambda given: index.add(given[0]), "theirs": lambda given: add(given[1])}
        for number, given in enumerate(made):
            spent = {}
            for side in sorted(sides, reverse=bool(number % 2)):
                start = time.perf_counter()
                sides[side](given)
                spent[side] = (time.perf_counter() - start) * 1000
            if number == 0:  # it warms up
                continue
            ours_ms.append(spent["ours"])
            theirs_ms.append(spent["theirs"])
            numbers.append(len(given[1]))
            _say(f"slice {number} of {len(made) - 1}: {spent['theirs'] / spent['ours']:.2f} x")
        lost = index.status().texts != sum(len(passages) for _, passages in made)
    if lost:
        raise SystemExit("the two sides did not index the same passages")
    faster = ratios(ours_ms, theirs_ms)
    return {
        "targets": [
            target(
                "indexing, faster than SentenceTransformer.encode + Chroma add",
                faster["median"],
                at_least=2.5,
                unit="x",
            )
        ],
        "quick": arguments.quick,
        "threads": threads,
        "text": "--corpus" if arguments.corpus else "the standard library's documentation",
        "passages": sum(numbers),
        "slices": len(numbers),
        "secondpass": _side(ours_ms, numbers, folder_size_mb(work / "index")),
        "sentence_transformers_and_chroma": _side(theirs_ms, numbers, folder_size_mb(work / "chroma")),
        "times_faster": faster,
    }


def _side(spent: list[float], numbers: list[int], size: float) -> dict[str, Any]:
    rates = [number / each * 1000 for number, each in zip(numbers, spent, strict=True)]
    return {
        "passages_per_second": spread(rates),
        "seconds": round(sum(spent) / 1000, 2),
        "disk_mb": size,
    }


def many(corpus: Path | None, work: Path, count: int) -> Iterator[Document]:
    """Yield documents of about so many passages: the real ones first, then mixed ones as they are made."""
    splitter, made = RecursiveSplitter(), 0
    found = texts.documents(corpus, work)
    for document in found:
        if made >= count:
            return
        made += len(splitter.split(document))
        yield document
    real = [each.text for each in texts.passages_of(found)]
    block = 0
    while made < count:
        part = texts.mixed(real, block)[: count - made]
        for start in range(0, len(part), 20):
            text = "\n\n".join(each[0] for each in part[start : start + 20])
            document = Document(f"made/{block}/{start}", text)
            made += len(splitter.split(document))
            yield document
        block += 1


def build(arguments: argparse.Namespace) -> dict[str, Any]:
    """Index much, in this process."""
    folder = arguments.work / "large-index"
    shutil.rmtree(folder, ignore_errors=True)

    def tell(progress: Any) -> None:
        _say(f"{progress.passages_done:,} passages")

    with Index.open(folder) as index:
        report = index.add(many(arguments.corpus, arguments.work, arguments.build), progress=tell)
    return {
        "passages": report.passages,
        "embedded": report.embedded,
        "seconds": round(report.seconds, 1),
        "passages_per_second": round(report.passages / report.seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "disk_mb": folder_size_mb(folder),
    }


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Search what was indexed, stage 1 alone, in this process."""
    found = texts.first_with(texts.documents(arguments.corpus, arguments.work), 3000)
    with Index.open(arguments.work / "large-index", create=False) as index:
        engine = Engine(index, None)
        questions = texts.questions(found, 105)
        for question in questions[:5]:
            engine.search(question)
        spent = [engine.search(question).timings for question in questions[5:]]
    return {
        "stage1_ms": {
            stage: spread([getattr(each, stage) for each in spent], 2)
            for stage in ("embed", "search", "total")
        },
        "search_peak_memory_mb": peak_memory_mb(),
    }


def large(arguments: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Index and search much, each in a process of its own."""
    count = LARGE // 50 if arguments.quick else LARGE
    figures = {"quick": arguments.quick, "threads": threads}
    for step in (("--build", str(count)), ("--search",)):
        command = [sys.executable, __file__, *step, "--work", str(arguments.work)]
        command += ["--threads", str(threads)]
        if arguments.corpus:
            command += ["--corpus", str(arguments.corpus)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures |= json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(arguments.work / "large-index")
    name = f"{count:,} passages indexed"
    median = figures["stage1_ms"]["total"]["median"]
    wanted = [
        target(f"{name}, peak memory", figures["peak_memory_mb"], at_most=800, unit="MB"),
        target(f"{name}, stage 1 alone, p50", median, at_most=25, unit="ms"),
    ]
    return {"targets": wanted, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little text, a first impression")
    parser.add_argument("--large", action="store_true", help="100,000 passages, ours alone")
    parser.add_argument("--corpus", type=Path, help="folder of text; default: Python's own documentation")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--work", type=Path, default=default_work() / "indexing", help="for what is made")
    parser.add_argument("--out", type=Path, help="folder for the JSON; default: beside this, --work if quick")
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--search", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    logging.getLogger("chromadb").setLevel(logging.ERROR)
    threads = use_cores(arguments.threads)
    out = arguments.out or (arguments.work if arguments.quick else HERE)
    if arguments.build:
        print(json.dumps(build(arguments)))
    elif arguments.search:
        print(json.dumps(search(arguments)))
    elif arguments.large:
        print(write("indexing_large", large(arguments, threads), out))
    else:
        print(write("indexing_speed", beside(arguments, threads), out, PACKAGES))


def _say(text: str) -> None:
    print(f"\r{text:70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
