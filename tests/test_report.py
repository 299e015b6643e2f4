"""The HTML reports: what they say, and that nothing in a document's text gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_samples import (
    MEASURES,
    STAMP,
    TEXT,
    calibration,
    comparison,
    evaluation,
    passage,
    sources,
    trials,
    verdict,
)
from secondpass.errors import InputError
from secondpass.evaluation.values import Ceiling, Paired
from secondpass.report import best_sentences, compare_page, evaluation_page, sources_for, verdict_page
from secondpass.report.labels import Box, Label, place_labels
from secondpass.report.markup import Markup, joined, number, tag, text
from secondpass.report.moves import CUT, ROW, Line, movement
from secondpass.report.pareto import Dot, pareto
from secondpass.report.passages import passage_text, shortened
from secondpass.report.plots import ceiling_bar, interval, interval_scale
from secondpass.report.sentences import sentences
from secondpass.types import Passage

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
    ("shown", "found"),
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
def test_sentences(shown: str, found: list[str]) -> None:
    assert [shown[start:end] for start, end in sentences(shown)] == found


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


def test_what_was_not_read_or_not_read_now_is_said() -> None:
    value = comparison()
    result = value.passes[0].result
    *read, last = result.ranked
    read[1] = replace(read[1], copied_from=read[0].passage.id)
    ranked = (*read, replace(last, score=float("-inf"), probability=None, unread=True))
    told = replace(result, hits=ranked[:3], ranked=ranked, scored=4, cached=1, copied=1, calibrated=True)
    words = checked(
        compare_page([replace(value, passes=(replace(value.passes[0], result=told),))], STAMP)
    ).words()
    assert "1 of those scores were known from earlier" in words
    assert "1 candidate took over the score of one that says the same." in words
    assert "A deadline kept it from reading 1 candidate." in words
    assert "calibrated probability" in words
    assert "score of a passage that says the same" in words
    assert "not read" in words
    assert "inf" not in words


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


# The report of eval


def rows_of(outline: Outline) -> list[str]:
    return [data for inside, data in outline.texts if inside == "span" and data.startswith("query number")]


@pytest.mark.parametrize(
    ("interval", "title"),
    [
        ((0.01, 0.2), "The second pass helps: +0.100 nDCG@10"),
        ((-0.01, 0.2), "The second pass makes no sure difference: +0.100 nDCG@10"),
        ((-0.2, -0.01), "The second pass hurts: +0.100 nDCG@10"),
    ],
)
def test_the_headline_is_as_sure_as_the_interval(interval: tuple[float, float], title: str) -> None:
    outline = checked(evaluation_page(evaluation(interval=interval), STAMP))
    assert [data for inside, data in outline.texts if inside == "h1"] == [title]
    assert "hybrid 20 > minilm-l6 reaches 0.700 nDCG@10, hybrid alone 0.600" in outline.words()


def test_queries_stand_biggest_change_first_and_carry_what_they_are_ordered_by() -> None:
    outline = checked(evaluation_page(evaluation(), STAMP))
    assert rows_of(outline) == [f"query number {n}" for n in (0, 1, 3, 2)]
    changes = [float(each["data-change"] or "") for each in outline.classes("row")]
    assert changes == pytest.approx([0.7, -0.5, 0.2, 0.0])


def test_lists_mark_what_is_relevant_and_say_where_it_stands() -> None:
    outline = checked(evaluation_page(evaluation(), STAMP, sources()))
    words = outline.words()
    assert words.count("The first one stands at rank 5 in stage 1 and at rank 2 after stage 2.") == 3
    assert words.count("None is among the 20 candidates: stage 2 could not help here.") == 1
    assert len(outline.classes("relevant")) == 2 * 3
    accents = [each for each in outline.classes("move") if "up" in (each["class"] or "")]
    assert len(accents) == 3
    assert "handbook-4.txt:4-7" in words


def test_what_was_judged_and_is_not_in_the_index_is_said() -> None:
    given = sources()
    missing = {"q3": ("/srv/letting/elsewhere.txt",)}
    told = replace(given, judged=replace(given.judged, missing=missing))
    words = checked(evaluation_page(evaluation(), STAMP, told)).words()
    assert "1 document judged relevant. 1 of them is not in the index. None is among" in words


def test_passages_are_looked_up_once_and_only_for_the_lists_that_are_shown() -> None:
    asked: list[str] = []

    def look_up(passage_id: str) -> Passage:
        asked.append(passage_id)
        return passage(int(passage_id, 16))

    given = sources_for(evaluation(), trials(), sources().judged, look_up)
    assert sorted(asked) == [f"{n:016x}" for n in range(6)]
    assert evaluation_page(evaluation(), STAMP, given) == evaluation_page(evaluation(), STAMP, sources())


def test_lists_without_passages_name_the_documents() -> None:
    words = checked(evaluation_page(evaluation(), STAMP, sources(known=False))).words()
    assert "/srv/letting/handbook-4.txt" in words
    assert ":4-7" not in words


def test_an_evaluation_says_what_it_rests_on() -> None:
    words = checked(evaluation_page(evaluation(synthetic=True), STAMP)).words()
    assert "Synthetic queries." in words
    assert "a document scores as its best passage" in words
    assert "50% in stage 1's first 3 already" in words
    assert "+0.100" in words
    assert "+0.010 to +0.200" in words
    plain = checked(evaluation_page(evaluation(unit="passage"), STAMP)).words()
    assert "Synthetic queries." not in plain
    assert "Passages were judged." in plain


def test_an_evaluation_without_a_reranker() -> None:
    value = evaluation()
    alone = replace(
        value,
        rows=(value.rows[0],),
        per_query=tuple(
            replace(each, values={measure: row[:1] for measure, row in each.values.items()})
            for each in value.per_query
        ),
    )
    words = checked(evaluation_page(alone, STAMP)).words()
    assert "dense reaches 0.550 nDCG@10" in words
    assert "Query by query" not in words


def test_a_better_stage_1_alone_is_named() -> None:
    value = evaluation()
    higher = replace(value.rows[0], means=dict.fromkeys(MEASURES, 0.9))
    words = checked(evaluation_page(replace(value, rows=(higher, *value.rows[1:])), STAMP)).words()
    assert "But dense alone reaches 0.900, without a second pass." in words


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_an_interval_is_drawn_inside_its_box(one: float, two: float, three: float) -> None:
    low, middle, high = sorted((one, two, three))
    paired = Paired(middle, low, high, 0.5, 1, 1, 1)
    drawing = Outline(interval(paired, interval_scale([paired])))
    reach = drawing.classes("reach")[0]
    dot = float(drawing.all("circle")[0]["cx"] or "")
    left, right = float(reach["x1"] or ""), float(reach["x2"] or "")
    assert 4 < left <= dot <= right < 116
    kind = (drawing.all("svg")[0]["class"] or "").split()[1]
    assert kind == ("better" if low > 0 else "worse" if high < 0 else "open")


def test_shares_fill_their_bar() -> None:
    drawing = Outline(ceiling_bar(Ceiling("dense", 3, 20, 0.5, 0.3, 0.2)))
    spans = [(float(each["x"] or ""), float(each["width"] or "")) for each in drawing.all("rect")]
    assert spans == [(0, 50), (50, 30), (80, 20)]


# The report of worth-it


def test_the_verdict_is_the_title_and_its_setting_is_set_off() -> None:
    outline = checked(verdict_page(verdict(), STAMP, [calibration()]))
    title = "Use minilm-l6 on 20 hybrid candidates: +0.047 nDCG@10 for 130\u00a0ms."
    assert [data for inside, data in outline.texts if inside == "h1"] == [title]
    words = outline.words()
    for said in (
        "minilm-l6 unless hybrid margin >= 0.0731",
        "44 ms",
        "nDCG@10 lost (95 % interval -0.002 to +0.011)",
        "minilm-l6 and late-interaction share 62% of their first 3 hits.",
        "Not tried: 100 candidates",
        "50 queries over 2,498 passages (a made-up collection)",
        "79.0%",
        "nothing kept",
    ):
        assert said in words
    assert len([tag for tag, each in outline.tags if tag == "tr" and each.get("class") == "chosen"]) == 1
    dots = [each for each in outline.classes("chosen") if "cx" in each]
    assert len(dots) == 2  # the plot is drawn for wide and for narrow pages


def test_without_judgments_the_plot_is_of_changes() -> None:
    words = checked(verdict_page(verdict(judged=False, kind="unjudged"), STAMP)).words()
    assert "Change against latency" in words
    assert "Without judgments nobody can say which is better" in words
    assert "nDCG@10 lost" not in words
    assert "Everything that was tried" in words


def test_a_verdict_without_a_gate_says_why() -> None:
    value = replace(verdict(synthetic=True), gate=None, gate_note="no rule was worth having")
    words = checked(verdict_page(value, STAMP)).words()
    assert "no rule was worth having" in words
    assert "Synthetic queries." in words


@given(
    st.lists(
        st.tuples(st.floats(0.01, 100_000), st.floats(0, 1), st.booleans(), st.text(min_size=1, max_size=30)),
        min_size=1,
        max_size=12,
    )
)
def test_any_dots_are_drawn_inside_the_plot(values: list[tuple[float, float, bool, str]]) -> None:
    dots = [Dot(name, name[:3], "5", ms, value, best) for ms, value, best, name in values]
    drawing = Outline(pareto(dots, "nDCG@10"))
    widths = [float((each["viewbox"] or "").split()[2]) for each in drawing.all("svg")]
    assert len(widths) == 2
    circles = drawing.all("circle")
    assert len(circles) == 2 * len(dots)
    for place, circle in enumerate(circles):
        assert 40 < float(circle["cx"] or "") < widths[place // len(dots)]
        assert 20 < float(circle["cy"] or "") < 400


@given(
    st.lists(st.tuples(st.integers(50, 350), st.integers(50, 350), st.text(max_size=20)), max_size=15),
)
def test_labels_cover_neither_each_other_nor_a_dot(values: list[tuple[int, int, str]]) -> None:
    labels = [Label(text, x, y, needed=True) for x, y, text in values]
    within = Box(0, 0, 400, 400)
    dots = [(label.x, label.y) for label in labels]
    placed = place_labels(labels, dots, within, [Box(0, 199, 400, 201)])
    boxes = [each.box for each in placed]
    assert all(within.holds(box) for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.left < x < box.right and box.top < y < box.bottom for box in boxes for x, y in dots)
    assert not any(box.top < 200 < box.bottom for box in boxes)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text_in_the_other_reports(hostile: str) -> None:
    value = evaluation()
    asked = tuple(replace(each, query=hostile) for each in value.per_query)
    page = evaluation_page(replace(value, per_query=asked, origin=hostile[:200]), STAMP, sources())
    assert len(checked(page).all("script")) == 1
    told = replace(verdict(), sentences=(hostile[:200],), origin=hostile[:200], left_out=hostile[:200])
    assert len(checked(verdict_page(told, STAMP, [calibration()])).all("script")) == 1
