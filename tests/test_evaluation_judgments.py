"""Judged queries: every form they come in, looked up in a real index; bad input named by file and line."""

from __future__ import annotations

import gzip
import json
import os
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondpass import Index
from secondpass.errors import InputError
from secondpass.evaluation import beir
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.rows import query_id
from secondpass.evaluation.trec import write_qrels
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder
from secondpass.types import Document

LONG = (
    "The boiler stands in the cellar.\nIt is drained in spring,   before the frost is\nover, and filled "
    "again in May.\n\nIts pressure is 1.5 bar.\n\nThe guarantee ends after two years.\n"
)


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """A folder of files, and an index over it with small passages."""
    folder = tmp_path_factory.mktemp("manual")
    (folder / "heating").mkdir()
    (folder / "garden").mkdir()
    (folder / "heating" / "boiler.txt").write_text(LONG)
    (folder / "heating" / "notes.md").write_text("Call the plumber on Monday.\n")
    (folder / "garden" / "notes.md").write_text("Roses are cut in March.\n")
    (folder / "garden" / "copy.md").write_text("Call the plumber on Monday.\n")
    (folder / "faq.jsonl").write_text('{"text": "How to drain it?"}\n{"text": "How to fill it?"}\n')
    splitter = RecursiveSplitter(80, 20)
    with Index.open(folder.parent / "manual-index", embedder=HashEmbedder(16), splitter=splitter) as index:
        index.add(folder)
        yield folder, index


@pytest.fixture
def judged(tmp_path, manual):
    """Write a file and read it against the index."""

    def read(content, name="judged.jsonl", **how):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(
                content if isinstance(content, str) else "".join(f"{json.dumps(row)}\n" for row in content),
                encoding="utf-8",
            )
        return read_judged(path, **{"index": manual[1], **how})

    return read


def beir_folder(folder, qrels="query-id\tcorpus-id\tscore\nq1\td1\t1\n", queries=None, corpus=None):
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    (folder / "queries.jsonl").write_text(
        queries or '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n', encoding="utf-8"
    )
    (folder / "corpus.jsonl").write_text(
        corpus or '{"_id": "d1", "title": "One", "text": "is a number"}\n{"_id": "d2", "text": "two"}\n',
        encoding="utf-8",
    )
    return folder


def test_a_first_line_with_a_number_is_no_header(tmp_path):
    with pytest.raises(InputError, match=r"test.tsv:1: the grade '2.0' is no whole number"):
        read_judged(beir_folder(tmp_path, qrels="q1\td1\t2.0\nq2\td2\t1\n"))


# ---- rows


def test_rows_name_documents_by_id_path_and_end_of_path(judged, manual, monkeypatch):
    folder, _ = manual
    boiler = str(folder / "heating" / "boiler.txt")
    monkeypatch.chdir(folder / "heating")
    for written in (boiler, "boiler.txt", "./boiler.txt", "heating/boiler.txt", "../heating/boiler.txt"):
        found = judged([{"query": "where is it", "relevant": [written]}])
        assert found.unit == "document"
        assert list(found.qrels.values()) == [{boiler: 1}], written
        assert not found.missing


def test_a_name_that_the_working_directory_settles_is_not_ambiguous(judged, manual, monkeypatch):
    folder, _ = manual
    monkeypatch.chdir(folder / "garden")
    found = judged([{"query": "roses", "relevant": "notes.md"}])
    assert list(found.qrels.values()) == [{str(folder / "garden" / "notes.md"): 1}]


def test_rows_of_a_file_are_named_by_their_number(judged, manual):
    found = judged([{"query": "fill", "relevant": ["faq.jsonl#2"]}])
    assert list(found.qrels.values()) == [{f"{manual[0] / 'faq.jsonl'}#2": 1}]


def test_a_quoted_text_names_the_passages_that_hold_it(judged, manual):
    folder, index = manual
    passages = index.passages(str(folder / "heating" / "boiler.txt"))
    found = judged([{"id": "p", "query": "pressure", "relevant": ["Its pressure is\n 1.5 bar."]}])
    holding = [each.id for each in passages if "1.5 bar" in each.text]
    assert found.unit == "passage"
    assert found.qrels == {"p": dict.fromkeys(holding, 1)}
    across = judged(
        [{"id": "p", "query": "spring", "relevant": ["drained in spring, before the frost is over, and"]}]
    )
    touched = [each.id for each in passages if "spring" in each.text or "over" in each.text]
    assert len(touched) > 1
    assert across.qrels == {"p": dict.fromkeys(touched, 1)}


def test_a_text_that_stands_in_equal_passages_is_the_one_a_search_gives(judged, manual):
    found = judged([{"id": "p", "query": "whom to call", "relevant": ["the plumber on Monday"]}])
    (hit, *_) = [
        hit for hit in manual[1].search("call the plumber", stage1="lexical") if "plumber" in hit.passage.text
    ]
    assert hit.also_in
    assert found.qrels == {"p": {hit.passage.id: 1}}


def test_a_passage_is_named_by_its_id(judged, manual):
    passage = manual[1].search("pressure", 1, stage1="lexical")[0].passage
    for entry in (passage.id, {"passage": passage.id}, {"passage": passage.id, "grade": 2}):
        found = judged([{"id": "p", "query": "pressure", "relevant": [entry]}])
        assert found.unit == "passage"
        assert list(found.qrels["p"]) == [passage.id]


def test_grades_references_ids_and_synthetic(judged, manual):
    boiler, roses = (str(manual[0] / name) for name in ("heating/boiler.txt", "garden/notes.md"))
    rows = [
        {"id": 7, "query": "boiler", "relevant": [{"source": "boiler.txt", "grade": 3}, "garden/notes.md"],
         "grade": -1, "answer": "In the cellar."},
        {"question": "roses", "relevant": {"document": roses}, "synthetic": True},
    ]  # fmt: skip
    found = judged(rows)
    assert found.qrels == {"7": {boiler: 3, roses: -1}, query_id("roses"): {roses: 1}}
    assert found.queries == {"7": "boiler", query_id("roses"): "roses"}
    assert found.references == {"7": "In the cellar."}
    assert found.synthetic
    assert found.origin.endswith("judged.jsonl")


def test_the_id_of_a_query_without_one_depends_on_its_words_alone():
    assert query_id("what  is\nthis") == query_id("what is this") != query_id("what is that")
    assert not re.search(r"\s", query_id("a b"))


def test_csv_with_several_rows_a_query_and_quoted_fields(judged, manual):
    roses, boiler = (str(manual[0] / name) for name in ("garden/notes.md", "heating/boiler.txt"))
    content = (
        "\ufeffid,Query,Relevant,grade,reference\r\n\r\n"
        '1,"when, and how,\nare roses cut",garden/notes.md,2,In March\r\n'
        f'1,"when, and how,\nare roses cut",{boiler},,\r\n'
        '2,both,"[""boiler.txt"", ""garden/notes.md""]",,\r\n'
    )
    found = judged(content, "judged.csv")
    assert found.qrels == {"1": {roses: 2, boiler: 1}, "2": {boiler: 1, roses: 1}}
    assert found.queries["1"] == "when, and how,\nare roses cut"
    assert found.references == {"1": "In March"}
    for delimiter in ";\t|":
        same = judged(f"query{delimiter}relevant\nboiler{delimiter}boiler.txt\n", "judged.txt")
        assert list(same.qrels.values()) == [{boiler: 1}]


def test_missing_entries_are_told_and_stay_in_the_judgments(judged, manual):
    rows = [
        {"id": "a", "query": "boiler", "relevant": ["boiler.txt", "gone.txt"]},
        {"id": "b", "query": "lost", "relevant": ["lost.txt", {"source": "irrelevant.txt", "grade": 0}]},
    ]
    found = judged(rows)
    assert found.missing == {"a": ("gone.txt",), "b": ("lost.txt",)}
    assert found.qrels["a"] == {str(manual[0] / "heating" / "boiler.txt"): 1, "gone.txt": 1}
    assert found.qrels["b"] == {"lost.txt": 1, "irrelevant.txt": 0}


def test_without_an_index_ids_are_taken_as_written(judged):
    found = judged([{"id": "a", "query": "x", "relevant": ["d1", {"document": "d2"}]}], index=None)
    assert (found.qrels, found.unit) == ({"a": {"d1": 1, "d2": 1}}, "document")
    with pytest.raises(InputError, match=":1: a quoted text can only be found in an index"):
        judged([{"query": "x", "relevant": [{"quote": "words"}]}], index=None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\n  \n", "is empty"),
        ('{"query": "x", "relevant": ["boiler.txt"]}\n{"query": "x"\n', ":2: not JSON"),
        ('{"query": "x", "relevant": ["boiler.txt"]}\n[1]\n', ":2: a JSON object is wanted"),
        ('{"relevant": ["boiler.txt"]}\n', ":1: 'query' is missing"),
        ('{"query": " ", "relevant": ["boiler.txt"]}\n', ":1: 'query' is missing or empty"),
        ('\n{"query": "x"}\n', ":2: the query 'x' has nothing 'relevant'"),
        ('{"query": "x", "relevant": []}\n', ":1: the query 'x' has nothing 'relevant'"),
        ('{"query": "x", "relevant": [null]}\n', ":1: 'relevant' wants sources"),
        ('{"query": "x", "relevant": [""]}\n', ":1: 'relevant' wants sources"),
        ('{"query": "x", "relevant": [{"page": 1}]}\n', ":1: an object in 'relevant' needs one of"),
        ('{"query": "x", "relevant": [{"source": "a", "quote": "b"}]}\n', ":1: an object in 'relevant'"),
        ('{"query": "x", "relevant": ["boiler.txt"], "grade": "good"}\n', ":1: the grade 'good'"),
        ('{"query": "x", "relevant": ["boiler.txt"], "grade": 0.5}\n', ":1: the grade 0.5"),
        ('{"query": "x", "relevant": ["boiler.txt"], "grade": 0}\n', "judged relevant (above 0)"),
        ('{"query": "x", "relevant": ["boiler.txt"], "id": ""}\n', ":1: the query id ''"),
        ('{"query": "x", "relevant": ["boiler.txt"], "reference": 3}\n', ":1: 'reference' is the text"),
        ('{"id": 1, "query": "x", "relevant": ["faq.md"]}\n{"id": "1", "query": "y", "relevant": ["a"]}\n',
         ":2: line 1 has the id '1' too"),
        ('{"query": "x", "relevant": ["boiler.txt"]}\n{"query": "x", "relevant": ["a"]}\n',
         ":2: line 1 has the same query"),
        ('{"query": "x", "relevant": ["nowhere.txt"]}\n', ":1: 'nowhere.txt' is not in the index"),
        ('{"query": "x", "relevant": ["ffffffffffffffff"]}\n', ":1: 'ffffffffffffffff' is not in the index"),
        ('{"query": "x", "relevant": ["notes.md"]}\n', ":1: 'notes.md' fits 2 documents"),
        ('{"query": "x", "relevant": ["faq.jsonl"]}\n', ":1: 'faq.jsonl' fits 2 documents"),
        ('{"query": "x", "relevant": ["is"]}\n', ":1: the text 'is' stands in"),
        ('{"query": "x", "relevant": ["boiler.txt"]}\n{"query": "y", "relevant": ["1.5 bar"]}\n',
         "documents are judged here (line 1) and passages too (line 2)"),
        ("[\n", "no known form"),
        ("q Q0 d 1 0.5 t\n", "it looks like a TREC run"),
        ("what is this\n", "no known form"),
        ("query,relevant\n", ":1: no row"),
        ("query,relevant\nx,boiler.txt,3\n", ":2: 3 fields under a header of 2"),
        ('query,relevant\n"x\n\n,boiler.txt\n', ":2: broken row"),
        ("query,relevant\n\nx,\n", ":3: the query 'x' has nothing 'relevant'"),
    ],
)  # fmt: skip
def test_rows_that_are_wrong_are_named_by_file_and_line(judged, content, says):
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        judged(content)
    assert "judged.jsonl" in str(caught.value)


def test_bytes_that_are_no_text(judged):
    with pytest.raises(InputError, match=r":2: not UTF-8 \(byte 12 of the line\)"):
        judged(b'{"query": "a", "relevant": ["boiler.txt"]}\n{"query": "\xe4"}\n')
    with pytest.raises(InputError, match="not UTF-8"):
        judged('{"query": "a", "relevant": ["boiler.txt"]}\n'.encode("utf-16"))
    with pytest.raises(InputError, match=":1: nested too deeply"):
        judged('{"query": ' + "[" * 100_000)


def test_byte_order_mark_carriage_returns_blank_lines_and_gzip(judged, manual):
    content = b'\xef\xbb\xbf\r\n{"query": "a", "relevant": ["boiler.txt"]}\r\n\r\n'
    for name, packed in (("judged.jsonl", content), ("judged.jsonl.gz", gzip.compress(content))):
        found = judged(packed, name)
        assert list(found.queries.values()) == ["a"]


# ---- qrels


@pytest.mark.parametrize("queries", ["queries.jsonl", "queries.tsv"])
def test_qrels_with_queries_beside_them(judged, manual, tmp_path, queries):
    boiler = str(manual[0] / "heating" / "boiler.txt")
    (tmp_path / queries).write_text(
        "q1\twhere is it\nq2\tnever judged\n" if queries.endswith("tsv")
        else '{"_id": "q1", "text": "where is it"}\n{"id": "q2", "query": "never judged"}\n'
    )  # fmt: skip
    found = judged(f"q1 0 {boiler} 2\nq1 0 heating/notes.md 0\n", "judged.qrels")
    assert found.queries == {"q1": "where is it"}
    assert found.qrels == {"q1": {boiler: 2, str(manual[0] / "heating" / "notes.md"): 0}}


def test_own_marks_are_read_from_their_folder(manual, tmp_path):
    passages = [hit.passage.id for hit in manual[1].search("pressure", 2)]
    write_qrels(tmp_path / "qrels.txt", {"q1": dict(zip(passages, (1, 0), strict=True))})
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "pressure", "synthetic": true}\n')
    found = read_judged(tmp_path, index=manual[1])
    assert (found.unit, found.synthetic) == ("passage", True)
    assert found.qrels == {"q1": dict(zip(passages, (1, 0), strict=True))}


def test_queries_can_be_named(judged, tmp_path):
    with pytest.raises(InputError, match=r"no queries.jsonl or queries.tsv with their texts"):
        judged("q1 0 boiler.txt 1\n", "judged.qrels")
    (tmp_path / "asked.tsv").write_text("id\ttext\nq1\twhere\n")
    assert judged("q1 0 boiler.txt 1\n", "judged.qrels", queries=tmp_path / "asked.tsv").queries == {
        "q1": "where"
    }
    with pytest.raises(InputError, match="holds its queries itself"):
        judged([{"query": "x", "relevant": ["boiler.txt"]}], queries=tmp_path / "asked.tsv")


@pytest.mark.parametrize(
    ("qrels", "queries", "says"),
    [
        (
            "q1 0 boiler.txt 1\nq9 0 boiler.txt 1\n",
            "q1\twhere\n",
            "bad.qrels:2: the query 'q9' is judged, but",
        ),
        (
            "q1 0 boiler.txt 1\n",
            "q1\twhere\nq1\tthere\n",
            "queries.tsv:2: the query id 'q1' stands on an earlier",
        ),
        ("q1 0 boiler.txt 1\n", "q1 where\n", "queries.tsv:1: a query id, a tab and the query's text"),
        ("q1 0 boiler.txt 1\n", '{"text": "where"}\n', "queries.tsv:1: the query has no '_id'"),
        ("q1 0 boiler.txt 1\n", '{"_id": "q1"}\n', "queries.tsv:1: 'text' is missing"),
        ("q1 0 boiler.txt 1\n", "\n", "queries.tsv:1: no query"),
        ("q1 0 boiler.txt 0\nq1 0 faq.jsonl#1 -1\n", "q1\twhere\n", "judged relevant (above 0)"),
        ("q1 0 nowhere.txt 1\n", "q1\twhere\n", "bad.qrels:1: 'nowhere.txt' is not in the index"),
        (
            "q1 0 boiler.txt 1\nq1 0 boiler.txt 1\n",
            "q1\twhere\n",
            "bad.qrels:2: 'boiler.txt' is judged twice",
        ),
    ],
)
def test_qrels_and_queries_that_do_not_fit(judged, tmp_path, qrels, queries, says):
    (tmp_path / "queries.tsv").write_text(queries)
    with pytest.raises(InputError, match=re.escape(says)):
        judged(qrels, "bad.qrels")


# ---- BEIR


def test_a_beir_folder_with_its_own_index(tmp_path):
    folder = beir_folder(tmp_path)
    texts = {document.id: document for document in beir.documents(folder)}
    assert texts == {"d1": Document("d1", "One is a number", {"title": "One"}), "d2": Document("d2", "two")}
    with Index.open(tmp_path / "index", embedder=HashEmbedder(16)) as index:
        index.add(beir.documents(folder))
        found = read_judged(folder, index=index)
    assert (found.queries, found.qrels, found.unit) == ({"q1": "first"}, {"q1": {"d1": 1}}, "document")
    assert read_judged(folder / "qrels" / "test.tsv") == read_judged(folder).__class__(
        {"q1": "first"}, {"q1": {"d1": 1}}, "document", str(folder / "qrels" / "test.tsv")
    )


def test_a_packed_corpus_and_a_missing_split(tmp_path):
    folder = beir_folder(tmp_path)
    plain = (folder / "corpus.jsonl").read_bytes()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(plain))
    (folder / "corpus.jsonl").unlink()
    assert [document.id for document in beir.documents(folder)] == ["d1", "d2"]
    with pytest.raises(InputError, match=r"no judgments 'train' .* there are: test"):
        read_judged(folder, split="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no judged queries in"):
        read_judged(tmp_path / "empty")
    with pytest.raises(InputError, match="no file or folder"):
        read_judged(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no corpus.jsonl in"):
        list(beir.documents(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("qrels", "says"),
    [
        ("query-id\tcorpus-id\tscore\n", "test.tsv holds no judgment"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "test.tsv:2: the grade 'yes'"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2: 2 columns instead of 3"),
        ("q1\td1\t1\nq1\td1\t1\n", "test.tsv:2: 'd1' is judged twice"),
        ("q1\td1\t1\nq7\td1\t1\n", "test.tsv:2: the query 'q7' is judged, but"),
    ],
)
def test_beir_qrels_that_are_wrong(tmp_path, qrels, says):
    with pytest.raises(InputError, match=re.escape(says)):
        read_judged(beir_folder(tmp_path, qrels=qrels))


@pytest.mark.parametrize(
    ("corpus", "says"),
    [
        ('{"_id": "d1", "text": "a"}\n{"text": "b"}\n', ":2: '_id' is missing"),
        (
            '{"_id": "d1", "text": "a"}\n\n{"_id": "d1", "text": "b"}\n',
            ":3: the _id 'd1' stands on an earlier line",
        ),
        ('{"_id": "d1"}\n', ":1: the document 'd1' needs a 'text'"),
        ('{"_id": "d1", "text": "a", "title": 3}\n', ":1: the document 'd1' needs a 'text'"),
        ("d1 a\n", ":1: not JSON"),
        ("\n", "holds no document"),
    ],
)
def test_a_corpus_that_is_wrong(tmp_path, corpus, says):
    with pytest.raises(InputError, match=re.escape(says)):
        list(beir.documents(beir_folder(tmp_path, corpus=corpus)))


def test_a_100_mb_corpus_is_streamed_and_its_bad_line_named(tmp_path):
    folder = beir_folder(tmp_path)
    line = json.dumps({"_id": "%d", "title": "", "text": "word " * 20_000}) + "\n"
    with (folder / "corpus.jsonl").open("w") as stream:
        for number in range(1000):
            stream.write(line % number)
        stream.write('{"_id": "last", "text": \n')
    assert (folder / "corpus.jsonl").stat().st_size > 100_000_000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"corpus.jsonl:1001: not JSON"):
            sum(1 for _ in beir.documents(folder))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
        (folder / "corpus.jsonl").unlink()


def test_100_mb_without_a_line_end_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "judged.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"query": "')
        os.truncate(path, 0)
        stream.write(b"x" * 100_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"judged.jsonl:1: the line is longer than 1,000,000 bytes"):
            read_judged(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
        path.unlink()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_quote_cut_from_anywhere_finds_passages_that_hold_it(tmp_path_factory, manual, data):
    """Any stretch of a document, its spaces bent, is either refused as ambiguous or found where it stands."""
    folder, index = manual
    text = index.document(str(folder / "heating" / "boiler.txt")).text
    start = data.draw(st.integers(0, len(text) - 13))
    end = data.draw(st.integers(start + 12, len(text)))
    space = data.draw(st.sampled_from([" ", "\n", "  \t"]))
    words = text[start:end].split()
    path = tmp_path_factory.mktemp("quote") / "judged.jsonl"
    path.write_text(json.dumps({"id": "q", "query": "x", "relevant": [{"quote": space.join(words)}]}))
    try:
        found = read_judged(path, index=index)
    except InputError as exc:
        assert "stands in" in str(exc)  # noqa: PT017
        return
    passages = [index.passage(key) for key in found.qrels["q"]]
    quote = " ".join(words)
    flat = [" ".join(passage.text.split()) for passage in passages]
    stretch = " ".join(text[min(p.start for p in passages) : max(p.end for p in passages)].split())
    assert all(quote in each for each in flat) or quote in stretch


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "judged.jsonl",
            '{"query": "when?", "relevant": [{"document": "notes.md", "grade": 2}, '
            '{"document": "./notes.md", "grade": 0}]}\n',
        ),
        ("judged.csv", "query,relevant,grade\nwhen?,notes.md,2\nwhen?,./notes.md,0\n"),
    ],
)
def test_two_grades_for_one_document_are_refused_by_whatever_names(tmp_path, monkeypatch, name, content):
    (tmp_path / "notes.md").write_text("Roses are cut in March.\n")
    (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    with Index.open(tmp_path / "index", embedder=HashEmbedder(16)) as index:
        index.add("notes.md")
        with pytest.raises(InputError, match=r"judged\.\w+:\d: '\./notes\.md' has the grades 2 and 0"):
            read_judged(tmp_path / name, index=index)


def test_half_a_character_and_a_column_named_twice_are_refused(judged):
    with pytest.raises(InputError, match=r"judged\.jsonl:1: half of a surrogate pair"):
        judged('{"query": "why \\ud83d?", "relevant": ["notes.md"]}\n')
    assert judged('{"query": "why \\ud83d\\ude00?", "relevant": ["faq.jsonl#1"]}\n').queries
    with pytest.raises(InputError, match=r"judged\.csv:1: two columns are called 'relevant'"):
        judged("query,relevant,Relevant\nwhy?,a.md,b.md\n", name="judged.csv")
