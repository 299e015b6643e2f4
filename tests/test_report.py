"""The HTML reports: what they say, and that nothing in a document's text gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_samples import STAMP, TEXT, comparison
from secondpass.errors import InputError
from secondpass.report import best_sentences, compare_page
from secondpass.report.markup import Markup, joined, number, tag, text
from secondpass.report.moves import CUT, ROW, Line, movement
from secondpass.report.passages import passage_text, shortened
from secondpass.report.sentences import sentences

VOID = {"br", "hr", "input", "meta"}
ALLOWED = set(
    """
    html head meta title style script body main header footer section article nav div span p h1 h2 h3 h4
    a b i bdi code mark time ol ul li dl dt dd table caption thead tbody tr th td details summary
    figure figcaption input button svg g path line rect circle polyline text
    """.split()  # noqa: SIM905  words read best as words
)


class Outline(HTMLParser):
    """Reads a page as a browser does, and complains where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def words(self) -> str:
        shown = "".join(data for inside, data in self.texts if inside not in ("style", "script"))
        return " ".join(shown.split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [each for _, each in self.tags if name in (each.get("class") or "").split()]


def checked(page: str) -> Outline:
    """Return the outline of a page that holds what every report promises."""
    outline = Outline(page)
    assert {tag for tag, _ in outline.tags} <= ALLOWED
    for _, attributes in outline.tags:
        assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    ids = [each["id"] for _, each in outline.tags if "id" in each]
    assert len(ids) == len(set(ids))
    links = {(each["href"] or "")[1:] for each in outline.all("a")}
    assert links <= set(ids)
    page.encode("utf-8")
    return outline


# Markup


def test_only_markup_is_taken_as_markup() -> None:
    assert tag("p", None, "<b>") == "<p>&lt;b&gt;</p>"
    assert tag("p", None, tag("b", None, "x")) == "<p><b>x</b></p>"
    assert tag("p", {"title": '"><script>'}) == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert tag("input", {"hidden": True, "value": None, "checked": False}) == "<input hidden>"
    assert joined("<", ["&", [Markup("<i></i>")]]) == "&lt;&amp;<i></i>"
    assert text(text("&")) == "&amp;"


def test_coordinates_are_short_and_finite() -> None:
    assert [number(each) for each in (1.0, 0.126, 100.0, 3, float("nan"), float("inf"))] == [
        "1",
        "0.13",
        "100",
        "3",
        "0",
        "0",
    ]


@given(st.text())
def test_any_text_comes_back_as_it_was_but_for_what_is_no_text(value: str) -> None:
    outline = Outline(tag("p", {"title": value}, value))
    shown = "".join(data for _, data in outline.texts)
    assert shown == (outline.tags[0][1]["title"] or "")
    kept = [a for a, b in zip(value.replace("\r\n", "\n"), shown, strict=True) if b != "\ufffd"]
    assert "".join(kept).replace("\r", "\n").replace("\f", "\n") == shown.replace("\ufffd", "")


def test_controls_surrogates_and_turned_text_are_replaced() -> None:
    hostile = "a\x00b\x1bc\x9bd\ud800e\u202ef\u2066g\uffffh"
    assert text(hostile) == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg\ufffdh"
    assert text("\u05d0\u200f") == "\u05d0\u200f"  # right-to-left letters and marks are text


# Sentences


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is e.g. Friday. Then rest.", ["It is e.g. Friday.", "Then rest."]),
        ("Version 3.11 is out. mypy knows.", ["Version 3.11 is out. mypy knows."]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("One line\ngoes on. Next", ["One line\ngoes on.", "Next"]),
        ("Heading\n\nText here.", ["Heading", "Text here."]),
        ("- first\n- second", ["- first", "- second"]),
        ("Args:\n  fn: what is called\n  n: how often", ["Args:", "fn: what is called", "n: how often"]),
        ("渡し船は七時。切符は四。", ["渡し船は七時。", "切符は四。"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences(passage: str, found: list[str]) -> None:
    assert [passage[start:end] for start, end in sentences(passage)] == found


@given(st.text(alphabet="aB.!?\n -:1。"))
def test_sentences_are_in_order_and_cover_all_that_is_visible(passage: str) -> None:
    spans = sentences(passage)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    inside = "".join(passage[start:end] for start, end in spans)
    assert "".join(inside.split()) == "".join(passage.split())


class Counting:
    """A re-ranker that likes the word weeks."""

    name = "minilm-l6"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def score(self, query: str, passages: list[str]) -> np.ndarray:
        self.calls.append(list(passages))
        return np.array([each.count("weeks") for each in passages], dtype=np.float32)


def test_the_best_sentence_of_each_hit_is_found_in_one_call() -> None:
    reranker = Counting()
    result = comparison().passes[0].result
    marks = best_sentences(reranker, result)
    assert len(reranker.calls) == 1
    assert len(reranker.calls[0]) == 3 * 4
    assert {key[2] for key in marks} == {hit.passage.id for hit in result.hits}
    for (name, query, _), (start, end) in marks.items():
        assert (name, query) == ("minilm-l6", result.query)
        assert TEXT[start:end].startswith("You get it back four weeks")


def test_a_hit_of_one_sentence_has_none_that_stands_out() -> None:
    reranker = Counting()
    assert best_sentences(reranker, comparison(texts=["One sentence only."] * 6).passes[0].result) == {}
    assert reranker.calls == []


# Passages


def test_the_marked_sentence_is_exactly_the_one_named() -> None:
    start = TEXT.index("You get")
    end = TEXT.index(" Dogs")
    outline = Outline(passage_text(TEXT, (start, end)))
    assert [data for inside, data in outline.texts if inside == "mark"] == [TEXT[start:end]]
    assert outline.words() == TEXT


def test_a_long_passage_is_shown_around_its_mark_and_says_what_is_left_out() -> None:
    long = "x " * 500_000 + "Here it is. " + "y " * 1_000
    start = long.index("Here")
    outline = Outline(passage_text(long, (start, start + 11)))
    assert [data for inside, data in outline.texts if inside == "mark"] == ["Here it is."]
    assert "characters before this are not shown" in outline.words()
    assert len(outline.words()) < 5_000


def test_prose_is_joined_and_code_keeps_its_shape() -> None:
    assert Outline(passage_text("one\ntwo")).texts == [("div", "one two")]
    code = Outline(passage_text("def f(x):\n    if x:\n        return 1\n    return 2")).texts[0][1]
    assert code == "def f(x):\n    if x:\n    \u00a0\u00a0\u00a0\u00a0return 1\n    return 2"
    assert Outline(passage_text("- a\n- b")).texts == [("div", "- a\n- b")]


def test_shortened() -> None:
    assert shortened("a  b\nc") == "a b c"
    assert shortened("word " * 100, 20) == "word word word word…"
    assert len(shortened("x" * 1_000_000)) == 301


# Movement


def test_lines_lead_from_row_to_row_with_room_for_the_cut() -> None:
    drawing = Outline(movement([Line(0, 1, 1, 2, "down"), Line(3, 0, 6, 1, "new")], split=3, rows=4))
    ways = [each["d"] for each in drawing.classes("way")]
    assert ways[0] == f"M0 {ROW // 2} C50 {ROW // 2} 50 {ROW * 3 // 2} 100 {ROW * 3 // 2}"
    assert (ways[1] or "").startswith(f"M0 {3 * ROW + CUT + ROW // 2} ")
    svg = drawing.all("svg")[0]
    assert svg["viewbox"] == f"0 0 100 {4 * ROW + CUT}"
    assert svg["height"] == "16rem"
    assert svg["aria-label"] == "rank 6 to 1; rank 1 to 2"


# The report of compare


def test_one_query_shows_every_move_once_with_both_scores() -> None:
    outline = checked(compare_page([comparison()], STAMP))
    assert [data for inside, data in outline.texts if inside == "h1"] == ["When do I get the deposit back?"]
    words = outline.words()
    assert (
        "minilm-l6 changed 1 of 3 hits and put another passage first. It read 6 candidates in 120 ms."
        in words
    )
    kinds = [(each["class"] or "").split()[1] for each in outline.classes("move")]
    assert kinds == ["dropped", "down", "up", "new"]
    assert [each["aria-label"] for each in outline.classes("moves")] == [
        "rank 5 to 1; rank 3 to 2; rank 1 to 3; rank 2 to 4"
    ]
    assert "score 3.000 · probability 90.0% · read 20 of 24 tokens" in words
    assert "stage 1: rank 5 · cosine 0.500 · distance 0.500" in words
    assert "handbook-4.txt:4-7" in words
    for spent in ("5.0 ms embed", "1.0 ms search", "120 ms re-rank"):
        assert spent in words
    assert "also in /srv/letting/handbook-90.txt:90-93" in words
    assert "What it passed over (1)" in words
    assert "Made 1 March 2026, 09:05 UTC." in words
    assert "A processor, 2 cores, Linux · secondpass 0.1.0" in words


def test_several_queries_have_a_table_and_an_index() -> None:
    queries = [comparison(f"query {n}", rerankers=("one", "two")) for n in range(7)]
    outline = checked(compare_page(queries, STAMP))
    toc = [each["href"] for each in outline.all("a") if (each["href"] or "").count("-") == 0]
    assert toc == [f"#q{n}" for n in range(1, 8)]
    words = outline.words()
    assert "What the second pass changed for 7 queries" in words
    assert "one and two share 100% of their first 3." in words
    assert len(outline.classes("duel")) == 14
    assert len(outline.classes("tools")) == 1


def test_best_sentences_are_marked_and_said_to_be_what_they_are() -> None:
    value = comparison()
    marks = best_sentences(Counting(), value.passes[0].result)
    outline = checked(compare_page([value], STAMP, marks))
    marked = [data for inside, data in outline.texts if inside == "mark"]
    assert marked == ["Marked", *["You get it back four weeks after the last reading of the meters."] * 3]
    assert "the sentence that minilm-l6 scores highest when it reads each alone" in outline.words()


def test_no_hits() -> None:
    outline = checked(compare_page([comparison(order=())], STAMP))
    assert "No passage was found, so minilm-l6 had nothing to read." in outline.words()


def test_fewer_hits_than_asked_for() -> None:
    outline = checked(compare_page([comparison(order=(1, 0), k=3)], STAMP))
    assert len(outline.classes("move")) == 2


def test_no_comparison_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to summarize"):
        compare_page([], STAMP)


HOSTILE = [
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "<!-- --><![CDATA[ ]]> &amp; &lt;b&gt; &#60;",
    "\x00\x07\x1b[31m\x9b\u202e\u2066\ud800\udfff\ufffe turned",
    "\u05d0\u05d1\u05d2 \u0627\u0644\u0639 mixed",
    "javascript:alert(1)",
    "Long. " * 200_000,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(hostile: str) -> None:
    value = comparison(
        hostile, texts=[hostile] * 6, rerankers=(hostile[:60],), source=f"/srv/{hostile[:300]}"
    )
    page = compare_page([value, value], STAMP, best_sentences(Counting(), value.passes[0].result))
    outline = checked(page)
    assert len(outline.all("script")) == len(outline.all("style")) == 1
    assert not outline.all("img")
    assert len(page) < 250_000
    visible = " ".join(text(hostile)[:40].split())
    assert Outline(f"<p>{visible}</p>").words()[:20] in outline.words()


def test_the_policy_allows_just_the_style_and_the_script_that_are_there() -> None:
    page = compare_page([comparison()], STAMP)
    outline = Outline(page)
    policy = next(each["content"] or "" for each in outline.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; ")
    for name in ("style", "script"):
        source = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert source is not None
        digest = base64.b64encode(hashlib.sha256(source.group(1).encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert page.index("http-equiv") < page.index("<style>")


def test_nothing_names_another_host() -> None:
    page = compare_page([comparison()], STAMP)
    assert "//" not in re.sub(r"(?m)^\s*// .*$", "", page).replace("/srv//", "")
    assert "url(" not in page
    assert "@import" not in page


def test_a_page_is_the_same_when_made_again() -> None:
    assert compare_page([comparison()], STAMP) == compare_page([comparison()], STAMP)


def test_the_style_and_the_script_come_with_the_package() -> None:
    import secondpass.report

    assets = Path(secondpass.report.__file__).parent / "assets"
    assert {each.name for each in assets.iterdir()} == {"page.css", "page.js"}
    for each in assets.iterdir():
        assert "</" not in each.read_text(encoding="utf-8")
