"""How search grows with the index: 1,000 to 1,000,000 passages. Build time, size, latency, recall, memory.

    python benchmarks/search_scaling.py --quick            # 1,000 and 5,000 passages, about two minutes
    python benchmarks/search_scaling.py                    # up to a million
    python benchmarks/search_scaling.py --max 100000       # stop earlier
    python benchmarks/search_scaling.py --corpus FOLDER    # your own text instead of Python's own docs

Every size is a real `Index`, written by `Index.add` and searched through `Engine.search`. Text: the passages
of the corpus, as far as they go (at most 10,000) and with their real vectors; beyond that, passages that
join the first half of one real passage with the second half of another, whose vector is the two vectors'
mean with noise. So building here costs everything but the embedding of passages: for that see
indexing_speed.py. Queries are real and really embedded. Each size is built and searched in processes of
their own. A finished size is kept in --work and not measured again at the same commit with the same
options; --again measures everything anew.
Writes search_scaling.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import texts
from common import (
    HERE,
    cold_search,
    commit,
    default_work,
    folder_size_mb,
    peak_memory_mb,
    spread,
    target,
    use_cores,
    write,
)
from secondpass import Document, Engine, Index, MiniLMEmbedder, Passage, load_reranker
from secondpass.splitting import passage_id

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 5_000)
REAL = 10_000
NOISE = 0.35
"""Length of the noise that is added to the mean of two unit vectors."""
TOGETHER = 20
"""Passages of a document."""
BETWEEN = "\n\f\n"
DEPTH = 20

Vectors = np.ndarray


class Corpus:
    """The passages of one run, by number: the real ones first, then as many mixed ones as one wants."""

    def __init__(self, corpus: Path | None, work: Path, most: int) -> None:
        found = texts.documents(corpus, work)
        self.texts = [text.replace("\f", " ") for text in (each.text for each in texts.passages_of(found))][
            : min(REAL, most)
        ]
        self.questions = texts.questions(found, 200)
        cached = work / f"vectors-{len(self.texts)}.npy"
        if not cached.exists():
            _say(f"embedding {len(self.texts):,} real passages, once ...")
            np.save(cached, MiniLMEmbedder().embed_passages(self.texts))
        self.vectors: Vectors = np.load(cached)

    def blocks(self, size: int) -> Iterator[tuple[list[str], Vectors]]:
        """Yield texts, no two of them equal, and unit vectors of passages 0 to ``size``, block by block."""
        seen = Seen()
        real = min(size, len(self.texts))
        for start in range(0, real, texts.BLOCK):
            end = min(real, start + texts.BLOCK)
            for text in self.texts[start:end]:
                seen.add(text)
            yield self.texts[start:end], self.vectors[start:end]
        left, block = size - real, 0
        while left:
            if block * texts.BLOCK >= len(self.texts) ** 2:
                raise SystemExit(f"the corpus is too small for {size:,} passages; give more with --corpus")
            made = [each for each in texts.mixed(self.texts, block) if seen.add(each[0])][:left]
            yield [each[0] for each in made], self._mixed_vectors(made, block)
            left, block = left - len(made), block + 1

    def _mixed_vectors(self, made: list[tuple[str, int, int]], block: int) -> Vectors:
        one, other = (np.array([each[place] for each in made], dtype=np.int64) for place in (1, 2))
        noise = np.random.default_rng([texts.SEED, block]).standard_normal(
            (len(made), self.vectors.shape[1]), dtype=np.float32
        )
        noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
        vectors = (self.vectors[one] + self.vectors[other]) / 2 + noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Seen:
    """Which texts came before, in 16 MB however many: a fresh one is taken for an old one now and then."""

    BITS = 2**27

    def __init__(self) -> None:
        self._marks = bytearray(self.BITS // 8)

    def add(self, text: str) -> bool:
        """Remember a text; return whether it is new."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        byte, bit = divmod(int.from_bytes(digest) % self.BITS, 8)
        new = not self._marks[byte] >> bit & 1
        self._marks[byte] |= 1 << bit
        return new


class Parts:
    """A splitter that cuts where the passages were joined."""

    settings = {"name": "benchmark"}  # noqa: RUF012  never changed

    def split(self, document: Document) -> list[Passage]:
        """Return the passages that the document was made of."""
        passages, start = [], 0
        for text in document.text.split(BETWEEN):
            name = passage_id(document.id, start, text)
            passages.append(Passage(name, document.id, text, start, start + len(text), document.source))
            start += len(text) + len(BETWEEN)
        return passages


class Known:
    """An embedder that was told the vectors beforehand; its name is that of the model they come from."""

    name, dimension = "all-MiniLM-L6-v2", 384

    def __init__(self) -> None:
        self.waiting: dict[str, Vectors] = {}

    def embed_passages(self, given: Sequence[str]) -> Vectors:
        """Return the vectors, and forget them."""
        return np.stack([self.waiting.pop(text) for text in given])

    def embed_queries(self, given: Sequence[str]) -> Vectors:
        """Return the model's own vectors."""
        return MiniLMEmbedder().embed_queries(given)


def documents(corpus: Corpus, size: int, embedder: Known) -> Iterator[Document]:
    """Yield documents of some passages each; the embedder is told their vectors."""
    for number, (given, vectors) in enumerate(corpus.blocks(size)):
        for start in range(0, len(given), TOGETHER):
            part = slice(start, start + TOGETHER)
            embedder.waiting.update(zip(given[part], vectors[part], strict=True))
            yield Document(f"made/{number}/{start}", BETWEEN.join(given[part]))


def build(corpus: Corpus, size: int, folder: Path) -> dict[str, Any]:
    """Write the index; return what that took."""
    shutil.rmtree(folder, ignore_errors=True)
    embedder = Known()
    start = time.perf_counter()
    with Index.open(folder, embedder=embedder, splitter=Parts()) as index:

        def tell(progress: Any) -> None:
            if progress.passages_done % texts.BLOCK == 0:
                _say(f"{size:,}: {progress.passages_done:,} passages written")

        report = index.add(documents(corpus, size, embedder), progress=tell)
        seconds = time.perf_counter() - start
        held = index.status().texts
    return {
        "passages": report.passages,
        "distinct_texts": held,
        "real_texts": min(size, len(corpus.texts)),
        "build_seconds_without_embedding": round(seconds, 1),
        "build_peak_memory_mb": peak_memory_mb(),
        "disk_mb": folder_size_mb(folder),
        "of_which_cache_mb": folder_size_mb(folder / "cache"),
    }


def search(corpus: Corpus, size: int, folder: Path, runs: int) -> dict[str, Any]:
    """Open the index as anybody would; return latencies, recall and memory."""
    queries = corpus.questions[:runs]
    rows: dict[str, Any] = {}
    with Index.open(folder, create=False) as index:
        for stage1 in ("dense", "lexical", "hybrid"):
            _say(f"{size:,}: {stage1}")
            rows[stage1] = _latencies(Engine(index, None, stage1=stage1), queries, DEPTH)
        rows["stage1_peak_memory_mb"] = peak_memory_mb()
        engine = Engine(index, load_reranker("auto"))
        for depth in (20, 100):
            _say(f"{size:,}: {depth} candidates re-ranked")
            rows[f"both_{depth}"] = _latencies(engine, queries[: max(5, runs // 2)], depth)
        rows["reranker"] = engine.reranker.name if engine.reranker else "none"
        rows["both_peak_memory_mb"] = peak_memory_mb()
        _say(f"{size:,}: recall")
        rows["dense_recall_at_20"] = _recall(corpus, size, index, queries)
    return rows


def _latencies(engine: Engine, queries: Sequence[str], depth: int) -> dict[str, Any]:
    for query in queries[:3]:
        engine.search(query, candidates=depth)
    spent = [engine.search(query, candidates=depth).timings for query in queries]
    return {
        stage: spread([getattr(each, stage) for each in spent], 2)
        for stage in ("embed", "search", "rerank", "total")
        if any(getattr(each, stage) for each in spent)
    }


def _recall(corpus: Corpus, size: int, index: Index, queries: Sequence[str]) -> float:
    """Return the share of the exact 20 nearest that the index gives: those at least as near as the 20th."""
    asked = np.stack([index.embed_query(query) for query in queries])
    best = np.full((len(queries), DEPTH), -np.inf, dtype=np.float32)
    for _, vectors in corpus.blocks(size):
        scores = np.concatenate([best, asked @ vectors.T], axis=1)
        best = np.partition(scores, -DEPTH, axis=1)[:, -DEPTH:]
    found = 0
    for query, least in zip(queries, best.min(axis=1), strict=True):
        found += sum(hit.score >= float(least) - 1e-5 for hit in index.search(query, DEPTH))
    return round(found / (DEPTH * len(queries)), 4)


def in_child(arguments: argparse.Namespace, *words: str) -> dict[str, Any]:
    """Run one step of this script in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, *words, "--work", str(arguments.work)]
    command += ["--max", str(arguments.max), "--threads", str(arguments.threads)]
    if arguments.corpus:
        command += ["--corpus", str(arguments.corpus)]
    if arguments.quick:
        command.append("--quick")
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(printed.splitlines()[-1]))


def measured(arguments: argparse.Namespace, corpus: Corpus, size: int) -> dict[str, Any]:
    """Return the row of one size, from an earlier run if there is one."""
    kept = arguments.work / f"{size}.json"
    settings = [commit(), arguments.quick, arguments.threads, str(arguments.corpus)]
    if kept.exists() and not arguments.again:
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before.get("settings") == settings:
            return dict(before["row"])
    folder = arguments.work / f"index-{size}"
    row = in_child(arguments, "--build", str(size))
    row |= in_child(arguments, "--search", str(size))
    _say(f"{size:,}: cold start")
    cold = cold_search(folder, corpus.questions[0], 2 if arguments.quick else 7, "auto")
    row["cold_search"] = cold
    kept.write_text(json.dumps({"settings": settings, "row": row}), encoding="utf-8")
    if not arguments.keep:
        shutil.rmtree(folder)
    return row


def targets(rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was to be reached."""
    found = []
    if "10000" in rows:
        row = rows["10000"]
        for name, what, wanted in (
            ("dense", "stage 1 alone", 15),
            ("both_20", "20 candidates re-ranked", 80),
            ("both_100", "100 candidates re-ranked", 350),
        ):
            median = row[name]["total"]["median"]
            found.append(target(f"10,000 passages, {what}, p50", median, at_most=wanted, unit="ms"))
        seconds = round(row["cold_search"]["ms"]["median"] / 1000, 2)
        found.append(target("10,000 passages, cold `secondpass search`", seconds, at_most=0.8, unit="s"))
    if "100000" in rows:
        median = rows["100000"]["dense"]["total"]["median"]
        found.append(target("100,000 passages, stage 1 alone, p50", median, at_most=25, unit="ms"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small sizes, a first impression")
    parser.add_argument("--max", type=int, default=SIZES[-1], help="largest size")
    parser.add_argument("--corpus", type=Path, help="folder of text; default: Python's own documentation")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--again", action="store_true", help="measure finished sizes again")
    parser.add_argument("--keep", action="store_true", help="keep the indexes")
    parser.add_argument(
        "--work", type=Path, default=default_work() / "scaling", help="what is kept between runs"
    )
    parser.add_argument("--out", type=Path, help="folder for the JSON; default: beside this, --work if quick")
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--search", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    threads = use_cores(arguments.threads)
    sizes = [size for size in (QUICK_SIZES if arguments.quick else SIZES) if size <= arguments.max]
    corpus = Corpus(arguments.corpus, arguments.work, REAL // 10 if arguments.quick else REAL)
    if arguments.build:
        print(json.dumps(build(corpus, arguments.build, arguments.work / f"index-{arguments.build}")))
        return
    if arguments.search:
        folder, runs = arguments.work / f"index-{arguments.search}", 20 if arguments.quick else 100
        print(json.dumps(search(corpus, arguments.search, folder, runs)))
        return
    rows: dict[str, Any] = {}
    for size in sizes:
        rows[str(size)] = measured(arguments, corpus, size)
        figures = {
            "targets": targets(rows),
            "quick": arguments.quick,
            "threads": threads,
            "text": "--corpus" if arguments.corpus else "the standard library's documentation",
            "vectors": (
                f"real for the first {len(corpus.texts):,} passages; beyond, the mean of two of them with "
                f"noise of length {NOISE}, as the text joins halves of the two"
            ),
            "passages": rows,
        }
        out = arguments.out or (arguments.work if arguments.quick else HERE)
        print(write("search_scaling", figures, out))


def _say(text: str) -> None:
    print(f"\r{text:70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
