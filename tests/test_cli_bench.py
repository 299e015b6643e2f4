from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from secondpass.benching import Bench, Failure
from secondpass.cli import bench_json, bench_render
from secondpass.models import resolve
from test_benching import PLAIN
from test_cli import FILES, refused, secondpass

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an index of some passages and a folder with a model that is damaged."""
    folder = tmp_path_factory.mktemp("cli-bench")
    for name, text in FILES.items():
        file = folder / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    done = secondpass("index", "docs", "--size", "120", "--overlap", "20", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    model = shutil.copytree(resolve("minilm-l6").path, folder / "models" / "mine")
    (model / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> subprocess.CompletedProcess[str]:
    """A real run over two re-rankers, one of them damaged, in a narrow terminal."""
    words = ["bench", "--quick", "--reranker", "late-interaction", "--reranker", "./models/mine"]
    return secondpass(*words, "--plot", "speed.svg", cwd=place, COLUMNS="60")


@pytest.fixture(scope="module")
def shape(place: Path) -> dict[str, Any]:
    """What a real run prints with ``--json``."""
    given = secondpass("bench", "--quick", "--reranker", "late-interaction", "--json", cwd=place)
    assert (given.returncode, given.stderr) == (0, "")
    return dict(json.loads(given.stdout))


def printed(bench: Bench, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(bench_render, "output", lambda: console)
    bench_render.show(bench, None)
    return stream.getvalue()


# A real run


def test_it_reads_well_in_a_narrow_terminal(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert re.fullmatch(r"\d+ passages in \.secondpass", lines[0])
    assert re.search(r"^stage 1 alone +[\d.]+ +[\d.]+$", done.stdout, re.MULTILINE)
    assert re.search(r"^late-interaction +\d+( +[\d.,]+){4}$", done.stdout, re.MULTILINE)
    assert re.search(r"^late-interaction +[\d,]+ +\d+ MB +[\d.]+ s$", done.stdout, re.MULTILINE)
    text = " ".join(done.stdout.split())
    assert re.search(r"At \d+ candidates, stage 1 takes [\d.]+ ms; late-interaction adds [\d.]+ ms\.", text)
    assert re.search(r"\d cores? used \(\d+ allowed", text)
    assert re.search(r"\d+ tokens a passage", text)
    assert "no more candidates were read" in text


def test_a_re_ranker_that_fails_is_told_and_shows_in_the_exit_code(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 1
    assert "not measured: ./models/mine:" in " ".join(done.stdout.split())


def test_the_plot_is_written(done: subprocess.CompletedProcess[str], place: Path) -> None:
    assert "plot: speed.svg" in done.stdout
    drawing = (place / "speed.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg")
    assert "late-interaction, 10" in drawing


def keys(value: Any) -> Iterator[str]:
    """Yield every key of a JSON document with the way to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from (f"{key}.{below}" for below in keys(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_the_json_is_what_the_page_promises(shape: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    section = page.split("## `bench --json`")[1]
    promised = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
    versions = re.compile(r"machine\.versions\..*|failures\..*|rerankers\..*")
    wanted = {key for key in keys(promised) if not versions.fullmatch(key)}
    assert wanted == {key for key in keys(shape) if not versions.fullmatch(key)}
    (reranker,) = shape["rerankers"]
    assert set(reranker) == set(shape["stage1"])
    assert reranker["reranker"] == "late-interaction"
    assert reranker["at"][0]["rerank_ms"]["p50"] > 0
    assert shape["stage1"]["at"][0]["rerank_ms"] is None
    assert reranker["peak_memory_bytes"] > 20 * 2**20
    assert shape["failures"] == []


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--plot", "speed.pdf"], 2, r"a plot is \.svg or \.png"),
        (["--plot", "nowhere/speed.svg"], 2, "does not exist"),
        (["--reranker", "none"], 2, "always measured"),
        (["--reranker", "no-such-model"], 1, "no model 'no-such-model'"),
        (["--index", "nowhere"], 1, "no index"),
        (["--queries", "nowhere.txt"], 2, "cannot read the queries"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_measured(
    arguments: list[str], code: int, says: str, place: Path
) -> None:
    refused(secondpass("bench", *arguments, cwd=place), code, says)


# Rendering


def test_the_sentence_says_what_each_re_ranker_adds() -> None:
    assert bench_render.sentence(PLAIN) == "At 20 candidates, stage 1 takes 10 ms; minilm-l6 adds 90 ms."
    one = PLAIN.rerankers[0]
    two = replace(PLAIN, rerankers=(one, replace(one, name="other")))
    assert bench_render.sentence(two).endswith("minilm-l6 adds 90 ms and other adds 90 ms.")
    three = replace(PLAIN, rerankers=(one, replace(one, name="b"), replace(one, name="c")))
    assert bench_render.sentence(three).endswith("minilm-l6 adds 90 ms, b adds 90 ms and c adds 90 ms.")
    assert bench_render.sentence(replace(PLAIN, rerankers=())) == "Stage 1 takes 10 ms."


def test_the_tables_hold_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(PLAIN, 60, monkeypatch)
    rows = [line.split() for line in text.splitlines()]
    assert ["minilm-l6", "20", "90", "100", "100", "112"] in rows
    assert ["100", "390", "400", "400", "450"] in rows
    assert ["minilm-l6", "260", "180", "MB", "0.70", "s"] in rows
    assert "2 cores used (2 allowed)" in text
    assert "no more candidates" not in text


def test_what_is_unknown_or_failed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = replace(
        PLAIN,
        stage1=replace(PLAIN.stage1, peak_memory=None),
        machine=replace(PLAIN.machine, quota=1.5),
        failures=(Failure("a\x1b[31mmodel", "it has no\x07 weights"),),
    )
    text = printed(bench, 80, monkeypatch)
    assert "unknown" in text
    assert "quota 1.5" in text
    assert "not measured: a\ufffd[31mmodel: it has no\ufffd weights" in text


@pytest.mark.parametrize("width", [40, 60, 100])
def test_long_names_stay_within_the_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = PLAIN.rerankers[0]
    bench = replace(PLAIN, rerankers=(replace(one, name="/home/me/models/ms-marco-MiniLM-L-12-v2-int8"),))
    text = printed(bench, width, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    assert "390" in text


def test_the_json_of_values() -> None:
    shape = bench_json.bench(replace(PLAIN, failures=(Failure("a", "b"),)))
    assert shape == json.loads(json.dumps(shape))
    assert shape["rerankers"][0]["at"][1]["total_ms"] == {"p50": 400.0, "p95": 450.0, "samples": 20}
    assert shape["failures"] == [{"reranker": "a", "reason": "b"}]
