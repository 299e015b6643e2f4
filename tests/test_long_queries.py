"""Queries that are longer than a re-ranker reads: left out of what is measured, and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondpass.cli import main

TREES = [
    "alder",
    "ash",
    "aspen",
    "beech",
    "birch",
    "cedar",
    "cherry",
    "chestnut",
    "cypress",
    "elm",
    "fir",
    "hazel",
    "holly",
    "juniper",
    "larch",
    "lime",
    "maple",
    "oak",
    "pear",
    "pine",
    "plum",
    "poplar",
    "rowan",
    "spruce",
    "walnut",
    "willow",
    "yew",
    "acacia",
    "almond",
    "apple",
]
LONG = "Where does the tree stand that my grandmother spoke of when we walked home along the brook? " * 30


@pytest.fixture
def wood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty documents, their index, and judged queries of which one has some 600 tokens."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wood").mkdir()
    rows = []
    for place, tree in enumerate(TREES):
        text = f"The {tree} stands in row {place}, beside the path to field {place % 7}."
        (tmp_path / "wood" / f"{tree}.txt").write_text(text, encoding="utf-8")
        rows.append({"id": tree, "query": f"Where does the {tree} stand?", "relevant": [f"wood/{tree}.txt"]})
    rows.insert(0, {"id": "long", "query": LONG, "relevant": ["wood/oak.txt"]})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "judged.jsonl").write_text(text, encoding="utf-8")
    assert main(["index", "wood", "--quiet"]) == 0
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    code = main(list(arguments))
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    return " ".join(said.out.split())


def test_eval_leaves_it_out_and_says_so(wood: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "eval", "judged.jsonl")
    assert "30 queries from judged.jsonl" in out
    assert "1 query left out as too long for a model, e.g. long: the query has" in out
    shape = json.loads(run(capsys, "eval", "judged.jsonl", "--json"))
    assert (shape["queries"], list(shape["refused"])) == (30, ["long"])
    (wood / "before.json").write_text(json.dumps(shape), encoding="utf-8")
    assert "no setting fell" in run(capsys, "eval", "judged.jsonl", "--baseline", "before.json")


def test_worth_it_leaves_it_out_and_says_so(wood: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "worth-it", "--judged", "judged.jsonl", "--quiet")
    assert "1 query left out as too long for a model, e.g. long:" in out
    (wood / "queries.txt").write_text(LONG + "\n" + "Where does the oak stand?\n", encoding="utf-8")
    out = run(capsys, "worth-it", "--queries", "queries.txt", "--quiet")
    assert "1 query left out as too long for a model" in out


def test_calibrate_leaves_it_out_and_says_so(wood: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "30 of 31 queries" in run(capsys, "calibrate", "judged.jsonl", "--quiet")


@pytest.mark.parametrize("command", [["eval"], ["worth-it", "--judged"], ["calibrate"]])
def test_where_all_are_too_long_it_is_one_error(
    wood: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    rows = [{"id": str(n), "query": f"{n} {LONG}", "relevant": ["wood/oak.txt"]} for n in range(12)]
    (wood / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    capsys.readouterr()
    assert main([*command, "judged.jsonl", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "ask a shorter question" in err
    assert err.count("\n") == 1
