"""``secondpass train`` as people run it, with real weights, a real index and real kills."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jargon import TOPICS, question, village
from secondpass import CrossEncoder, Document, Index
from secondpass.cli import main
from test_cli import clean_environment

FAST = ("--steps", "24", "--candidates", "12", "--quiet")
"""Enough for this habit; the candidates hold what is relevant."""
NAME = "minilm-l6-tuned"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return village(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    return clean_environment({"SECONDPASS_MODELS": str(place / "models")})


@pytest.fixture
def inside(place: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the village, in this process."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("SECONDPASS_MODELS", environment["SECONDPASS_MODELS"])
    for name in ("SECONDPASS_INDEX", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return place


def run(place: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command in a new process."""
    command = [sys.executable, "-m", "secondpass", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment, check=False)


def training(*arguments: str) -> tuple[str, ...]:
    return ("train", "--index", "index", *FAST, *arguments)


@pytest.fixture(scope="module")
def helped(place: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The report of a training that helps; its re-ranker is installed from then on."""
    done = run(place, environment, *training("--judged", "judged.jsonl", "--json"))
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_habit_is_learnt_and_installed(place: Path, helped: dict[str, Any]) -> None:
    assert (helped["outcome"], helped["installed"], helped["synthetic"]) == ("helped", True, False)
    assert helped["sentences"][0].startswith("helped: +")
    assert "against minilm-l6 on 20 held-out queries; installed as minilm-l6-tuned" in helped["sentences"][0]
    stage1, base, new = (row["means"]["nDCG@10"] for row in helped["rows"])
    assert [row["reranker"] for row in helped["rows"]] == ["none", "minilm-l6", NAME]
    assert new > max(stage1, base) + 0.1
    against = helped["against_base"]["nDCG@10"]
    assert against["low"] > 0
    assert against["difference"] == pytest.approx(new - base, abs=2e-4)
    assert helped["queries"] == {
        "usable": 80,
        "unusable": 0,
        "training": 48,
        "learnt_from": 48,
        "validation": 12,
        "held_out": 20,
    }
    assert helped["training"]["steps"] == 24
    assert helped["training"]["resumed_at"] is None
    work = place / "index" / "training" / NAME
    assert json.loads((work / "report.json").read_text(encoding="utf-8")) == helped


def test_the_installed_one_works_everywhere(
    inside: Path, helped: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = inside / "models" / NAME
    assert helped["path"] == str(folder)
    asked = ["--index", "index", "--candidates", "12", "--json"]
    slips = dict.fromkeys(("minilm-l6", NAME), 0)
    for topic in TOPICS[::10]:
        for name in slips:
            assert main(["search", question(topic), *asked, "--reranker", name]) == 0
            first = json.loads(capsys.readouterr().out)["hits"][0]["passage"]["text"]
            slips[name] += first.startswith("Green slip")
    assert slips["minilm-l6"] <= 2
    assert slips[NAME] >= 5
    assert main(["models", "list"]) == 0
    assert f"✓ {NAME}\n" in capsys.readouterr().out
    assert main(["models", "verify", NAME]) == 0  # what it says was recorded when it was installed
    capsys.readouterr()


def test_its_card_tells_the_figures_and_no_query(inside: Path, helped: dict[str, Any]) -> None:
    card = (inside / "models" / NAME / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {NAME}\n")
    assert helped["sentences"][0] in card
    assert f"| dense 12 > {NAME} | {helped['rows'][2]['means']['nDCG@10']:.3f}" in card
    assert "Queries: 80 (judged queries), of which 48 to learn from, 12 to choose" in card
    written = [card, (inside / "index" / "training" / NAME / "report.json").read_text(encoding="utf-8")]
    assert not any(word in text for text in written for word in ("said of", "kettle", "warden"))


def test_no_score_of_the_base_is_taken_for_its_own(inside: Path, helped: dict[str, Any]) -> None:
    base, new = CrossEncoder("minilm-l6"), CrossEncoder(NAME)
    assert base.fingerprint != new.fingerprint
    config = json.loads((inside / "models" / NAME / "config.json").read_text(encoding="utf-8"))
    assert config["secondpass"]["trained_from"] == "minilm-l6"
    passages = ["Green slip 7, sealed by the board: the hollow bridge stays locked."]
    assert base.score(question("hollow bridge"), passages) != new.score(question("hollow bridge"), passages)


def test_killed_it_goes_on_and_ends_with_the_same_weights(
    place: Path, environment: dict[str, str], helped: dict[str, Any]
) -> None:
    again = training("--judged", "judged.jsonl", "--work", "work", "--name", "again", "--json")
    process = subprocess.Popen([sys.executable, "-m", "secondpass", *again], cwd=place, env=environment)
    wait_for(place / "work" / "checkpoint.pt", process)
    process.kill()  # SIGKILL
    assert process.wait() == -signal.SIGKILL
    assert not (place / "models" / "again").exists()
    done = run(place, environment, *again)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert 0 < found["training"]["resumed_at"] < 24
    assert found["training"]["checks"] == helped["training"]["checks"]
    graphs = [(place / "models" / name / "onnx" / "model.onnx").read_bytes() for name in (NAME, "again")]
    assert graphs[0] == graphs[1]
    assert not (place / "work" / "checkpoint.pt").exists()


def test_interrupted_it_says_how_to_go_on(place: Path, environment: dict[str, str]) -> None:
    command = training("--judged", "judged.jsonl", "--work", "stopped", "--name", "stopped")
    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", *command],
        cwd=place,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(place / "stopped" / "checkpoint.pt", process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the last checkpoint is in stopped: the same command goes on from there" in said
    assert "Traceback" not in said


def wait_for(file: Path, process: subprocess.Popen[Any]) -> None:
    for _ in range(3000):
        if file.exists():
            return
        assert process.poll() is None, "it ended before its time"
        time.sleep(0.05)
    raise AssertionError(f"{file} did not come")


def test_chance_is_not_installed(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    arguments = ("--pairs", "random.jsonl", "--name", "lucky", "--steps", "6")
    assert main([*training(*arguments)]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("cannot be told from chance: ")
    assert "not installed" in said.out
    assert max(map(len, said.out.splitlines())) <= 60
    assert not (inside / "models" / "lucky").exists()
    work = inside / "index" / "training" / "lucky"
    assert json.loads((work / "report.json").read_text(encoding="utf-8"))["installed"] is False
    assert (work / "lucky" / "onnx" / "model.onnx").is_file()  # to be looked at
    assert "cannot be told from chance" in (work / "lucky" / "README.md").read_text(encoding="utf-8")


def headed(number: int, topic: str) -> str:
    """A document with a heading, and a body in words of its own."""
    chance = random.Random(number)
    sounds = ["ba", "do", "fen", "gri", "lum", "mor", "nes", "pil", "rus", "tav", "wol", "zet"]
    words = ["".join(chance.sample(sounds, 2)) for _ in range(30)]
    return f"# Care of the {topic}\n\nThe {topic} wants {' '.join(words)}."


def test_an_index_alone_gives_queries_from_its_headings(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Index.open("headed") as index:
        index.add([Document(f"d{n}", headed(n, topic)) for n, topic in enumerate(TOPICS)])
    arguments = ("-n", "70", "--name", "headed", "--steps", "1", "--json", "--quiet")
    code = main(["train", "--index", "headed", "--candidates", "5", *arguments])
    shape = json.loads(capsys.readouterr().out)
    assert code == (0 if shape["installed"] else 1)
    assert shape["synthetic"] is True
    assert shape["queries"]["usable"] == 70
    assert any("synthetic" in sentence for sentence in shape["sentences"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--judged", "judged.jsonl", "--pairs", "random.jsonl"), 2, "give one of them"),
        (("--queries", "judged.jsonl"), 2, "it needs --judged"),
        (("--judged", "few.jsonl"), 2, "gives 3 different queries"),
        (("--judged", "absent.jsonl"), 2, "no file or folder absent.jsonl"),
        (("--judged", "unknown.jsonl"), 2, "is not in the index"),
        (("--pairs", "empty.jsonl"), 2, "'positive' is empty"),
        (
            ("--judged", "judged.jsonl", "--from", "late-interaction"),
            2,
            "late-interaction is of another kind",
        ),
        (("--judged", "judged.jsonl", "--from", "no-such-model"), 1, "no model 'no-such-model'"),
        (("--judged", "judged.jsonl", "--name", "a/b"), 2, "--name is one plain word"),
        (("--judged", "judged.jsonl", "--steps", "0"), 2, "steps must be at least 1"),
        (("--judged", "judged.jsonl", "--seed", "-1"), 2, "--seed is a whole number"),
        (("--judged", "judged.jsonl", "--index", "nowhere"), 1, "nowhere"),
        (("--judged", "judged.jsonl", "--work", "judged.jsonl"), 2, "holds other things than a training"),
    ],
)
def test_bad_input_is_told_in_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    rows = [json.dumps({"query": f"q{n}", "relevant": [f"slip-{n}"]}) for n in range(3)]
    Path("few.jsonl").write_text("\n".join(rows), encoding="utf-8")
    Path("unknown.jsonl").write_text(json.dumps({"query": "q", "relevant": ["x/y.txt"]}), encoding="utf-8")
    Path("empty.jsonl").write_text(json.dumps({"query": "q", "positive": []}), encoding="utf-8")
    before = sorted(inside.rglob("*"))
    assert main(["train", "--index", "index", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert said in err
    assert [each for each in sorted(inside.rglob("*")) if each not in before and each.suffix != ".db"] == []


@pytest.mark.parametrize("package", ["torch", "onnx", "ir_measures"])
def test_without_the_extra_it_says_what_to_install(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python itself marks what cannot be imported
    assert main(["train", "--index", "index", "--judged", "judged.jsonl"]) == 1
    said = capsys.readouterr().err
    assert package.replace("_", "-") in said
    assert "pip install 'secondpass[train]'" in said
