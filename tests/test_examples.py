"""Every example runs in a process of its own, offline, and shows what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_models
from secondpass import load_reranker

EXAMPLES = Path(__file__).parent.parent / "examples"
HANDBOOK = EXAMPLES / "data" / "tool_library.txt"

WATCH_THE_NETWORK = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments[1:]}\\n")

sys.addaudithook(watch)
"""


COLOURS = ["red", "green", "white", "orange", "black", "grey"]


class Runner:
    """Runs an example away from the repository and keeps what it asked of the network."""

    def __init__(self, folder: Path) -> None:
        self.network_log = folder / "network.log"
        self.network_log.touch()
        self.work = folder / "work"
        self.work.mkdir()
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(WATCH_THE_NETWORK)
        self.environment = os.environ | {
            "PYTHONPATH": str(hook),
            "NETWORK_LOG": str(self.network_log),
            "PYTHONIOENCODING": "utf-8",
            "HAYSTACK_TELEMETRY_ENABLED": "False",
        }

    def __call__(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=self.work,
            env=self.environment,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        outside = [line for line in self.network_log.read_text().splitlines() if "('127.0.0.1'" not in line]
        assert outside == []
        assert list(self.work.iterdir()) == []  # an example leaves nothing behind
        return done.stdout


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_the_network_is_watched(run: Runner) -> None:
    subprocess.run(
        [sys.executable, "-c", "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"],
        env=run.environment,
        check=True,
    )
    assert "socket.connect" in run.network_log.read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_is_tested_here(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 30
    assert f'run("{path.name}"' in Path(__file__).read_text(encoding="utf-8")


def test_search_a_folder_reads_the_handbook(run: Runner) -> None:
    output = run("search_a_folder.py")
    assert re.match(r"documents: 1, passages: \d\d\n", output)
    blocks = output.split("\n\n")[1:]
    assert len(blocks) == 3
    for block in blocks:
        scores = [float(score) for score in re.findall(r"\(stage 1: +\d+\) +(-?\d+\.\d+)", block)]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    lines = HANDBOOK.read_text(encoding="utf-8").splitlines()
    asked, first, *_ = blocks[2].splitlines()
    assert asked == "When do I get the deposit back?"
    line = int(re.search(r"tool_library\.txt:(\d+) ", first)[1])
    assert "deposit" in " ".join(lines[line - 1 : line + 10])


def test_search_a_folder_takes_a_folder_and_queries(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "bees.md").write_text("# Bees\n\nThe hives face south-east and are opened in April.\n")
    (folder / "boats.txt").write_text("The ferry leaves at noon.\n\nA ticket for the ferry costs four.\n")
    output = run("search_a_folder.py", str(folder), "When does the ferry leave?", "Where do the hives face?")
    assert output.startswith("documents: 2, passages: ")
    ferry, hives = output.split("\n\n")[1:]
    assert "boats.txt:1 " in ferry.splitlines()[1]
    assert "bees.md:" in hives.splitlines()[1]


def test_score_passages_shows_the_rerankers_scores(run: Runner) -> None:
    query = "What does the ferry cost?"
    passages = ["The hives face south-east.", "A ticket for the ferry costs four.", "The ferry is blue."]
    head, *rows = run("score_passages.py", query, *passages).splitlines()
    reranker = load_reranker("auto")
    assert head == f"{reranker.name}: {query}"
    scores = dict(zip(passages, reranker.score(query, passages).tolist(), strict=True))
    best_first = sorted(passages, key=lambda passage: -scores[passage])
    assert best_first[0] == passages[1]
    assert [row.split(maxsplit=1)[1] for row in rows] == best_first
    shown = [float(row.split()[0]) for row in rows]
    assert shown == pytest.approx([scores[text] for text in best_first], abs=6e-4)


def test_score_passages_has_its_own_passages(run: Runner) -> None:
    head, *rows = run("score_passages.py").splitlines()
    assert head.endswith("How do I get my deposit back?")
    assert len(rows) == 4
    assert "deposit is returned in full" in rows[0]


def test_langchain_two_stage_shows_both_lists(run: Runner) -> None:
    output = run("langchain_two_stage.py")
    assert output.count("Stage 2: ") == 2
    assert output.count("read 20 candidates") == 2
    assert [int(n) <= 3 for n in re.findall(r"Re-ranking changed (\d) of 3", output)] == [True, True]
    benefits, risks = output.split("Query: ")[1:]
    assert benefits.startswith("What are the key benefits mentioned?\n")
    assert risks.startswith("Are there any risks or downsides?\n")
    scores = [float(score) for score in re.findall(r"\| score (-?\d+\.\d+)", output)]
    assert len(scores) == 6
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert [f"{score:7.3f}  line " in output for score in scores] == [True] * 6
    values = [float(value) for value in re.findall(r"value (\d+\.\d+) ", output)]
    assert values[:3] == sorted(values[:3])  # Chroma's distances: nearest first


def test_langchain_two_stage_takes_a_file_and_queries(run: Runner, tmp_path: Path) -> None:
    text = tmp_path / "boats.txt"
    text.write_text("\n\n".join(f"This boat is {colour}. " + "It leaks. " * 40 for colour in COLOURS))
    output = run("langchain_two_stage.py", str(text), "Which boat is orange?")
    line = 1 + 2 * COLOURS.index("orange")
    assert re.match(rf" *-?\d+\.\d+  line {line}\n", output)


def test_langchain_compressor_shows_the_numbers_of_both_stages(run: Runner) -> None:
    output = run("langchain_compressor.py")
    deposit, risks = re.split(r"^(?=\w.*\?$)", output, flags=re.MULTILINE)[1:]
    assert deposit.startswith("When do I get the deposit back?\n")
    assert risks.startswith("Are there any risks or downsides?\n")
    row = r"^ *(-?\d+\.\d+)  line (\d+)  \(cosine (-?\d+\.\d+), was (\d+)\)$"
    for block in (deposit, risks):
        rows = re.findall(row, block, re.MULTILINE)
        assert len(rows) == 3
        scores = [float(score) for score, *_ in rows]
        assert scores == sorted(scores, reverse=True)
        by_place = sorted(rows, key=lambda each: int(each[3]))
        cosines = [float(cosine) for _, _, cosine, _ in by_place]
        assert cosines == sorted(cosines, reverse=True)
        assert all(1 <= int(was) <= 20 for *_, was in rows)
    lines = HANDBOOK.read_text(encoding="utf-8").splitlines()
    line = int(re.findall(row, deposit, re.MULTILINE)[0][1])
    assert "deposit" in " ".join(lines[line - 1 : line + 10])


def test_langchain_compressor_takes_a_file_and_queries(run: Runner, tmp_path: Path) -> None:
    text = tmp_path / "boats.txt"
    text.write_text("\n\n".join(f"This boat is {colour}. " + "It leaks. " * 40 for colour in COLOURS))
    head, first, *_ = run("langchain_compressor.py", str(text), "Which boat is white?").splitlines()
    assert head == "Which boat is white?"
    assert f"  line {1 + 2 * COLOURS.index('white')}  " in first


def test_compare_rerankers_shows_each_beside_stage_1(run: Runner, tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "tiny", "bert", positions=256)
    names = ["late-interaction", str(folder)]
    question, stage1, *passes = run("compare_rerankers.py", *names).split("\n\n")
    assert question == "Are there any risks or downsides discussed?"
    assert stage1.startswith("stage 1 alone\n")
    firsts = [row[-80:] for row in stage1.splitlines()[1:]]
    assert len(firsts) == 3
    assert [block.split(": ")[0] for block in passes] == ["late-interaction", "tiny"]
    for block in passes:
        head, *rows = block.splitlines()
        assert len(rows) == 3
        scores = [float(row.split()[1]) for row in rows]
        assert scores == sorted(scores, reverse=True)
        new = [row for row in rows if row[-80:] not in firsts]
        assert f": {len(new)} of 3 new, " in head
        assert all("  new  " in row for row in new)
        assert sum("  new  " in row for row in rows) == len(new)


def test_compare_rerankers_compares_what_ships(run: Runner) -> None:
    heads = [block.split(": ")[0] for block in run("compare_rerankers.py").split("\n\n")[2:]]
    assert heads == ["late-interaction", "minilm-l6"]


@pytest.mark.parametrize("name", ["llamaindex_two_stage.py", "haystack_two_stage.py"])
def test_a_framework_shows_the_second_pass(run: Runner, name: str) -> None:
    output = run("llamaindex_two_stage.py") if name.startswith("llama") else run("haystack_two_stage.py")
    rows = re.findall(r"^ *(-?\d+\.\d+)  line (\d+)(?:, was (\d+))?$", output, re.MULTILINE)
    assert len(rows) == (6 if name.startswith("llama") else 3)
    lines = HANDBOOK.read_text(encoding="utf-8").splitlines()
    for head in range(0, len(rows), 3):
        scores = [float(score) for score, _, _ in rows[head : head + 3]]
        assert scores == sorted(scores, reverse=True)
        line = int(rows[head][1])
        assert "deposit" in " ".join(lines[line - 1 : line + 10])
    assert all(1 <= int(was) <= 20 for _, _, was in rows[-3:])
    if name.startswith("llama"):  # both ways are the same second pass
        assert [row[:2] for row in rows[:3]] == [row[:2] for row in rows[3:]]


def test_rerankers_library_ranks_what_it_is_given(run: Runner) -> None:
    query = "What does the ferry cost?"
    passages = ["The hives face south-east.", "A ticket for the ferry costs four.", "The ferry is blue."]
    rows = run("rerankers_library.py", query, *passages).splitlines()
    scores = dict(zip(passages, load_reranker("auto").score(query, passages).tolist(), strict=True))
    best_first = sorted(passages, key=lambda passage: -scores[passage])
    assert [row.split(maxsplit=2)[2] for row in rows] == best_first
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    shown = [float(row.split()[1]) for row in rows]
    assert shown == pytest.approx([scores[text] for text in best_first], abs=6e-4)


def test_rerankers_library_has_its_own_passages(run: Runner) -> None:
    assert "deposit is returned" in run("rerankers_library.py").splitlines()[0]


def test_ask_offline_quotes_and_writes(run: Runner) -> None:
    quoted, written = run("ask_offline.py").strip().split("\n\n", 1)
    assert quoted.startswith("When do I get the deposit back? (quoted)\n“")
    assert "“It is returned in full when the machine comes back clean" in quoted
    assert re.search(r"  \[1\] tool_library\.txt:\d+", quoted)
    head, *said = written.splitlines()
    assert head.startswith("When do I get the deposit back? (SmolLM2-135M-Instruct")
    assert "".join(said).strip()
