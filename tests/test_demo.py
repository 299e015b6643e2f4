"""The demo: its text, and the whole of it once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from secondpass.cli.corpus import MODULES, build_corpus
from secondpass.cli.demo import QUESTIONS
from secondpass.splitting import RecursiveSplitter
from secondpass.types import Document

PROGRAM = "import pathlib, secondpass.cli.corpus as c; c.build_corpus(pathlib.Path('corpus'))"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in a process of its own: other tests load packages that exchange functions of `logging`."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, cwd=folder)
    return folder / "corpus"


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())}


def test_there_is_enough_text(corpus: Path) -> None:
    texts = contents(corpus)
    modules = [name for name in texts if not name.startswith("help-")]
    assert len(modules) >= 60
    assert len(modules) >= 0.9 * len(MODULES)
    splitter = RecursiveSplitter()
    passages = [
        passage.text for name, text in texts.items() for passage in splitter.split(Document(name, text))
    ]
    assert 2000 < len(set(passages)) < 4000


def test_the_text_is_the_documentation(corpus: Path) -> None:
    texts = contents(corpus)
    assert texts["textwrap.txt"].startswith("textwrap\n\nText wrapping and filling.\n")
    assert "\ntextwrap.dedent(text)\n    Remove any common leading whitespace" in texts["textwrap.txt"]
    assert "secrets.compare_digest" in texts["secrets.txt"]


def test_the_text_depends_on_the_version_of_python_alone(corpus: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, cwd=tmp_path, env={"PYTHONHASHSEED": "7", "LANG": "C"}
    )
    assert contents(tmp_path / "corpus") == contents(corpus)
    everything = "".join(contents(corpus).values())
    assert not re.search(r" at 0x[0-9a-f]{6,}", everything)
    for machine in {str(Path.home()), sys.prefix, sys.base_prefix} - {"/", "/usr"}:
        assert machine not in everything


def test_the_text_is_written_once_for_a_version(tmp_path: Path) -> None:
    folder = build_corpus(tmp_path / "corpus")
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    (folder / "old.txt").write_text("of another version")
    build_corpus(folder)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    (stamp,) = tmp_path.glob("*.txt")
    stamp.write_text("cpython 3.1.0")
    build_corpus(folder)
    assert not (folder / "old.txt").exists()
    assert set(folder.iterdir()) == set(before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_from_nothing_and_once_more(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "secondpass", "demo", "--folder", str(tmp_path), "--json"]
    first, second = (
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(2)
    )
    assert first["index"]["total"]["passages"] > 2000
    assert first["index"]["embedded"] > 2000
    assert (second["index"]["embedded"], second["index"]["unchanged"]) == (0, first["index"]["added"])
    for value in (first, second):
        assert [each["query"] for each in value["comparisons"]] == list(QUESTIONS)
        assert all(len(each["rerankers"][0]["hits"]) == 3 for each in value["comparisons"])
        assert value["summary"]["queries"] == 5
    hits = [
        [hit["passage"]["id"] for each in value["comparisons"] for hit in each["rerankers"][0]["hits"]]
        for value in (first, second)
    ]
    assert hits[0] == hits[1]
    human = subprocess.run(command[:-1], check=True, capture_output=True, text=True)
    assert human.stderr == ""
    assert all(f"\n{question}\n" in human.stdout for question in QUESTIONS)
    assert human.stdout.count("\nre-ranking changed ") == 5
    assert human.stdout.endswith("\nnext: secondpass index your/folder\n")
