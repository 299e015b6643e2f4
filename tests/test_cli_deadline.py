"""``--deadline`` and the score cache on the command line, in this process."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from secondpass import Engine, Index
from secondpass.cli import main, render, side_by_side
from secondpass.scores import SCORES_FILE, ScoreCache
from secondpass.testing import HashEmbedder
from secondpass.types import Document, SearchResult

QUERY = "When is the oven lit?"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    lines = ["Bread is baked on Mondays.", "The oven is lit at four.", "Books are lent for three weeks."]
    for number, line in enumerate(lines * 4):
        (docs / f"{number}.txt").write_text(f"{line} Rule {number} of the house.")
    monkeypatch.chdir(tmp_path)
    for name in ("DEADLINE", "CACHE", "INDEX", "RERANKER"):
        monkeypatch.delenv(f"SECONDPASS_{name}", raising=False)
    assert main(["index", "docs", "-q"]) == 0
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_deadline_that_is_over_at_once_leaves_stage_1s_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "search", QUERY, "--deadline", "0.001ms", "--k", "5")
    assert [found[key] for key in ("scored", "copied", "cached", "unread")] == [0, 0, 0, 12]
    assert [hit["candidate"]["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert {(hit["score"], hit["probability"], hit["unread"]) for hit in found["hits"]} == {
        (None, None, True)
    }
    compared = told(capsys, "compare", QUERY, "--deadline", "0.001ms")["comparisons"][0]["rerankers"][0]
    assert (compared["scored"], compared["unread"], compared["changed"]) == (0, 12, 0)
    whole = told(capsys, "search", QUERY, "--deadline", "600s")
    assert (whole["scored"], whole["unread"]) == (12, 0)
    assert "The oven is lit" in whole["hits"][0]["passage"]["text"]


def test_a_search_takes_scores_from_the_one_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = (told(capsys, "search", QUERY) for _ in range(2))
    assert (first["cached"], again["cached"], again["scored"]) == (0, 12, 12)
    assert again["hits"] == first["hits"]
    assert told(capsys, "search", QUERY, "--no-cache")["cached"] == 0
    assert told(capsys, "search", QUERY, "--reranker", "late-interaction")["cached"] == 0
    assert told(capsys, "compare", QUERY)["comparisons"][0]["rerankers"][0]["cached"] == 0
    (folder / ".secondpass" / SCORES_FILE).write_bytes(b"damaged")
    assert told(capsys, "search", QUERY)["hits"] == first["hits"]
    capsys.readouterr()
    assert main(["search", QUERY]) == 0
    out, err = capsys.readouterr()
    assert "scored 12, 12 of them from the cache" in out
    assert err == ""


def test_no_cache_leaves_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "search", QUERY, "--no-cache")
    told(capsys, "compare", QUERY)
    assert not (folder / ".secondpass" / SCORES_FILE).exists()


def test_a_wrong_deadline_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["search", QUERY, "--deadline", "soon"]) == 2
    assert capsys.readouterr().err == "error: --deadline must be a time such as 100ms or 0.5s, got 'soon'\n"


class ByNumber:
    """Scores a text by its last word."""

    name = "by-number"
    fingerprint = "by-number 1"

    def score(self, query, passages):
        import numpy as np

        return np.array([float(text.split()[-1]) for text in passages], dtype=np.float32)


def result(tmp_path: Path, **limits: Any) -> SearchResult:
    with Index.open(tmp_path / "index", embedder=HashEmbedder()) as index, ScoreCache() as cache:
        index.add([*(Document(f"{n}", f"text {n}") for n in range(8)), Document("twin", "text  7")])
        engine = Engine(index, ByNumber(), cache=cache)
        engine.search("text", k=3, candidates=4)
        return engine.search("text", k=6, **limits)


def shown(found: SearchResult, width: int) -> str:
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    render.show_search(out, found, ["stage 2 by-number"])
    return out.file.getvalue()  # type: ignore[attr-defined]


def test_the_footer_says_what_became_of_each_candidate(tmp_path: Path) -> None:
    some = result(tmp_path, deadline_ms=0)
    text = shown(some, 60)
    assert some.unread > 0
    of_cached = f"scored {some.scored} of 9, then the deadline came, {some.cached} of them from the cache"
    assert of_cached in " ".join(text.split())
    assert text.count("not read: the deadline came first") == sum(hit.unread for hit in some.hits)
    assert "inf" not in text
    whole = result(tmp_path)
    assert (whole.scored, whole.copied) == (8, 1)
    assert "scored 8, 4 of them from the cache, and 1 with the same text" in " ".join(
        shown(whole, 100).split()
    )
    assert max(map(len, shown(some, 60).splitlines())) <= 60


def test_a_comparison_says_what_was_not_read(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", embedder=HashEmbedder()) as index:
        index.add(Document(f"{n}", f"text {n}") for n in range(8))
        compared = Engine(index).compare("text", [ByNumber()], deadline_ms=0)
    out = Console(file=io.StringIO(), width=60, highlight=False, markup=False, emoji=False)
    side_by_side.show_comparison(out, compared)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "inf" not in text
    assert text.count("not read: the deadline came first") == 3
    assert "re-ranking changed 0 of 3 (scored 0 of 8, then the deadline came)" in " ".join(text.split())
