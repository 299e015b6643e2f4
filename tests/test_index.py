"""The index as its users see it: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from index_checks import check_consistent
from privileges import without_privileges
from secondpass import Index
from secondpass.errors import (
    IndexMismatchError,
    IndexMissingError,
    IndexWriteError,
    InputError,
    QueryError,
    StorageError,
)
from secondpass.index import Progress
from secondpass.loading import LoadOptions
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder
from secondpass.types import Document, Passage

KETTLE = "The kettle is made of stainless steel and holds two litres."
RATES = "Interest rates rose for the third time this year."
BRIDGE = "Die Brücke über die Spree wurde 1931 gebaut."


class CountingEmbedder(HashEmbedder):
    """A real embedder that remembers what it was asked for."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.texts: list[str] = []

    def embed_passages(self, texts):
        self.texts += texts
        return super().embed_passages(texts)

    def embed_queries(self, texts):
        return HashEmbedder.embed_passages(self, texts)


@pytest.fixture
def embedder():
    return CountingEmbedder()


@pytest.fixture(params=["sqlite", "chroma"])
def both(request, tmp_path, embedder):
    """An index of each kind."""
    if request.param == "chroma":
        pytest.importorskip("chromadb")
    with Index.open(tmp_path / "index", embedder=embedder, store=request.param) as index:
        yield index


@pytest.fixture
def index(tmp_path, embedder):
    with Index.open(tmp_path / "index", embedder=embedder) as opened:
        yield opened


def three() -> list[Document]:
    return [
        Document("kettle", KETTLE, {"kind": "product", "year": 2020, "new": True}),
        Document("rates", RATES, {"kind": "news", "year": "2021"}),
        Document("bridge", BRIDGE, {"kind": "news", "year": 1931.0}),
    ]


# Adding and searching


def test_three_ways_to_search_find_the_passage(both):
    report = both.add(three())
    assert (report.added, report.changed, report.unchanged, report.removed) == (3, 0, 0, 0)
    assert (report.passages, report.embedded, report.skipped) == (3, 3, ())
    for stage1 in ("dense", "lexical", "hybrid"):
        hits = both.search("what is the kettle made of", 2, stage1=stage1)
        assert hits[0].passage.text == KETTLE
        assert hits[0].passage.document_id == "kettle"
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert hits[0].passage.metadata == {"kind": "product", "year": 2020, "new": True}


def test_scores_descend_and_only_dense_hits_have_a_distance(index):
    index.add(three())
    dense = index.search("interest rates this year", 3)
    assert [hit.distance for hit in dense] == [pytest.approx(1 - hit.score) for hit in dense]
    for stage1 in ("lexical", "hybrid"):
        hits = index.search("interest rates this year", 3, stage1=stage1)
        assert all(hit.distance is None for hit in hits)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0 for score in scores)


def test_dense_scores_are_the_cosines_of_the_embedder(index, embedder):
    index.add(three())
    query = "rates of interest"
    expected = HashEmbedder.embed_passages(embedder, [KETTLE, RATES, BRIDGE]) @ index.embed_query(query)
    found = {hit.passage.document_id: hit.score for hit in index.search(query, 3)}
    assert found == pytest.approx(dict(zip(["kettle", "rates", "bridge"], expected, strict=True)), abs=1e-6)


def test_candidates_takes_a_vector_one_has_already(index, embedder):
    index.add(three())
    vector = index.embed_query(RATES)
    assert index.candidates(RATES, vector, 3, "dense", None) == index.search(RATES, 3)
    assert index.candidates(RATES, None, 3, "lexical", None) == index.search(RATES, 3, stage1="lexical")


def test_ranks_of_equal_scores_follow_the_passage_id(index):
    index.add([Document(name, f"{name} walks") for name in ("one", "two", "six", "ten")])
    for stage1 in ("lexical", "dense"):
        hits = index.search("walks", 4, stage1=stage1)
        keys = [(-hit.score, hit.passage.id) for hit in hits]
        assert keys == sorted(keys)


def test_hybrid_is_the_fusion_of_both_lists(index):
    index.add(
        [Document(f"d{n}", f"word{n} and word{n + 1} stand beside word{n * 7 % 11}") for n in range(30)]
    )
    places: dict[str, float] = {}
    for stage1 in ("dense", "lexical"):
        for hit in index.search("word3 beside word4", 100, stage1=stage1):
            places[hit.passage.id] = places.get(hit.passage.id, 0) + 1 / (60 + hit.rank)
    found = {hit.passage.id: hit.score for hit in index.search("word3 beside word4", 30, stage1="hybrid")}
    best = max(places.values())
    assert max(found.values()) == pytest.approx(best, rel=0.05)
    assert len(found) == 30


def test_the_same_text_is_embedded_once_and_is_one_hit(both, embedder):
    both.add([Document("b", KETTLE), Document("a", KETTLE), Document("c", f"{KETTLE}"), Document("d", RATES)])
    assert sorted(embedder.texts) == sorted([KETTLE, RATES])
    hits = both.search("stainless kettle", 4)
    assert len(hits) == 2
    assert hits[0].passage.document_id == "a"
    assert [place.document_id for place in hits[0].also_in] == ["b", "c"]
    assert all(place.text == KETTLE for place in hits[0].also_in)
    assert both.status().texts == 2
    assert both.status().passages == 4


def test_also_in_tells_of_the_first_fifty(index):
    index.add([Document(f"copy{n:03}", KETTLE) for n in range(80)])
    (hit,) = index.search("kettle", 5)
    assert hit.passage.document_id == "copy000"
    assert [place.document_id for place in hit.also_in] == [f"copy{n:03}" for n in range(1, 51)]


def test_offsets_lines_and_pages_come_back(index):
    text = "first line\n" * 100 + "second part\n" * 100
    index.add(Document("doc", text, page_starts=(0, 1100)))
    document = index.document("doc")
    assert document.text == text
    assert document.page_starts == (0, 1100)
    for hit in index.search("second part", 20):
        for passage in (hit.passage, *hit.also_in):
            assert document.text[passage.start : passage.end] == passage.text
            assert passage.line_start == text[: passage.start].count("\n") + 1
            assert passage.page == (1 if passage.start < 1100 else 2)
            assert index.passage(passage.id) == passage


def test_an_empty_index_finds_nothing(both):
    for stage1 in ("dense", "lexical", "hybrid"):
        assert both.search("anything", 3, stage1=stage1) == []
    assert len(both) == 0
    assert both.documents() == []
    assert both.add([]).added == 0


def test_a_document_without_a_visible_character_has_no_passages(index):
    assert index.add(Document("empty", " \n ")).passages == 0
    assert index.documents()[0].passages == 0
    assert index.add(Document("empty", " \n ")).unchanged == 1


def test_looking_up(index):
    index.add(three())
    assert [(each.id, each.passages) for each in index.documents()] == [
        ("bridge", 1),
        ("kettle", 1),
        ("rates", 1),
    ]
    assert index.documents()[1].characters == len(KETTLE)
    assert len(index) == 3
    with pytest.raises(InputError, match="no document 'x'"):
        index.document("x")
    with pytest.raises(InputError, match="no passage 'x'"):
        index.passage("x")


def test_status_tells_what_is_there(index, tmp_path):
    before = index.status()
    index.add(three())
    status = index.status()
    assert status.path == str(tmp_path / "index")
    assert (status.documents, status.passages, status.texts, status.pending) == (3, 3, 3, 0)
    assert (status.embedder, status.dimension, status.store) == ("hashed-words-64", 64, "sqlite")
    assert status.splitter["size"] == 500
    assert status.size_bytes > 10_000
    assert status.generation > before.generation
    assert status.format == 1


def test_what_is_closed_stays_closed(tmp_path, embedder):
    index = Index.open(tmp_path / "index", embedder=embedder)
    index.close()
    index.close()
    for call in (index.documents, lambda: index.add(three()), lambda: index.search("x")):
        with pytest.raises(InputError, match="closed"):
            call()


def test_words_of_most_passages_change_no_order_and_find_what_nothing_else_does(index, tmp_path):
    """They cost most of the time and tell nothing; SQLite's own bm25 over all words is the measure."""
    index.add(
        Document(f"d{n}", f"the boat {'kettle ' * (n % 4)}{'of tea' if n % 3 == 0 else 'and rope'} n{n}")
        for n in range(12)
    )
    with sqlite3.connect(tmp_path / "index" / "index.db") as raw:
        wanted = raw.execute(
            "SELECT text, -bm25(words) AS score FROM words WHERE words MATCH ? ORDER BY score DESC, rowid",
            ('"the" OR "kettle" OR "tea"',),
        ).fetchall()
    for k in (1, 5, 9, 12):  # nine have "kettle" or "tea" in them, the others only "the"
        found = index.search("the kettle tea", k, stage1="lexical")
        assert {hit.passage.text for hit in found[:8]} == {text for text, _ in wanted[: min(k, 8)]}
        assert [hit.score for hit in found] == pytest.approx([score for _, score in wanted[:k]], abs=1e-4)
    assert len(index.search("the", 12, stage1="lexical")) == 12


# Doing it again


def test_unchanged_documents_cost_no_embedding(both, embedder):
    both.add(three())
    asked = list(embedder.texts)
    report = both.add(three())
    assert (report.added, report.unchanged, report.embedded) == (0, 3, 0)
    assert embedder.texts == asked


def test_a_changed_document_replaces_its_passages(both, embedder):
    both.add(three())
    report = both.add(Document("rates", "Whales sing in the deep sea.", {"kind": "nature"}))
    assert (report.changed, report.embedded) == (1, 1)
    assert both.search("whales sing", 1)[0].passage.document_id == "rates"
    for stage1 in ("dense", "lexical", "hybrid"):
        assert all(hit.passage.text != RATES for hit in both.search("interest rates rose", 5, stage1=stage1))
    assert both.status().texts == 3


def test_only_new_texts_of_a_changed_document_are_embedded(index, embedder):
    paragraphs = [f"Paragraph {n}. " + f"word{n} " * 60 for n in range(10)]
    index.add(Document("doc", "\n\n".join(paragraphs)))
    embedder.texts.clear()
    paragraphs[4] = "Something else. " + "other " * 60
    index.add(Document("doc", "\n\n".join(paragraphs)))
    assert len(embedder.texts) == 1
    assert embedder.texts[0].startswith("Something else")


def test_changed_metadata_alone_is_a_change_without_embedding(index):
    index.add(three())
    report = index.add(Document("rates", RATES, {"kind": "old news"}))
    assert (report.changed, report.embedded) == (1, 0)
    assert index.search("rates", 1, where={"kind": "old news"})[0].passage.document_id == "rates"
    assert index.search("rates", 3, where={"kind": "news"})[0].passage.document_id == "bridge"


def test_a_text_stays_as_long_as_one_document_has_it(both):
    both.add([Document("a", KETTLE), Document("b", KETTLE)])
    assert both.remove("a") == 1
    assert both.search("kettle", 1)[0].passage.document_id == "b"
    assert both.remove(["b", "unknown"]) == 1
    assert both.search("kettle", 1) == []
    assert both.search("kettle", 1, stage1="lexical") == []
    assert both.status().texts == 0


def test_history_leaves_no_trace(tmp_path):
    """However an index came to its content, it is the same index, and searches give the same."""
    one = Index.open(tmp_path / "one", embedder=HashEmbedder(64))
    two = Index.open(tmp_path / "two", embedder=HashEmbedder(64))
    documents = [Document(f"d{n}", f"text {n % 7} of words {n} " * 30, {"n": n}) for n in range(40)]
    one.add(documents)
    two.add([Document(f"d{n}", f"older {n} " * 50) for n in range(60)])
    two.remove([f"d{n}" for n in range(40, 60)])
    two.add(documents[20:])
    two.add(documents)
    assert one.fingerprint() == two.fingerprint()
    for stage1 in ("dense", "lexical", "hybrid"):
        found = [
            [
                (hit.passage.id, round(hit.score, 5))
                for hit in each.search("words 5 of text", 10, stage1=stage1)
            ]
            for each in (one, two)
        ]
        assert sorted(found[0]) == sorted(found[1])
    two.remove("d3")
    assert one.fingerprint() != two.fingerprint()
    for each in (one, two):
        check_consistent(each.path)
        each.close()


def test_a_long_document_is_staged_and_leaves_nothing_behind(index, embedder):
    text = "\n\n".join(f"Paragraph {n}. " + f"w{n} " * 100 for n in range(1500))
    seen: list[Progress] = []
    report = index.add(Document("long", text), progress=seen.append)
    assert report.embedded == len(set(embedder.texts)) >= 1500
    assert [each.documents_done for each in seen] == [0] * (len(seen) - 1) + [1]
    ahead = [each.passages_done for each in seen]
    assert ahead == sorted(ahead)
    assert len(seen) >= 4, "progress is told slice by slice"
    assert seen[-1].passages_done == seen[-1].passages_total == report.passages
    assert not (index.path / "cache" / "staged.db").exists()
    assert "w777 w777" in index.search("w777", 1, stage1="lexical")[0].passage.text
    check_consistent(index.path)


def test_what_a_failed_run_embedded_of_a_long_document_is_not_embedded_again(tmp_path):
    text = "\n\n".join(f"Paragraph {n}. " + f"w{n} " * 100 for n in range(1500))

    class Failing(CountingEmbedder):
        def embed_passages(self, texts):
            if len(self.texts) > 900:
                raise RuntimeError("no more power")
            return super().embed_passages(texts)

    failing, whole = Failing(), CountingEmbedder()
    with Index.open(tmp_path / "index", embedder=failing) as index:
        with pytest.raises(RuntimeError):
            index.add(Document("long", text))
        assert len(index) == 0
        assert index.search("w3 paragraph", 3) == []
    with Index.open(tmp_path / "index", embedder=whole) as index:
        report = index.add(Document("long", text))
        assert report.embedded == len(whole.texts) == report.passages - len(failing.texts)
        check_consistent(index.path)


# Files


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_files_and_folders(index, tmp_path):
    docs = write(tmp_path / "docs", a__md=f"# Kettles\n\n{KETTLE}", b__txt=RATES)
    (docs / "empty.txt").write_text("")
    (docs / "binary.txt").write_bytes(bytes(range(256)) * 10)
    seen: list[Progress] = []
    report = index.add(docs, progress=seen.append)
    assert (report.added, report.passages) == (2, 2)
    assert {(Path(each.path).name, each.error) for each in report.skipped} == {
        ("empty.txt", False),
        ("binary.txt", True),
    }
    hit = index.search("kettle", 1, where={"extension": ".md"})[0]
    assert hit.passage.source == hit.passage.document_id == (docs / "a.md").as_posix()
    assert [each.documents_done for each in seen] == [1, 2]
    assert seen[-1].documents_total == 2
    assert {each.current for each in seen} == {(docs / name).as_posix() for name in ("a.md", "b.txt")}
    assert index.add([docs / "a.md", str(docs / "b.txt")]).unchanged == 2


def test_rows_that_vanish_from_a_file_go(index, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,year\nkettles are nice,2020\nbridges are long,2021\nrates rise,2022\n")
    options = LoadOptions(text_field="text")
    assert index.add(file, options=options).added == 3
    assert index.search("nice kettles", 1, where={"year": "2020"})[0].passage.document_id.endswith("#1")
    file.write_text("text,year\nkettles are nice,2020\nwhales sing,2021\n")
    report = index.add(file, options=options)
    assert (report.changed, report.unchanged, report.removed) == (1, 1, 1)
    assert sorted(Path(each.id).name for each in index.documents()) == ["rows.csv#1", "rows.csv#2"]
    file.write_text("text,year\n")
    assert index.add(file, options=options).removed == 2


def test_prune_drops_what_vanished_below_the_paths_given_and_nothing_else(index, tmp_path):
    docs = write(tmp_path / "docs", a__txt=KETTLE, b__txt=RATES)
    beside = write(tmp_path / "docs2", c__txt=BRIDGE)
    index.add([docs, beside])
    index.add(Document("mine", "A document of the caller's own."))
    (docs / "b.txt").unlink()
    (beside / "c.txt").unlink()
    assert index.add(docs).removed == 0
    report = index.add(docs, prune=True)
    assert (report.removed, report.unchanged) == (1, 1)
    left = {Path(each.id).name for each in index.documents()}
    assert left == {"a.txt", "c.txt", "mine"}
    assert index.add([docs, beside / "c.txt"], prune=True).removed == 1
    with pytest.raises(InputError, match="prune"):
        index.add(three(), prune=True)


def test_prune_keeps_what_is_below_a_folder_that_cannot_be_listed_now(embedder):
    with without_privileges() as folder:
        docs = write(folder / "docs", a__txt=KETTLE)
        locked = write(docs / "locked", b__txt=RATES, c__txt=BRIDGE)
        with Index.open(folder / "index", embedder=embedder) as index:
            index.add(docs)
            (locked / "c.txt").unlink()
            locked.chmod(0)
            report = index.add(docs, prune=True)
            assert (report.removed, [Path(each.path).name for each in report.skipped]) == (0, ["locked"])
            locked.chmod(0o755)
            report = index.add(docs, prune=True)
            assert (report.removed, report.added, report.unchanged) == (1, 0, 2)


@pytest.mark.parametrize("closed", ["", "index.db"])
def test_an_index_that_may_not_be_read_is_not_called_missing(embedder, closed):
    with without_privileges() as folder:
        docs = write(folder / "docs", a__txt=KETTLE)
        with Index.open(folder / "index", embedder=embedder) as index:
            index.add(docs)
        (folder / "index" / closed).chmod(0)
        for create in (True, False):
            with pytest.raises(StorageError, match=r"index cannot be read: .*Check the rights"):
                Index.open(folder / "index", embedder=embedder, create=create)
        (folder / "index" / closed).chmod(0o755)
        with Index.open(folder / "index", embedder=embedder) as index:
            assert len(index) == 1


def test_prune_keeps_a_file_that_is_there_but_cannot_be_read_now(index, tmp_path):
    docs = write(tmp_path / "docs", a__txt=KETTLE)
    index.add(docs)
    (docs / "a.txt").write_bytes(bytes(range(256)) * 10)
    report = index.add(docs, prune=True)
    assert (report.removed, len(report.skipped)) == (0, 1)
    assert index.search("kettle", 1)[0].passage.text == KETTLE
    (docs / "a.txt").write_text("")
    assert index.add(docs).removed == 1, "a file that holds nothing any more has no documents"


def test_a_missing_path_is_skipped_with_the_reason(index, tmp_path):
    report = index.add([tmp_path / "nowhere.txt"])
    assert report.added == 0
    assert report.skipped[0].error


# Filters


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"kind": "news"}, {"rates", "bridge"}),
        ({"kind": "news", "year": "2021"}, {"rates"}),
        ({"year": "2020"}, {"kettle"}),
        ({"year": 2020}, {"kettle"}),
        ({"year": 2021}, {"rates"}),
        ({"year": "1931"}, {"bridge"}),
        ({"year": 1931}, {"bridge"}),
        ({"new": True}, {"kettle"}),
        ({"new": "true"}, {"kettle"}),
        ({"new": "false"}, set()),
        ({"id": "kettle"}, {"kettle"}),
        ({"source": "rates"}, {"rates"}),
        ({"kind": "' OR 1=1 --"}, set()),
        ({"kind": "\ud800"}, set()),
        ({"year": "1e999"}, set()),
        ({"year": "nan"}, set()),
        ({"year": str(2**70)}, set()),
        ({}, {"kettle", "rates", "bridge"}),
    ],
)
def test_where(both, where, expected):
    both.add(three())
    for stage1 in ("dense", "lexical", "hybrid"):
        hits = both.search("the kettle rates Spree", 5, stage1=stage1, where=where)
        assert {hit.passage.document_id for hit in hits} == expected


def test_where_shows_the_place_that_passes(index):
    index.add([Document("a", KETTLE, {"kind": "x"}), Document("b", KETTLE, {"kind": "y"})])
    (hit,) = index.search("kettle", 3, where={"kind": "y"})
    assert hit.passage.document_id == "b"
    assert hit.also_in == ()


def test_where_with_a_name_that_needs_quoting(index):
    name = 'a "quoted" $.key\'; DROP TABLE texts'
    index.add([Document("a", KETTLE, {name: "x"}), Document("b", RATES, {"kind": "y"})])
    assert [hit.passage.document_id for hit in index.search("kettle", 3, where={name: "x"})] == ["a"]


def test_where_with_an_unknown_name_tells_the_names_there_are(index):
    index.add(three())
    with pytest.raises(InputError, match=r"'colour'.*id, kind, new, source, year"):
        index.search("kettle", 3, where={"colour": "red"})
    for where in ({"kind": None}, {"kind": ["news"]}, {3: "x"}, "kind=news"):
        with pytest.raises(InputError, match="where"):
            index.search("kettle", 3, where=where)


def test_where_takes_a_relative_path_as_source(index, tmp_path, monkeypatch):
    docs = write(tmp_path / "docs", a__txt=KETTLE, b__txt=RATES)
    index.add(docs)
    monkeypatch.chdir(tmp_path)
    (hit,) = index.search("kettle", 3, where={"source": "docs/b.txt"})
    assert hit.passage.text == RATES


# Words


@pytest.mark.parametrize(
    "query",
    [
        *('"', "kettle AND", "NEAR(", "kett*", "text:kettle", "-kettle", "(", "kettle OR", "^kettle", "a'b"),
        *("{text}: x", "+", "?!", "kettle\x00steel", 'a"b" OR "', "'; DROP TABLE texts"),
    ],
)
def test_no_query_is_taken_for_syntax(index, query):
    index.add(three())
    for stage1 in ("dense", "lexical", "hybrid"):
        for hit in index.search(query, 3, stage1=stage1):
            assert hit.passage.text


def test_words_match_stems_case_and_accents(index):
    index.add(three())
    for query in ("KETTLES", "hold", "brucke", "BRÜCKE", "Bru\u0308cke", "bridge; kettle!"):
        assert index.search(query, 1, stage1="lexical"), query
    assert index.search("?! ... --", 3, stage1="lexical") == []
    assert index.search("zebra", 3, stage1="lexical") == []


def test_a_very_long_query_is_searched(index):
    index.add(three())
    query = " ".join(f"word{n}" for n in range(5000))
    assert index.search("kettle " + query, 1, stage1="lexical")[0].passage.document_id == "kettle"


# Refusals


@pytest.mark.parametrize("query", ["", " ", "\n\t", "\x00", None, 3, b"kettle", ["kettle"]])
def test_what_is_no_query_is_refused(index, query):
    for call in (index.search, index.embed_query):
        with pytest.raises(QueryError):
            call(query)


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True])
def test_what_is_no_count_is_refused(index, k):
    with pytest.raises(InputError, match="k must be"):
        index.search("kettle", k)


def test_an_unknown_way_to_search_is_refused(index):
    with pytest.raises(InputError, match="dense, lexical, hybrid"):
        index.search("kettle", stage1="magic")


@pytest.mark.parametrize(
    "vector",
    [np.full(64, np.nan), np.zeros(64), np.ones(64), np.ones(3) / 3**0.5, np.ones((1, 64)) / 8, "vector"],
)
def test_what_is_no_vector_is_refused(index, vector):
    index.add(three())
    with pytest.raises(InputError):
        index.candidates("kettle", vector, 3, "dense", None)


def test_an_embedder_that_gives_nan_changes_nothing(tmp_path):
    class Broken(HashEmbedder):
        def embed_passages(self, texts):
            return np.full((len(texts), self.dimension), np.nan, dtype=np.float32)

    with Index.open(tmp_path / "index", embedder=Broken()) as index:
        with pytest.raises(InputError, match="finite"):
            index.add(three())
        assert len(index) == 0


@pytest.mark.parametrize(
    "document",
    [
        Document("", "text"),
        Document("a\x00b", "text"),
        Document("a\ud800", "text"),
        Document("a", "text", {"k": float("nan")}),
        Document("a", "text", {"k": [1]}),  # type: ignore[dict-item]
        Document("a", "text", {"": 1}),
        Document("a", "text", {3: 1}),  # type: ignore[dict-item]
        Document("a", "text", page_starts=(3, 1)),
        Document("a", "text", page_starts=(0, 99)),
        Document("a", None),  # type: ignore[arg-type]
        "no document",
        17,
    ],
)
def test_what_cannot_be_stored_is_refused(index, document):
    with pytest.raises(InputError):
        index.add([Document("first", KETTLE), document])
    check_consistent(index.path)


@pytest.mark.parametrize(
    "given", [17, None, [17], [Document("a", "b"), "path"], ["path", Document("a", "b")]]
)
def test_what_is_neither_path_nor_document_is_refused(index, given):
    with pytest.raises(InputError):
        index.add(given)


def test_one_id_twice_in_a_call_is_refused(index):
    with pytest.raises(InputError, match="'a' is given twice"):
        index.add([Document("a", KETTLE), Document("a", RATES)])


def test_nul_and_lone_surrogates_are_replaced_one_for_one(index):
    text = "kettle\x00steel \ud83d alone, \U0001f388 balloon"
    index.add(Document("odd", text, {"k\x00": "v\ud800"}, source="s\udfff"))
    document = index.document("odd")
    assert document.text == "kettle\ufffdsteel \ufffd alone, \U0001f388 balloon"
    assert document.metadata == {"k\ufffd": "v\ufffd"}
    for query in ("steel", "kettle \ud83d", "balloon\x00"):
        for stage1 in ("dense", "lexical"):
            hit = index.search(query, 1, stage1=stage1)[0]
            assert document.text[hit.passage.start : hit.passage.end] == hit.passage.text
    assert index.add(Document("odd", text, {"k\x00": "v\ud800"}, source="s\udfff")).unchanged == 1
    check_consistent(index.path)


def test_a_splitter_that_lies_about_offsets_is_refused(tmp_path, embedder):
    class Lying:
        settings = {"name": "lying"}  # noqa: RUF012

        def split(self, document):
            return [Passage("0" * 16, document.id, "other text", 0, 10)]

    with (
        Index.open(tmp_path / "index", embedder=embedder, splitter=Lying()) as index,
        pytest.raises(InputError, match="splitter"),
    ):
        index.add(three())


# Opening


def test_a_missing_index_names_the_folder_and_the_command(tmp_path):
    with pytest.raises(IndexMissingError, match=rf"secondpass index .* --index {tmp_path / 'x'}"):
        Index.open(tmp_path / "x", create=False)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path, embedder, create):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(IndexMissingError):
        Index.open(tmp_path, embedder=embedder, create=create)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("create", [True, False])
def test_a_file_in_place_of_the_folder(tmp_path, embedder, create):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((IndexMissingError, IndexWriteError) if create else IndexMissingError):
            Index.open(place, embedder=embedder, create=create)


@pytest.mark.parametrize("path", ["", None, 3, b"", "a\x00b"])
def test_what_is_no_path_is_refused(path, embedder):
    with pytest.raises(InputError):
        Index.open(path, embedder=embedder)


@pytest.mark.parametrize("given", [{"embedder": "MiniLM"}, {"store": "redis"}, {"splitter": 500}])
def test_what_is_no_part_is_refused(tmp_path, given):
    with pytest.raises(InputError):
        Index.open(tmp_path / "x", **{"embedder": HashEmbedder(), **given})
    assert not (tmp_path / "x").exists()


def test_an_index_remembers_what_it_was_built_with(tmp_path, embedder):
    splitter = RecursiveSplitter(size=80, overlap=10)
    with Index.open(tmp_path / "x", embedder=embedder, splitter=splitter) as index:
        index.add(Document("a", "some words " * 40))
        count = len(index)
    with Index.open(tmp_path / "x", embedder=HashEmbedder(64)) as index:
        assert index.status().splitter["size"] == 80
        index.add(Document("b", "other words " * 40))
        assert len(index) > count + 4


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"embedder": HashEmbedder(32)}, "hashed-words-64.*hashed-words-32"),
        ({"splitter": RecursiveSplitter(size=300)}, "size 500.*size 300"),
        ({"store": "chroma"}, "sqlite.*chroma"),
    ],
)
def test_other_parts_than_it_was_built_with_are_a_mismatch(tmp_path, embedder, given, named):
    Index.open(tmp_path / "x", embedder=embedder).close()
    with pytest.raises(IndexMismatchError, match=named):
        Index.open(tmp_path / "x", **{"embedder": embedder, **given})


def test_an_embedder_that_cannot_be_made_by_name_must_be_given(tmp_path, embedder):
    with Index.open(tmp_path / "x", embedder=embedder) as index:
        index.add(three())
    with Index.open(tmp_path / "x") as index:
        assert index.search("kettle", 1, stage1="lexical")[0].passage.document_id == "kettle"
        with pytest.raises(IndexMismatchError, match="embedder="):
            index.search("kettle")
        with pytest.raises(IndexMismatchError, match="embedder="):
            index.add(Document("d", "text"))


def test_a_newer_format_says_upgrade(tmp_path, embedder):
    Index.open(tmp_path / "x", embedder=embedder).close()
    connection = sqlite3.connect(tmp_path / "x" / "index.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IndexMismatchError, match=r"format 99.*upgrade"):
        Index.open(tmp_path / "x", embedder=embedder)


def test_a_deleted_database_leaves_no_ghost_in_the_new_one(tmp_path, embedder):
    """SQLite would replay a log that was left behind."""
    index = Index.open(tmp_path / "x", embedder=embedder)
    index.add(three())
    log = (tmp_path / "x" / "index.db-wal").read_bytes()
    assert log
    index.close()
    (tmp_path / "x" / "index.db").unlink()
    (tmp_path / "x" / "index.db-wal").write_bytes(log)
    with Index.open(tmp_path / "x", embedder=embedder) as index:
        assert len(index) == 0
        assert index.search("kettle") == []


def test_a_backup_put_in_place_is_searched_as_it_is(tmp_path, embedder):
    folder = tmp_path / "x"
    with Index.open(folder, embedder=embedder) as index:
        index.add(three()[:1])
    backup = (folder / "index.db").read_bytes()
    with Index.open(folder, embedder=embedder) as index:
        index.add(three()[1:2])
        assert len(index.search("rates", 5)) == 2
    (folder / "index.db").write_bytes(backup)
    with Index.open(folder, embedder=embedder) as index:
        assert [hit.passage.document_id for hit in index.search("rates", 5)] == ["kettle"]
        index.add(three()[2:])
        assert {hit.passage.document_id for hit in index.search("Spree", 5)} == {"kettle", "bridge"}


def test_reading_loads_no_optional_package(tmp_path, embedder):
    with Index.open(tmp_path / "x", embedder=embedder) as index:
        index.add(three())
    code = (
        "import sys, json\n"
        "from secondpass import Index\n"
        "from secondpass.testing import HashEmbedder\n"
        f"index = Index.open({str(tmp_path / 'x')!r}, embedder=HashEmbedder(64), create=False)\n"
        "index.search('kettle')\n"
        "print(json.dumps([n for n in ('usearch', 'chromadb', 'torch', 'pytest') if n in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# Chroma: what was committed and not delivered


def test_what_chroma_did_not_get_is_sent_later(tmp_path, embedder, monkeypatch):
    pytest.importorskip("chromadb")
    from secondpass.errors import StorageError
    from secondpass.stores import ChromaStore

    folder = tmp_path / "x"
    with Index.open(folder, embedder=embedder, store="chroma") as index:
        index.add(three()[:2])
    (folder / "chroma").rename(folder / "away")
    (folder / "chroma").write_text("a file where Chroma has its folder")
    with Index.open(folder, embedder=embedder) as index:
        with pytest.raises(StorageError, match="Chroma"):
            index.add(three()[2:])
        assert index.status().pending == 0, "the outbox is emptied before anything new is taken"
    (folder / "chroma").unlink()
    (folder / "away").rename(folder / "chroma")
    with Index.open(folder, embedder=embedder) as index:
        write_pending(folder, embedder)
        assert index.status().pending == 2
        assert [hit.passage.document_id for hit in index.search("kettle", 5)] == ["rates"], (
            "deleted here already"
        )
    with Index.open(folder, embedder=embedder) as index:
        assert index.status().pending == 0
        assert {hit.passage.document_id for hit in index.search("Spree", 5)} == {"rates", "bridge"}
        assert ChromaStore(folder / "chroma", 64).ids() == [2, 3]


def write_pending(folder: Path, embedder: HashEmbedder) -> None:
    """Commit what a run commits that is killed before Chroma is told: bridge added, kettle removed."""
    from secondpass.index.database import connect, transaction
    from secondpass.index.door import prepared, text_hash
    from secondpass.index.outbox import Outbox
    from secondpass.index.writer import Pending, delete_documents, write_batch

    connection = connect(folder / "index.db")
    outbox = Outbox(connection, 64)
    ready = prepared(three()[2])
    passages = RecursiveSplitter().split(ready.document)
    digests = [text_hash(passage.text) for passage in passages]
    vectors = embedder.embed_queries([passage.text for passage in passages])
    with transaction(connection):
        write_batch(connection, outbox, [Pending(ready, None, passages, digests)], [(digests, vectors)])
        delete_documents(connection, outbox, ["kettle"])
    connection.close()


# Threads


def test_one_index_serves_many_threads(tmp_path):
    index = Index.open(tmp_path / "index", embedder=HashEmbedder(1024))
    index.add([Document(f"d{n}", f"word{n} name{n} term{n}") for n in range(50)])
    failures: list[BaseException] = []

    def search(start: int) -> None:
        try:
            for n in range(40):
                wanted = (start * 7 + n) % 50
                assert (
                    index.search(f"word{wanted} name{wanted} term{wanted}", 1)[0].passage.document_id
                    == f"d{wanted}"
                )
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    def write_more(start: int) -> None:
        try:
            for n in range(5):
                index.add(Document(f"more{start}-{n}", f"more{start}x{n} " * 20))
                index.remove(f"more{start}-{n - 1}")
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    threads = [threading.Thread(target=search, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=write_more, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.status().documents == 52
    check_consistent(index.path)
    index.close()


def test_the_passages_of_a_document_come_in_order(tmp_path: Path) -> None:
    text = "One fish swims. " * 60
    with Index.open(tmp_path / "i", embedder=HashEmbedder()) as index:
        index.add([Document("a", text), Document("b", "Two birds.")])
        found = index.passages("a")
        assert len(found) > 1
        assert [each.start for each in found] == sorted(each.start for each in found)
        assert all(text[each.start : each.end] == each.text for each in found)
        assert found[0] == index.passage(found[0].id)
        assert index.passages("c") == []
