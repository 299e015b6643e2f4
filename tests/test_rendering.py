"""What the command line makes of passages, places and figures before it prints them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from secondpass.cli import passages, render, side_by_side, terminal
from secondpass.cli.passages import QueryWords
from secondpass.comparison import Agreement, Comparison, PassSummary, SecondPass, Summary
from secondpass.types import Hit, Passage, Reading, SearchResult, Timings


def console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)


def printed(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def block(text: str, query: str = "q", width: int = 40) -> list[str]:
    return passages.block(console(), text, QueryWords(query), width).plain.split("\n")


def snippet(text: str, query: str, width: int = 20, lines: int = 2) -> list[str]:
    return passages.snippet(console(), text, QueryWords(query), width, lines).plain.split("\n")


def marked(text: str, query: str) -> list[str]:
    shown = QueryWords(query).mark(text)
    return [shown.plain[span.start : span.end] for span in shown.spans]


# Text


def test_prose_is_filled_to_the_width() -> None:
    assert block("one two three\nfour five six seven eight nine\nten") == [
        "one two three four five six seven eight",
        "nine ten",
    ]


def test_paragraphs_stay_apart_and_blank_lines_do_not_pile_up() -> None:
    assert block("one\n\n\n  \n\ntwo\r\n\r\nthree") == ["one", "", "two", "", "three"]


def test_code_and_lists_keep_their_lines_and_their_shape() -> None:
    assert block("def f(x):\n    if x:\n        return 1\n    return 2") == [
        "def f(x):",
        "    if x:",
        "        return 1",
        "    return 2",
    ]
    assert block("Args:\n            x: a number\n            y: none") == [
        "Args:",
        "    x: a number",
        "    y: none",
    ]
    assert block("- one\n- two") == ["- one", "- two"]
    assert block("1. one\n2. two") == ["1. one", "2. two"]


def test_common_indentation_is_dropped() -> None:
    text = "which was cut from deeper text,\n        this is prose.\n\n        So is this\n        one."
    assert block(text, width=70) == [
        "which was cut from deeper text, this is prose.",
        "",
        "So is this one.",
    ]


def test_long_words_and_wide_letters_stay_within_the_width() -> None:
    for text in (
        "x" * 200,
        "渡し船は七時に出ます。" * 9,
        "\tif deeply:\n" + "\t" * 9 + "nested = 'very' * 30",
    ):
        wrapped = passages.block(console(), text, QueryWords("q"), 30)
        assert all(line.cell_len <= 30 for line in wrapped.split("\n"))


@pytest.mark.parametrize("text", ["", "\n", "  \n \n", "\x00"])
def test_next_to_nothing_can_be_shown(text: str) -> None:
    assert len(block(text)) == 1
    assert len(snippet(text, "q")) == 1


def test_nothing_in_a_text_acts_on_the_terminal() -> None:
    text = "a\x1b[31mred\x07 \x9b2J \u202e evil \x00 \ud800 b\rc"
    for shown in ("".join(block(text)), "".join(snippet(text, "q")), terminal.shown_path(text)):
        assert not set(shown) & set("\x1b\x07\x9b\u202e\x00\ud800\r")
        assert "red" in shown
    assert "\n" not in terminal.shown_path("/tmp/two\nlines\t.txt")


def test_a_snippet_is_where_most_of_the_querys_words_are() -> None:
    text = "Nothing of it is here at all. Bees sleep. The ferry costs four crowns a ticket. The end of it."
    assert snippet(text, "what does the ferry cost?") == ["… Bees sleep. The", "ferry costs four …"]
    assert snippet(text, "zebra")[0].startswith("Nothing")
    assert snippet("short\n  text", "text") == ["short text"]


def test_a_snippet_stays_within_its_lines_and_width() -> None:
    for width in (10, 17, 33):
        for text in ("word " * 80, "x" * 300, "渡し船は" * 60):
            shown = passages.snippet(console(), text, QueryWords("q"), width, 3)
            lines = shown.split("\n")
            assert len(lines) == 3
            assert all(line.cell_len <= width for line in lines)
            assert shown.plain.endswith("…")


# Marking


def test_query_words_are_marked_with_common_endings() -> None:
    assert marked("Waiting waits; the wait, but await.", "wait") == ["Waiting", "waits", "wait"]
    assert marked("one crown, two Crowns", "CROWNS") == ["crown", "Crowns"]
    assert marked("Fähre und fähren", "Fähre") == ["Fähre"]


def test_common_words_are_marked_only_where_there_are_no_others() -> None:
    assert marked("what is the ferry of the town", "what is the ferry?") == ["ferry"]
    assert marked("to be or not to be", "to be") == ["to", "be", "to", "be"]
    assert marked("anything", "?!") == []


# Places and figures


def passage(**changes: object) -> Passage:
    values = {"id": "a", "document_id": "doc", "text": "t", "start": 0, "end": 1, **changes}
    return Passage(**values)  # type: ignore[arg-type]


def test_places_read_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    inside = str(tmp_path / "docs" / "a.pdf")
    assert (
        terminal.place(passage(source=inside, line_start=3, line_end=9, page=2)) == "docs/a.pdf:3-9 (page 2)"
    )
    assert terminal.place(passage(source="/home/me/notes.txt")) == "~/notes.txt:1"
    assert terminal.place(passage(source="/srv/rows.csv#4")) == "/srv/rows.csv#4:1"
    assert terminal.place(passage()) == "doc:1"
    assert terminal.place(passage(source=inside), tmp_path / "docs") == "a.pdf:1"
    assert terminal.shown_path(f"{tmp_path}2/b.txt") == f"{tmp_path}2/b.txt"


def test_scores_say_what_was_not_read() -> None:
    hit = Hit(passage(), 2.5, 1, probability=0.924, reading=Reading(2.5, 480, 1200, 0, 1))
    assert render.scores(hit) == "score 2.500 (92.4%), read 480 of 1,200 tokens"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.5, "50.0%"), (0.9996, ">99.9%"), (0.00001, "<0.1%"), (1.0, "100.0%"), (0.0, "0.0%")],
)
def test_percents_are_never_more_certain_than_they_are(share: float, shown: str) -> None:
    assert render.percent(share) == shown


def test_pieces_flow_and_none_is_broken() -> None:
    pieces = ["embed 1 ms", "search 2 ms", "re-rank 3 ms"]
    assert render.flowing(60, pieces).plain == "embed 1 ms  ·  search 2 ms  ·  re-rank 3 ms"
    assert render.flowing(30, pieces).plain == "embed 1 ms  ·  search 2 ms\nre-rank 3 ms"
    assert render.flowing(5, pieces).plain == "embed 1 ms\nsearch 2 ms\nre-rank 3 ms"


def test_counts_and_times() -> None:
    assert [terminal.count(number, "query") for number in (0, 1, 1204)] == [
        "0 queries",
        "1 query",
        "1,204 queries",
    ]
    assert [terminal.milliseconds(value) for value in (0.04, 9.94, 171.4, 1204.6)] == [
        "0.0 ms",
        "9.9 ms",
        "171 ms",
        "1,205 ms",
    ]


# Whole pages


TIMES = Timings(1, 2, 3, 6)


def comparison(rerankers: int = 1) -> Comparison:
    found = tuple(
        Hit(
            passage(id=f"{rank}", text=f"text {rank} " * 30, source=f"/srv/{'deep/' * 20}f{rank}.txt"),
            1 / rank,
            rank,
        )
        for rank in range(1, 6)
    )
    stage1 = SearchResult("which one?", found[:2], found, found, TIMES, "dense", "none", 2, 0)
    order = (found[3], found[0])
    hits = tuple(
        Hit(each.passage, 9.0 - rank, rank, candidate=each, probability=0.9)
        for rank, each in enumerate(order, 1)
    )
    passes = [
        SecondPass(
            SearchResult("which one?", hits, found, hits, TIMES, "dense", f"model-{number}", 2, 5),
            ("new", "down 1"),
        )
        for number in range(rerankers)
    ]
    return Comparison("which one?", 2, stage1, tuple(passes))


@pytest.mark.parametrize("width", [30, 40, 60, 100, 160])
@pytest.mark.parametrize("rerankers", [1, 2, 3])
def test_a_comparison_fits_every_width(width: int, rerankers: int) -> None:
    out = console(width)
    side_by_side.show_comparison(out, comparison(rerankers))
    lines = printed(out).splitlines()
    assert all(len(line) <= width for line in lines)
    assert sum(line.count("stage 2: model-") for line in lines) == rerankers
    assert printed(out).count("changed 1 of 2") == rerankers
    assert printed(out).count("(was 4)") == rerankers
    assert printed(out).count("f4.txt:1") == rerankers  # a long path is cut at its front


def test_lists_stand_side_by_side_only_where_columns_are_wide_enough() -> None:
    for width, rerankers, beside in ((100, 1, True), (82, 1, False), (160, 2, True), (120, 2, False)):
        out = console(width)
        side_by_side.show_comparison(out, comparison(rerankers))
        heads = next(line for line in printed(out).splitlines() if line.startswith("stage 1"))
        assert ("stage 2" in heads) == beside


def test_the_verdict_tells_reordering_from_no_change() -> None:
    result = comparison().passes[0].result
    say = [
        side_by_side.verdict(SecondPass(result, moves), 2, named=False).plain
        for moves in (("new", "new"), ("up 1", "down 1"), ("same", "same"))
    ]
    assert say == [
        "re-ranking changed 2 of 2",
        "re-ranking changed 0 of 2: the same 2 in another order",
        "re-ranking changed 0 of 2",
    ]


@pytest.mark.parametrize("width", [40, 100])
def test_a_summary_fits_and_tells_all(width: int) -> None:
    passes = tuple(PassSummary(name, 1.25, 0.75, 0.5, 171.4) for name in ("late-interaction", "minilm-l6"))
    summary = Summary(4, 3, 5.0, 1.0, passes, (Agreement(("late-interaction", "minilm-l6"), 2 / 3),))
    out = console(width)
    side_by_side.show_summary(out, summary)
    text = printed(out)
    assert all(len(line) <= width for line in text.splitlines())
    for piece in (
        "over 4 queries",
        "late-interaction",
        "1.25",
        "75%",
        "50%",
        "171 ms",
        "67%",
        "embed 5.0 ms",
    ):
        assert piece in text


def test_markup_in_texts_is_only_text() -> None:
    out = console(60)
    hits = (
        Hit(passage(text="[bold]not bold[/bold] :smile:", source="/srv/[red].txt"), 1.0, 1, distance=0.0),
    )
    result = SearchResult("[link]q", hits, hits, hits, TIMES, "dense", "none", 1, 0)
    render.show_search(out, result, ["stage 1 dense", "stage 2 off"])
    assert "[bold]not bold[/bold] :smile:" in printed(out)
    assert "/srv/[red].txt:1" in printed(out)
    assert "[link]q" in printed(out)
    assert isinstance(render.footer(out, result, [])[0], Text)
