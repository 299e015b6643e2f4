from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondpass import Document, Index
from secondpass.errors import InputError, LoadError, QueryError, StorageError
from secondpass.evaluation.judgments import read_judged
from secondpass.judging.asking import Asked, from_lines, from_text
from secondpass.judging.headings import first_sentences, plain, sections, title
from secondpass.judging.pooling import pool
from secondpass.judging.saving import LOG, QRELS, QUERIES, Marks
from secondpass.judging.session import Session
from secondpass.judging.synthetic import make_queries
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder
from secondpass.types import Passage

FILLER = "It takes a while and costs little, and nobody here has ever complained about any of it so far. "


def headings(text: str, extension: str = ".md") -> list[str]:
    return [each.heading for each in sections(Document("d", text, {"extension": extension}))]


# headings


def test_markdown_headings_with_their_bodies() -> None:
    text = (
        "# Return of the *deposit*\n\nWhen?\n\n## 2.1 By [post](x.html) #\nSlowly.\n\n# `Late` books\nPay.\n"
    )
    found = sections(Document("d", text, {"extension": ".md"}))
    assert [each.heading for each in found] == ["Return of the deposit", "By post", "Late books"]
    assert [text[each.body : each.end] for each in found] == [
        "\nWhen?\n\n## 2.1 By [post](x.html) #\nSlowly.\n\n",
        "Slowly.\n\n",
        "Pay.\n",
    ]
    assert [each.level for each in found] == [1, 2, 1]
    assert [text[each.start] for each in found] == ["#"] * 3


def test_a_comment_in_fenced_code_is_no_heading() -> None:
    assert headings("# Real one\n```sh\n# install it\n```\n~~~\n# nor this\n~~~\n# Another one\n") == [
        "Real one",
        "Another one",
    ]


def test_restructuredtext_headings() -> None:
    text = (
        "=====\nBoats\n=====\n\nThe ferry\n---------\n\nGoes.\n\n"
        "Its :pep:`8107` times\n---------------------\n\n"
        "Seven.\n\n    Not one\n    -------\n\nA line of text\nand another\n-----------\n\n# no comment\n"
    )
    found = sections(Document("d", text, {"extension": ".rst"}))
    assert [(each.heading, each.level) for each in found] == [
        ("Boats", 1),
        ("The ferry", 2),
        ("Its 8107 times", 2),
    ]
    assert found[0].end == len(text)


def test_lines_that_stand_alone_where_nothing_is_marked_up() -> None:
    text = (
        "Opening of the hives\n\nThey are opened in April.\n\nnot a heading\n\nA sentence that ends.\n\n"
        "Who feeds them?\n\nThe keeper does."
    )
    assert headings(text, ".txt") == ["Opening of the hives", "Who feeds them?"]


def test_no_heading_in_prose_or_nothing() -> None:
    assert headings("Just a line of text that goes on.\nAnd on.\n") == []
    assert headings("") == []
    assert headings("\n\n---\n***\n===\n") == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3. Return of books", "Return of books"),
        ("Chapter 3: Return of books", "Return of books"),
        ("IV. Return of books", "Return of books"),
        ("A) Return of books", "Return of books"),
        ("**Return** of __books__", "Return of books"),
        ("Return of books {#return}", "Return of books"),
        ("Return of books ¶", "Return of books"),
        (":ref:`Return of books <return>`", "Return of books"),
        ("Step 2 - Return of books", "Return of books"),
        ("3.1.2 Return of books", "Return of books"),
        ("In 1984 it rained", "In 1984 it rained"),
        ("7 ways to return books", "7 ways to return books"),
        ("Part of the books", "Part of the books"),
    ],
)
def test_headings_are_read_without_markup_and_number(written: str, read: str) -> None:
    assert plain(written) == read


def test_titles_come_from_metadata_or_a_line_at_the_head() -> None:
    assert title(Document("d", "text", {"title": "The  <b> village"})) == "The <b> village"
    assert title(Document("d", '---\ntitle: "Ferry times"\n---\n')) == "Ferry times"
    assert title(Document("d", "PEP: 13\nTitle: Language Governance\n")) == "Language Governance"
    assert title(Document("d", "text\n" * 30 + "Title: too late")) == ""


def test_first_sentences_of_paragraphs_of_prose() -> None:
    text = "The ferry leaves at 7.30 in the\nmorning. It is late.\n\n- a list\n\nBooks are lent!\n\nno end"
    found = first_sentences(Document("d", text))
    assert [each.heading for each in found] == ["The ferry leaves at 7.30 in the morning", "Books are lent"]
    assert text[found[1].body : found[1].end] == "Books are lent!"


# queries from an index


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """25 documents with common headings, and two telling ones of their own each."""
    names = [f"{first}{last}" for first in ("amber", "birch", "coral", "dune", "ember") for last in
             ("field", "gate", "haven", "marsh", "ridge")]  # fmt: skip
    documents = [
        Document(
            name,
            f"# Introduction\n\n{FILLER * 2}\n\n## Boats of {name} pier\n\n{FILLER * 3}\n\n"
            f"## The village of today\n\n{FILLER * 2}\n\n## Bees above {name} meadow\n\n{FILLER * 3}\n\n"
            f"## See also\n\n{FILLER * 2}\n\n## Empty shelves of {name}\n\nNone.\n",
            {"extension": ".md"},
        )
        for name in names
    ]
    folder = tmp_path_factory.mktemp("village") / "i"
    with Index.open(folder, embedder=HashEmbedder(), splitter=RecursiveSplitter(150, 20)) as index:
        index.add(documents)
        yield index


def test_only_telling_headings_become_queries(village: Index) -> None:
    unit, made = make_queries(village, 50)
    assert unit == "document"
    assert len(made) == 50
    assert {each.query.split()[0] for each in made} == {"Boats", "Bees"}
    assert {each.kind for each in made} == {"heading"}
    assert all(each.relevant == (each.document_id,) for each in made)
    assert all(each.document_id in each.query for each in made)
    assert all(each.verbatim for each in made)
    assert [each.id for each in made[:2]] == ["s001", "s002"]


def test_queries_are_spread_over_the_documents(village: Index) -> None:
    _, made = make_queries(village, 25)
    assert len({each.document_id for each in made}) == 25


def test_the_seed_decides(village: Index) -> None:
    assert make_queries(village, 10, seed=3) == make_queries(village, 10, seed=3)
    assert make_queries(village, 10, seed=3) != make_queries(village, 10, seed=4)


def test_passages_of_the_section_are_judged_where_asked(village: Index) -> None:
    unit, made = make_queries(village, 10, unit="passage")
    assert unit == "passage"
    for each in made:
        document = village.document(each.document_id)
        start = document.text.index(each.query)
        end = document.text.index("\n#", start)
        for key in each.relevant:
            passage = village.passage(key)
            shared = min(end, passage.end) - max(start, passage.start)
            assert shared >= 0.5 * min(passage.end - passage.start, end - start)
    assert any(len(each.relevant) > 1 for each in made)


def test_few_documents_are_judged_by_passage(tmp_path: Path) -> None:
    with Index.open(tmp_path / "i", embedder=HashEmbedder()) as index:
        index.add([Document("a", f"# Ferry timetable for autumn\n\n{FILLER * 3}", {"extension": ".md"})])
        unit, made = make_queries(index, 1)
    assert (unit, [each.query for each in made]) == ("passage", ["Ferry timetable for autumn"])


def test_first_sentences_fill_up(tmp_path: Path) -> None:
    with Index.open(tmp_path / "i", embedder=HashEmbedder()) as index:
        index.add([Document("a", f"The old ferry crosses the lake twice every morning. {FILLER}")])
        _, made = make_queries(index)
    assert [(each.query, each.kind) for each in made] == [
        ("The old ferry crosses the lake twice every morning", "sentence")
    ]


def test_a_heading_of_two_documents_asks_for_no_place(tmp_path: Path) -> None:
    text = f"# Ferry timetable for autumn\n\n{FILLER * 3}"
    with Index.open(tmp_path / "i", embedder=HashEmbedder()) as index:
        index.add([Document(key, text, {"extension": ".md"}) for key in "ab"])
        with pytest.raises(InputError, match="none of the 2 documents has a heading, a title or a sentence"):
            make_queries(index)


def test_an_empty_index_and_a_wrong_number_are_refused(tmp_path: Path, village: Index) -> None:
    with (
        Index.open(tmp_path / "i", embedder=HashEmbedder()) as index,
        pytest.raises(InputError, match="the index is empty"),
    ):
        make_queries(index)
    with pytest.raises(InputError, match="n must be at least 1"):
        make_queries(village, 0)


# asking


def test_queries_of_a_file_as_lines_and_as_json() -> None:
    lines = [
        "When does the ferry leave?\n",
        "\n",
        '{"id": "s001", "query": "Ferry times", "synthetic": true}\n',
        '{"_id": 7, "text": "Late  books"}\n',
        '{"query": "When does the ferry leave?"}\n',
    ]
    first = from_text("When does the ferry leave?")
    assert from_lines(lines, "f") == [first, Asked("s001", "Ferry times", True), Asked("7", "Late books")]
    assert first.id == from_text(" When does the\nferry leave? ").id
    assert first.id != from_text("When does it leave?").id


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{broken"], "f:1: this is no JSON"),
        (["x", '{"id": "a"}'], "f:2: there is no query"),
        (['{"id": "a b", "query": "q"}'], "f:1: the id 'a b' must be text without spaces"),
        (
            ['{"id": "a", "query": "q"}', '{"id": "a", "query": "r"}'],
            "f:2: the id 'a' stands for two queries",
        ),
        (["", "  "], "there is no query in f"),
    ],
)
def test_bad_lines_are_named(lines: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_lines(lines, "f")
    with pytest.raises(QueryError, match="empty"):
        from_text("  ")


# pooling


class Backwards:
    name = "backwards"

    def score(self, query, passages):  # type: ignore[no-untyped-def]
        import numpy as np

        return np.array([-len(text) for text in passages], dtype=np.float32)


def test_the_pool_holds_the_top_of_each_setting_in_an_order_of_its_own(village: Index) -> None:
    query = "Boats of ambergate pier"
    found = [each.id for each in pool(village, query, [Backwards()], depth=3)]
    for stage1 in ("dense", "lexical", "hybrid"):
        top = [hit.passage.id for hit in village.search(query, 3, stage1=stage1)]
        assert set(top) <= set(found)
    assert len(found) == len(set(found)) <= 3 * 6
    assert set(found) > {each.id for each in pool(village, query, depth=3)}
    assert found == [each.id for each in pool(village, query, [Backwards()], depth=3)]
    others = [
        [each.id for each in pool(village, query, [Backwards()], depth=3, seed=seed)] for seed in range(1, 5)
    ]
    assert all(set(other) == set(found) for other in others)
    assert any(other != found for other in others)


# saving


def passage(key: str) -> Passage:
    return Passage(key, f"doc of {key}", "text", 0, 4)


ONE, TWO = Asked("q1", "Where is the größte Brücke? 橋"), Asked("s2", "Second", synthetic=True)


def test_marks_become_queries_and_qrels_that_are_read_back(tmp_path: Path) -> None:
    with Marks(tmp_path / "new" / "j") as marks:
        marks.add(ONE, passage("a" * 16), "yes")
        marks.add(ONE, passage("b" * 16), "no")
        marks.add(TWO, passage("a" * 16), "skip")
        folder = marks.folder
    assert (folder / QRELS).read_text() == f"q1 0 {'a' * 16} 1\nq1 0 {'b' * 16} 0\n"
    assert [json.loads(line) for line in (folder / QUERIES).read_text().splitlines()] == [
        {"_id": "q1", "text": ONE.query, "synthetic": False}
    ]
    judged = read_judged(folder)
    assert judged.qrels == {"q1": {"a" * 16: 1, "b" * 16: 0}}
    assert (judged.queries, judged.synthetic) == ({"q1": ONE.query}, False)
    with Marks(folder) as marks:
        marks.add(TWO, passage("a" * 16), "yes")
    assert read_judged(folder).synthetic


def test_a_later_mark_counts_and_undo_brings_the_earlier_back(tmp_path: Path) -> None:
    with Marks(tmp_path) as marks:
        marks.add(ONE, passage("a"), "no")
        marks.add(ONE, passage("a"), "yes")
        assert (tmp_path / QRELS).read_text() == "q1 0 a 1\n"
        undone = marks.undo()
        assert undone is not None
        assert (undone.passage_id, undone.grade) == ("a", "yes")
        assert (tmp_path / QRELS).read_text() == "q1 0 a 0\n"
    with Marks(tmp_path) as marks:
        assert [mark.grade for mark in marks.marks] == ["no"]
        marks.undo()
        assert marks.undo() is None
        assert (tmp_path / QRELS).read_text() == ""


def test_a_line_that_was_cut_off_is_dropped_and_the_files_are_made_again(tmp_path: Path) -> None:
    with Marks(tmp_path) as marks:
        marks.add(ONE, passage("a"), "yes")
        marks.add(ONE, passage("b"), "yes")
    whole = (tmp_path / LOG).read_bytes()
    lines = whole.splitlines(keepends=True)
    for length in (len(lines[0]), len(lines[0]) + 1, len(whole) - 1):
        (tmp_path / LOG).write_bytes(whole[:length])
        (tmp_path / QRELS).unlink()
        with Marks(tmp_path) as marks:
            assert [mark.passage_id for mark in marks.marks] == ["a"]
            assert (tmp_path / QRELS).read_text() == "q1 0 a 1\n"
            marks.add(ONE, passage("c"), "no")
        with Marks(tmp_path) as marks:
            assert [mark.passage_id for mark in marks.marks] == ["a", "c"]


def test_one_at_a_time(tmp_path: Path) -> None:
    with Marks(tmp_path), pytest.raises(StorageError, match="somebody else is marking in"):
        Marks(tmp_path)
    Marks(tmp_path).close()


def test_a_foreign_log_and_a_second_query_of_the_same_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"id": "q1"}\n')
    with pytest.raises(LoadError, match=r"marks\.jsonl: line 1 is no mark"):
        Marks(tmp_path)
    (tmp_path / LOG).unlink()
    with Marks(tmp_path) as marks:
        marks.add(ONE, passage("a"), "yes")
        with pytest.raises(InputError, match="the query id 'q1' stands for 'Where is"):
            marks.add(Asked("q1", "another"), passage("a"), "yes")
        with pytest.raises(InputError, match="the query id 'q1' stands for 'Where is"):
            marks.keep_pool(Asked("q1", "another"), "how", ["a"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write to .*file"):
        Marks(tmp_path / "file" / "below")


MARKER = """
import sys
from pathlib import Path
from secondpass.judging.asking import Asked
from secondpass.judging.saving import Marks
from secondpass.types import Passage

with Marks(Path(sys.argv[1])) as marks:
    for number in range(100_000):
        marks.add(Asked(f"q{number % 7}", "text"), Passage(f"p{number}", "d", "t", 0, 1), "yes")
        print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    last = -1
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", MARKER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(40):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        last = int(rest[-1]) if rest else last
        judged = read_judged(tmp_path)  # eval can read it as the kill left it
        assert sum(map(len, judged.qrels.values())) >= last
        with Marks(tmp_path) as marks:
            kept = {mark.passage_id for mark in marks.marks}
        assert {f"p{number}" for number in range(last + 1)} <= kept
    assert last >= 39


# the loop


class Shelf:
    """Passages by query, and how often they were asked for."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.gone: set[str] = set()

    def find(self, asked: Asked) -> list[Passage]:
        self.found.append(asked.id)
        return [passage(f"{asked.id}{letter}") for letter in "abc"]

    def passage(self, key: str) -> Passage:
        if key in self.gone:
            raise InputError("it is gone")
        return passage(key)

    def session(self, marks: Marks, how: str = "how") -> Session:
        return Session([ONE, TWO], self.find, how, marks, self.passage)


def seen(session: Session) -> str:
    question = session.question()
    return "" if question is None else question.passage.id


def test_a_session_goes_through_all_and_counts(tmp_path: Path) -> None:
    shelf, shown = Shelf(), []
    with Marks(tmp_path) as marks:
        session = shelf.session(marks)
        while (question := session.question()) is not None:
            shown.append((question.passage.id, question.number, question.place, question.among))
            session.mark(question, "yes" if question.place == 1 else "no" if question.place == 2 else "skip")
        tally = session.tally()
    assert shown == [(f"{q}{p}", n, i, 3) for n, q in ((1, "q1"), (2, "s2")) for i, p in enumerate("abc", 1)]
    assert (tally.queries, tally.of, tally.relevant, tally.other, tally.skipped) == (2, 2, 2, 2, 2)
    assert shelf.found == ["q1", "s2"]


def test_a_session_goes_on_where_it_stopped_without_searching_again(tmp_path: Path) -> None:
    shelf = Shelf()
    for expected in ("q1a", "q1b", "q1c", "s2a"):
        with Marks(tmp_path) as marks:
            session = shelf.session(marks)
            assert seen(session) == expected
            question = session.question()
            assert question is not None
            session.mark(question, "skip")
    assert shelf.found == ["q1", "s2"]
    with Marks(tmp_path) as marks:  # pooled another way: what is marked stays marked
        assert seen(shelf.session(marks, "otherwise")) == "s2b"
    assert shelf.found == ["q1", "s2", "q1", "s2"]


def test_undo_asks_again_across_queries_and_sessions(tmp_path: Path) -> None:
    shelf = Shelf()
    with Marks(tmp_path) as marks:
        session = shelf.session(marks)
        assert not session.undo()
        for _ in range(4):
            question = session.question()
            assert question is not None
            session.mark(question, "yes")
    with Marks(tmp_path) as marks:
        session = shelf.session(marks)
        assert seen(session) == "s2b"
        assert session.undo()
        assert seen(session) == "s2a"
        assert session.undo()
        assert seen(session) == "q1c"
        assert session.tally().relevant == 2
        elsewhere = Session([TWO], shelf.find, "how", marks, shelf.passage)
        assert not elsewhere.undo()  # the last mark is of a query that is not being judged


def test_a_passage_that_is_gone_from_the_index_is_not_asked(tmp_path: Path) -> None:
    shelf = Shelf()
    with Marks(tmp_path) as marks:
        assert seen(shelf.session(marks)) == "q1a"
        shelf.gone = {"q1a", "q1b"}
        session = shelf.session(marks)
        assert seen(session) == "q1c"
        question = session.question()
        assert question is not None
        session.mark(question, "yes")
        assert session.tally().queries == 1
