"""benchmarks/why.py and costs.py: how queries are parted and compared; docs/why.md against its figures."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from secondpass import Index, load_reranker

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


why, costs = script("why"), script("costs")


def row(collection: str, number: int, before: float, after: float, **traits: float) -> Any:
    values = {("dense", "nDCG@10"): before, ("dense 20 > minilm-l6", "nDCG@10"): after}
    return why.Row(collection, str(number), traits, values)


def test_parts_are_made_within_a_collection_and_equals_keep_together() -> None:
    rows = [row("short", number, 0, 0, words=number) for number in (1, 2, 3, 4)]
    rows += [row("long", number, 0, 0, words=number) for number in (10, 20, 20, 20, 30)]
    low, high = why.parted(rows, "words", 2)
    assert [each.traits["words"] for each in low] == [1, 2, 10, 20, 20, 20]
    assert [each.traits["words"] for each in high] == [3, 4, 30]


def test_a_gain_is_after_minus_before_over_the_same_queries() -> None:
    rows = [row("one", number, 0.25, 0.5) for number in range(3)] + [row("one", 3, 0.5, 0.25)]
    found = why.gain(rows, "dense 20 > minilm-l6", "dense")
    assert found["gain"][0] == pytest.approx(0.125)
    assert (found["before"], found["after"]) == (0.3125, 0.4375)
    assert (found["better"], found["worse"], found["queries"]) == (3, 1, 4)


def test_two_groups_are_apart_by_the_difference_of_their_gains() -> None:
    gaining = [row("one", number, 0.0, 0.4 + 0.01 * (number % 3)) for number in range(9)]
    losing = [row("one", number, 0.4, 0.3) for number in range(9)]
    middle, low, high = why.apart(gaining, losing, "dense 20 > minilm-l6", "dense")
    assert middle == pytest.approx(0.51)
    assert 0.5 <= low < middle < high <= 0.52


def test_rare_words_stand_in_few_texts() -> None:
    share = why.rare_words(["the harbour"] * 150 + ["the ferry"])
    assert share("The ferry") == 0.5
    assert share("nowhere") == 1.0
    assert share("?!") == 0.0


def collection(folder: Path) -> Path:
    """A BEIR folder in which one document answers each of three queries."""
    things = ("rope", "flour", "candle")
    texts = {thing: f"The {thing} is kept in the {thing} room of the old mill." for thing in things}
    texts |= {f"other{number}": f"Row {number} of the register names nobody." for number in range(60)}
    corpus = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in texts.items()]
    queries = [json.dumps({"_id": f"q-{thing}", "text": f"Where is the {thing}?"}) for thing in things]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries), encoding="utf-8")
    judged = "".join(f"q-{thing}\t{thing}\t1\n" for thing in things)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    return folder


def test_every_slice_comes_from_one_collecting(tmp_path: Path) -> None:
    rows = why.collected(collection(tmp_path / "mill"), tmp_path / "work", limit=10)
    assert [each.query_id for each in rows] == ["q-candle", "q-flour", "q-rope"]
    found = json.loads(json.dumps(why.sliced(rows)))
    dense = found["dense > minilm-l6"]
    assert dense["candidates"]["20"]["ceiling"] == 1.0
    assert dense["precision"]["R@20, 20 candidates"]["gain"] == [0, 0, 0]
    assert dense["small"]["50"]["after"] == 1.0
    assert found["hybrid"]["lexical"]["queries"] == 3


def test_a_cut_collection_ranks_as_an_index_of_those_documents(tmp_path: Path) -> None:
    folder = collection(tmp_path / "mill")
    corpus = list(why.documents(folder))
    with Index.open(tmp_path / "all") as index, Index.open(tmp_path / "some") as small:
        index.add(corpus)
        judged = why.read_judged(folder, index=index)
        asked = why.Row("mill", "q-flour", {})
        listed = index.candidates(judged.queries["q-flour"], None, len(index))
        why.cut(asked, 8, judged, listed, [load_reranker("minilm-l6")], [each.id for each in corpus])
        others = [each.id for each in corpus if each.id != "flour"]
        drawn = why.random.Random(f"{why.SEED} q-flour").sample(others, len(others))[:7]
        small.add([each for each in corpus if each.id in {"flour", *drawn}])
        hits = small.candidates(judged.queries["q-flour"], None, 10)
        run = {hit.passage.document_id: -float(place) for place, hit in enumerate(hits)}
    truth = why.evaluate_run({"q-flour": {"flour": 1}}, {"q-flour": run}, ["nDCG@10"])
    assert asked.value("8 documents: dense") == truth["nDCG@10"]["q-flour"]
    assert len(hits) == 8


# docs/why.md


def test_the_page_holds_the_costs_that_were_measured() -> None:
    page = costs.PAGE.read_text(encoding="utf-8")
    speed = costs.read("rerank_speed")
    assert page == costs.with_costs(page, costs.read("core"), speed), "run: python benchmarks/costs.py"


def test_costs_say_what_was_not_run() -> None:
    machine = {"cpu": "A CPU", "cores": 2}
    times = {"median": 51.6, "p95": 60.2}
    about = {"date": "2026-01-02", "commit": "abc1234", "machine": machine}
    speed = {**about, "candidates": {depth: {"ms": {"secondpass": times}} for depth in ("20", "100")}}
    page = f"before\n{costs.BEGIN}\nold\n{costs.END}\nafter\n"
    made = costs.with_costs(page, {}, speed)
    assert "| stage 1 alone, warm | not run yet |" in made
    assert "52 ms (p95 60) | ~250 ms |" in made
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert costs.with_costs(made, {}, speed) == made
