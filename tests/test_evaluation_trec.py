"""TREC files: what is written is read back, and trec_eval scores it the same; faults are named by line."""

from __future__ import annotations

import gzip
import itertools
import math
import re

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secondpass.errors import InputError
from secondpass.evaluation.measures import evaluate_run
from secondpass.evaluation.trec import ordered, read_qrels, read_run, write_qrels, write_run
from secondpass.ranking import rank

MEASURES = {"nDCG@10": "ndcg_cut_10", "AP": "map", "RR": "recip_rank", "P@3": "P_3"}
names = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters=[chr(0x2400 + code) for code in range(33)] + ["\0"]
    ),
    min_size=1,
    max_size=8,
)
scores = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1 + 1e-12, 0.1, 1 / 3, 16777216.0, 16777217.0, 1e300, -1e300, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
)
rankings = st.lists(st.tuples(names, scores), unique_by=lambda pair: pair[0], max_size=20)
queries = st.dictionaries(
    names, st.dictionaries(names, scores, min_size=1, max_size=12), min_size=1, max_size=4
)
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(rankings)
@example([("a", 0.0), ("b", 0.0), ("c", 5.0)])
def test_ordered_keeps_the_order_and_falls_strictly_also_in_32_bits(ranking):
    found = ordered(ranking)
    assert [key for key, _ in found] == [key for key, _ in ranking]
    for again in (float, np.float32, lambda score: np.float32(float(repr(score)))):
        falling = [again(score) for _, score in found]
        assert all(before > after for before, after in itertools.pairwise(falling))
    assert all(math.isfinite(np.float32(score)) for _, score in found)
    assert ordered(found) == found


@quick
@given(st.lists(st.floats(-1e6, 1e6), unique_by=np.float32, min_size=1, max_size=20))
def test_ordered_leaves_scores_that_fall_already(values):
    falling = sorted(values, key=np.float32, reverse=True)
    found = ordered([(str(place), score) for place, score in enumerate(falling)])
    assert [np.float32(score) for _, score in found] == [np.float32(score) for score in falling]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_ordered_wants_finite_scores_and_distinct_ids(score):
    with pytest.raises(InputError, match="finite"):
        ordered([("a", score)])
    with pytest.raises(InputError, match="twice"):
        ordered([("a", 2.0), ("a", 1.0)])


@quick
@given(queries)
def test_a_run_comes_back_as_it_was_written(tmp_path, run):
    for name in ("run.txt", "run.txt.gz"):
        path = tmp_path / name
        write_run(path, run, "my tag")
        back = read_run(path)
        assert list(back) == list(run)
        for query_id, found in back.items():
            assert list(found.items()) == ordered(rank(run[query_id].items()))
    write_run(tmp_path / "again.txt", back, "my tag")
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "run.txt").read_bytes()


plain = st.sampled_from([f"d{number}" for number in range(8)])
tied = st.sampled_from([0.0, 1.0, 1.0, 2.0, 0.1, 0.1 + 1e-12, 16777217.0, 16777216.0])


@quick
@given(
    st.dictionaries(st.sampled_from("ab"), st.dictionaries(plain, tied, min_size=1), min_size=1),
    st.dictionaries(
        st.sampled_from("ab"), st.dictionaries(plain, st.integers(-1, 2), min_size=1), min_size=1
    ),
)
def test_trec_eval_scores_a_written_run_as_we_score_it(tmp_path, run, qrels):
    path = tmp_path / "run.txt"
    write_run(path, run, "ours")
    with path.open() as lines:
        theirs = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values())).evaluate(
            pytrec_eval.parse_run(lines)
        )
    for name, values in evaluate_run(qrels, run, list(MEASURES)).items():
        for query_id, value in values.items():
            expected = theirs[query_id][MEASURES[name]] if query_id in theirs else 0.0
            assert value == pytest.approx(expected, abs=1e-9)
    by_library = list(ir_measures.read_trec_run(str(path)))
    assert [(each.query_id, each.doc_id) for each in by_library] == [
        (query_id, key) for query_id, found in run.items() for key, _ in rank(found.items())
    ]


@quick
@given(
    st.dictionaries(st.sampled_from("ab"), st.dictionaries(plain, tied, min_size=1), min_size=1),
    st.dictionaries(st.sampled_from("ab"), st.dictionaries(plain, st.integers(0, 2), min_size=1), min_size=1),
)
def test_somebody_elses_run_with_ties_is_read_as_trec_eval_ranks_it(tmp_path, run, qrels):
    """Lines in any order, ranks that mean nothing, ties and all."""
    path = tmp_path / "theirs.txt"
    lines = [
        f"{query}\tQ0  {key} 7 {score!r} x" for query, found in run.items() for key, score in found.items()
    ]
    path.write_text("\n".join(sorted(lines)) + "\n")
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values())).evaluate(run)
    for name, values in evaluate_run(qrels, read_run(path), list(MEASURES)).items():
        for query_id, value in values.items():
            expected = theirs[query_id][MEASURES[name]] if query_id in theirs else 0.0
            assert value == pytest.approx(expected, abs=1e-9)


@quick
@given(st.dictionaries(names, st.dictionaries(names, st.integers(-2, 3), min_size=1, max_size=9), min_size=1))
def test_qrels_come_back_as_they_were_written(tmp_path, qrels):
    for name in ("qrels.txt", "qrels.gz"):
        write_qrels(tmp_path / name, qrels)
        assert read_qrels(tmp_path / name) == qrels


def test_what_a_written_run_looks_like(tmp_path):
    write_run(tmp_path / "run", {"q 1": {"/a b/c.txt": 0.5, "d": 0.5, "e": 0.75}, "q2": {}}, "dense 20")
    assert (tmp_path / "run").read_text(encoding="utf-8").splitlines() == [
        "q␠1 Q0 e 1 0.75 dense␠20",
        "q␠1 Q0 /a␠b/c.txt 2 0.5 dense␠20",
        "q␠1 Q0 d 3 0.49999997 dense␠20",
    ]


def test_byte_order_mark_carriage_returns_tabs_and_blank_lines(tmp_path):
    path = tmp_path / "qrels"
    path.write_bytes(b"\xef\xbb\xbfq1 0 a 1\r\n\r\n  \nq1\t0\tb\t-1\r\nq2  0 a   0")
    assert read_qrels(path) == {"q1": {"a": 1, "b": -1}, "q2": {"a": 0}}


def test_only_what_c_calls_space_parts_fields(tmp_path):
    path = tmp_path / "qrels"
    path.write_text("q1 0 a\u00a0b\u2003c 1\n", encoding="utf-8")
    assert read_qrels(path) == {"q1": {"a\u00a0b\u2003c": 1}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"q Q0 d 1 0.5 t\nq Q0 d 1 0.5\n", ":2: 5 fields instead of 6: query Q0 document rank score tag"),
        (b"q Q0 d 1 0.5 t extra\n", ":1: 7 fields"),
        (b"\n\nq Q0 d 1 high t\n", ":3: the score 'high' is no finite number"),
        (b"q Q0 d 1 nan t\n", ":1: the score 'nan'"),
        (b"q Q0 d 1 inf t\n", ":1: the score 'inf'"),
        (b"q Q0 d 1 1_0 t\n", ":1: the score '1_0'"),
        (
            b"q Q0 d 1 2 t\nr Q0 d 1 2 t\nq Q0 d 2 1 t\n",
            ":3: the document 'd' stands twice for the query 'q'",
        ),
        (b"q Q0 d 1 2 t\nq Q0 \xff 1 2 t\n", ":2: not UTF-8 (byte 6 of the line)"),
        ("q Q0 d 1 2 t\n".encode("utf-16"), ":1: "),
        (b"q Q0 d 1 2 t\0\n", ":1: a NUL byte"),
        (b"q" * 1_000_001, ":1: the line is longer than 1,000,000 bytes"),
    ],
)
def test_a_run_that_is_wrong_is_named_by_file_and_line(tmp_path, content, says):
    path = tmp_path / "bad.run"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        read_run(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no judgment"),
        (b"q 0 d\n", ":1: 3 fields instead of 4: query iteration document grade"),
        (b"q 0 d 1\nq 0 e 1.5\n", ":2: the grade '1.5' is no whole number"),
        (b"q 0 d yes\n", ":1: the grade 'yes'"),
        (b"q 0 d 99999999\n", ":1: the grade 99999999 is beyond 1000"),
        (b"q 0 d 1\nr 0 d 1\nq 0 d 0\n", ":3: 'd' is judged twice for the query 'q'"),
    ],
)
def test_qrels_that_are_wrong_are_named_by_file_and_line(tmp_path, content, says):
    path = tmp_path / "bad.qrels"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        read_qrels(path)
    assert str(path) in str(caught.value)


def test_damaged_gzip_is_named(tmp_path):
    whole = gzip.compress(b"".join(b"q 0 d%d 1\n" % number for number in range(5000)))
    for name, content in (
        ("cut.gz", whole[:-20]),
        ("plain.gz", b"q 0 d 1\n"),
        ("torn.gz", whole[:60] + b"x" * 80),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}:[0-9]+: not a whole gzip file"):
            read_qrels(tmp_path / name)


def test_files_that_are_not_there_or_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*absent"):
        read_run(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot read"):
        read_qrels(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_run(tmp_path / "no" / "folder", {"q": {"d": 1.0}}, "t")


def test_what_cannot_be_written_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "run"
    write_run(path, {"q": {"d": 1.0}}, "t")
    before = path.read_bytes()
    for run, tag in (
        ({"q": {"d": math.nan}}, "t"),
        ({"q": {"d": 1.0, "": 0.5}}, "t"),
        ({"q": {"symbol \u2420": 1.0}}, "t"),
        ({"q": {"\ud800": 1.0}}, "t"),
        ({"q": {"d": 1.0}}, ""),
        ({"q": {}}, "t"),
        ({}, "t"),
    ):
        with pytest.raises(InputError):
            write_run(path, run, tag)
    with pytest.raises(InputError, match="no judgment"):
        write_qrels(path, {"q": {}})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
