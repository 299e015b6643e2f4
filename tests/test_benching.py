from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from secondpass import Document, Index
from secondpass.benching import (
    DEPTHS,
    AtDepth,
    Bench,
    Machine,
    Measured,
    Spread,
    bench,
    plot,
    questions_from,
)
from secondpass.benching.machine import describe, peak_memory
from secondpass.benching.running import QUICK_RUNS
from secondpass.cores import usable_cores
from secondpass.errors import InputError, MissingExtraError, SecondpassError
from secondpass.testing import HashEmbedder

SUBJECTS = "ferry bees bakery library garden mill harbour school market chapel".split()  # noqa: SIM905
MB = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 30 passages."""
    place = tmp_path_factory.mktemp("bench") / "index"
    with Index.open(place) as index:
        index.add(
            Document(
                f"{subject}/{number}", f"The {subject} number {number} opens at {number + 5} in the morning."
            )
            for subject in SUBJECTS
            for number in range(3)
        )
    return place


@pytest.fixture(scope="module")
def measured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A quick bench, while this process holds much memory; one of its re-rankers is broken."""
    broken = tmp_path_factory.mktemp("models") / "broken"
    broken.mkdir()
    ballast = bytearray(600 * MB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    steps: list[None] = []
    found = bench(
        folder,
        30,
        ["when does the mill open?", "who keeps bees?"],
        ["late-interaction", str(broken)],
        quick=True,
        progress=lambda: steps.append(None),
    )
    assert len(steps) == 3
    assert len(ballast) == 600 * MB
    return found


# Values


def test_a_spread_is_median_and_nearest_rank() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 1)
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 4.0, 4)
    assert Spread.of([float(each) for each in range(100, 0, -1)]) == Spread(50.5, 95.0, 100)
    with pytest.raises(InputError):
        Spread.of([])


# Questions


def test_questions_are_words_of_the_documents(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(400))
    with Index.open(tmp_path / "index", embedder=HashEmbedder()) as index:
        index.add([Document("long", text), Document("short", "only three words")])
        questions = questions_from(index, 12)
        assert questions == questions_from(index, 12)
        assert questions != questions_from(index, 12, seed=1)
    assert len(questions) == len(set(questions)) == 12
    for question in questions:
        assert question in text or question == "only three words"
        assert len(question.split()) <= 9


def test_an_index_without_words_cannot_be_asked(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", embedder=HashEmbedder()) as index:
        with pytest.raises(InputError, match="index some text first"):
            questions_from(index, 5)
        index.add(Document("dots", ". . . !"))
        with pytest.raises(InputError, match="index some text first"):
            questions_from(index, 5)


def test_text_without_spaces_is_cut(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", embedder=HashEmbedder()) as index:
        index.add(Document("long", "渡し船は七時に出ます。" * 300))
        (question,) = questions_from(index, 3)
    assert len(question) == 200


# Measuring


def test_stage_1_alone_and_each_re_ranker_are_measured(measured: Bench) -> None:
    assert measured.passages == 30
    assert measured.queries == 2
    assert measured.stage1.name == "none"
    assert [each.name for each in measured.rerankers] == ["late-interaction"]
    for each in (measured.stage1, *measured.rerankers):
        assert [at.candidates for at in each.at] == [20, 30]  # the index has no hundred
        for at in each.at:
            assert 3 <= at.total.samples <= QUICK_RUNS
            assert 0 < at.stage1.p50 <= at.total.p50 <= at.total.p95
        assert each.load > 0
        assert each.cold.p50 > max(at.total.p50 for at in each.at)


def test_stage_2_is_there_where_it_is_on(measured: Bench) -> None:
    alone, (reranked,) = measured.stage1, measured.rerankers
    assert {at.rerank for at in alone.at} == {None}
    assert (alone.passages_per_second, alone.tokens_per_passage) == (None, None)
    for at in reranked.at:
        assert at.rerank is not None
        assert 0 < at.rerank.p50 < at.total.p95
    assert reranked.passages_per_second is not None
    assert reranked.passages_per_second > 1
    assert reranked.tokens_per_passage == pytest.approx(10, abs=3)


def test_memory_is_that_of_the_measured_process_alone(measured: Bench) -> None:
    for each in (measured.stage1, *measured.rerankers):
        assert each.peak_memory is not None
        assert 20 * MB < each.peak_memory < 600 * MB


def test_a_re_ranker_that_cannot_be_opened_is_named_with_the_reason(measured: Bench) -> None:
    (failure,) = measured.failures
    assert failure.name.endswith("broken")
    assert "has no config.json" in failure.reason


def test_settings_around_do_not_change_what_is_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secondpass.toml").write_text("no-such-key = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDPASS_K", "nonsense")
    found = bench(folder, 30, ["when does the mill open?"], [], quick=True)
    assert found.stage1.cold.samples == 1
    assert found.rerankers == ()


def test_what_cannot_be_measured_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs queries and passages"):
        bench(folder, 30, [], [])
    with pytest.raises(InputError, match="needs queries and passages"):
        bench(folder, 0, ["anything"], [])
    with pytest.raises(InputError, match="empty"):
        bench(folder, 30, [" "], [])
    with pytest.raises(SecondpassError, match="no index"):
        bench(tmp_path / "nowhere", 30, ["anything"], [])


def test_the_usual_numbers_of_candidates_are_20_and_100() -> None:
    assert DEPTHS == (20, 100)


# The machine


def test_the_machine_is_described() -> None:
    machine = describe()
    assert machine.cpu
    assert machine.cores == usable_cores()
    assert machine.cores <= machine.affinity
    assert machine.quota is None or machine.quota > 0
    assert machine.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "numpy" in machine.versions


def test_peak_memory_grows_with_what_is_held_and_stays() -> None:
    program = (
        "from secondpass.benching.machine import peak_memory\n"
        "before = peak_memory()\n"
        "held = b'x' * (150 * 2**20)\n"
        "del held\n"
        "print(peak_memory() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 100 * MB < int(done.stdout) < 250 * MB
    assert peak_memory() is not None


# The plot

PLAIN = Bench(
    Machine("A <fast> CPU & co", ("avx2",), 2, 2, None, 8 * 2**30, "Linux x86_64", {"python": "3.12.1"}),
    "/data/index",
    2641,
    40,
    Measured(
        "none",
        400.0,
        (AtDepth(20, Spread(10.0, 12.0, 40), None, Spread(10.0, 12.0, 40)),),
        None,
        None,
        100 * MB,
        Spread(600.0, 650.0, 5),
    ),
    (
        Measured(
            "minilm-l6",
            500.0,
            (
                AtDepth(20, Spread(10.0, 12.0, 40), Spread(90.0, 100.0, 40), Spread(100.0, 112.0, 40)),
                AtDepth(100, Spread(10.0, 12.0, 20), Spread(390.0, 400.0, 20), Spread(400.0, 450.0, 20)),
            ),
            260.0,
            101.5,
            180 * MB,
            Spread(700.0, 750.0, 5),
        ),
    ),
)
SVG = "{http://www.w3.org/2000/svg}"


def bars(drawing: ElementTree.Element, colour: str) -> list[float]:
    """Return the widths of the bars of a colour, those of the legend left out."""
    rects = [each for each in drawing.iter(f"{SVG}rect") if each.get("fill") == colour]
    return [float(each.attrib["width"]) for each in rects if each.get("height") == "20"]


def test_the_svg_has_bars_as_long_as_the_times() -> None:
    drawing = ElementTree.fromstring(plot.svg(PLAIN))
    stage1, reranked = bars(drawing, "#8a8f98"), bars(drawing, "#2f6db3")
    assert len(stage1) == 3
    assert len(set(stage1)) == 1
    assert [width / stage1[0] for width in reranked] == pytest.approx([9, 39], rel=0.02)
    words = [each.text for each in drawing.iter(f"{SVG}text")]
    assert {"stage 1 alone", "minilm-l6, 20", "minilm-l6, 100", "10 ms", "100 ms", "400 ms"} <= set(words)
    assert "A <fast> CPU & co, 2 cores used" in words


def test_the_same_figures_give_the_same_svg_and_it_loads_nothing() -> None:
    text = plot.svg(PLAIN)
    assert text == plot.svg(PLAIN)
    assert "href" not in text
    assert "url(" not in text


@pytest.mark.parametrize("factor", [1e-3, 0.1, 7.0, 1000.0])
def test_everything_stays_inside_the_picture(factor: float) -> None:
    def scaled(spread: Spread) -> Spread:
        return Spread(spread.p50 * factor, spread.p95 * factor, spread.samples)

    slow = replace(
        PLAIN,
        rerankers=tuple(
            replace(
                each,
                name="a-re-ranker-with-a-very-long-name-indeed-and-more",
                at=tuple(
                    AtDepth(
                        at.candidates, scaled(at.stage1), at.rerank and scaled(at.rerank), scaled(at.total)
                    )
                    for at in each.at
                ),
            )
            for each in PLAIN.rerankers
        ),
    )
    drawing = ElementTree.fromstring(plot.svg(slow))
    width = float(drawing.attrib["width"])
    for rect in drawing.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.attrib["width"]) <= width
    for text in drawing.iter(f"{SVG}text"):
        assert float(text.attrib["x"]) <= width - 30
        assert len(text.text or "") <= 70


def test_a_plot_is_written_as_its_ending_says(tmp_path: Path) -> None:
    plot.write(PLAIN, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == plot.svg(PLAIN)
    plot.write(PLAIN, tmp_path / "a.PNG")
    head = (tmp_path / "a.PNG").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert int.from_bytes(head[16:20], "big") > 1000


def test_what_cannot_become_a_plot_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        plot.check_format(tmp_path / "a.pdf")
    with pytest.raises(InputError, match="does not exist"):
        plot.check_format(tmp_path / "nowhere" / "a.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(SecondpassError, match="take another file"):
        plot.write(PLAIN, tmp_path / "folder.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"secondpass\[plot\]"):
        plot.check_format(tmp_path / "a.png")
    plot.check_format(tmp_path / "a.svg")
