"""The scripts in benchmarks/: what they make of text and times, and the README against the JSON beside it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from secondpass import Document, Index, RecursiveSplitter

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


common, texts, tables = script("common"), script("texts"), script("tables")
rerank_speed, search_scaling, indexing_speed = map(
    script, ("rerank_speed", "search_scaling", "indexing_speed")
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of text whose passages all differ."""
    folder = tmp_path_factory.mktemp("corpus")
    places = ("harbour", "mill", "chapel", "market")
    things = "rope flour candle apple barrel ladder lantern kettle basket hammer".split()  # noqa: SIM905
    for place in places:
        lines = [
            f"The {place} keeps a {thing} beside the {other}. Whoever asks the {place} for a {thing} may "
            f"take the {other} too. Nobody has ever brought the {thing} back. So it has always been."
            for thing in things
            for other in things
        ]
        (folder / f"{place}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return folder


# The README


def test_the_readme_holds_what_the_json_files_say() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert readme == tables.with_tables(readme, tables.figures()), "run: python benchmarks/tables.py"


def test_every_script_is_in_the_readme() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for path in BENCHMARKS.glob("*.py"):
        if "def main()" in path.read_text(encoding="utf-8"):
            assert f"`{path.name}" in readme or f"benchmarks/{path.name}" in readme, path.name


def test_committed_figures_are_of_full_runs_and_their_targets_follow_from_them() -> None:
    for name, figures in tables.figures().items():
        assert figures["quick"] is False, name
        for each in figures["targets"]:
            met = (
                each["measured"] >= each["wanted"]
                if each["sign"] == ">="
                else each["measured"] <= each["wanted"]
            )
            assert each["met"] == met, (name, each["what"])


def times(value: float) -> dict[str, float]:
    return {"min": value, "median": value, "p95": value * 2, "max": value * 2, "runs": 5}


def test_tables_show_figures_and_what_was_missed() -> None:
    about = {
        "date": "2026-01-02",
        "commit": "abc1234",
        "machine": {"cpu": "A CPU", "flags": ["avx2"], "cores": 2},
        "quick": False,
        "threads": 2,
    }
    passes = {"total": times(12.34)}
    found = {
        "search_scaling": {
            **about,
            "targets": [common.target("stage 1", 12.34, at_most=15, unit="ms")],
            "vectors": "real",
            "passages": {
                "10000": {
                    "build_seconds_without_embedding": 1.5,
                    "disk_mb": 47.2,
                    **dict.fromkeys(("dense", "lexical", "hybrid", "both_20", "both_100"), passes),
                    "dense_recall_at_20": 0.9951,
                    "stage1_peak_memory_mb": 140.0,
                    "both_peak_memory_mb": 1234.5,
                    "cold_search": {"ms": times(612.0)},
                    "reranker": "minilm-l6",
                }
            },
        },
        "indexing_large": {
            **about,
            "targets": [common.target("memory", 900, at_most=800, unit="MB")],
            "passages": 100_000,
            "seconds": 250.0,
            "passages_per_second": 400.0,
            "peak_memory_mb": 900.0,
            "disk_mb": 450.0,
            "stage1_ms": {"embed": times(2.5), "search": times(5.0), "total": times(7.5)},
        },
    }
    text = tables.tables(found)
    assert "| stage 1 | <= 15 ms | 12.3 ms | yes |" in text
    assert "| memory | <= 800 MB | 900 MB | no |" in text
    missing = ("rerank_speed", "indexing_speed", "precompute", "eval_speed", "serve_load", "serve_speed")
    assert f"Not run yet: {', '.join(f'`{name}.py`' for name in missing)}." in text
    assert "| 10,000 | 1.50 s | 47.2 MB | 12.3 / 24.7 |" in text
    assert "| 0.995 | 140 / 1,234 MB | 0.61 s |" in text
    assert "100,000 passages in 250 s (400/s)" in text
    between = f"a\n{tables.BEGIN}\nold\n{tables.END}\nb\n"
    assert tables.with_tables(between, found).startswith(f"a\n{tables.BEGIN}\n\n### Targets")
    assert tables.with_tables(between, found).endswith(f"{tables.END}\nb\n")


# Times


def test_ratios_are_taken_round_by_round() -> None:
    assert common.ratios([10, 20, 30], [20, 60, 120]) == {
        "median": 3.0,
        "quartile1": 2.5,
        "quartile3": 3.5,
        "rounds": 3,
    }
    assert common.ratios([10], [25])["median"] == 2.5


def test_a_target_is_met_from_its_bound_on() -> None:
    assert common.target("a", 3.0, at_least=3.0)["met"]
    assert not common.target("a", 2.99, at_least=3.0)["met"]
    assert common.target("a", 3.0, at_most=3.0)["met"]
    assert not common.target("a", 3.01, at_most=3.0)["met"]
    with pytest.raises(ValueError, match="bound"):
        common.target("a", 1.0)


def test_contenders_take_turns_on_the_same_candidates() -> None:
    asked: list[tuple[str, str, int]] = []

    def scorer(name: str) -> Any:
        def score(query: str, passages: list[str]) -> np.ndarray:
            asked.append((name, query, len(passages)))
            return np.zeros(len(passages))

        return score

    work = [(f"q{number}", ["p"] * 50) for number in range(3)]
    spent = rerank_speed.rounds({name: scorer(name) for name in "abc"}, work, 20, 4)
    assert {name: len(each) for name, each in spent.items()} == {"a": 4, "b": 4, "c": 4}
    timed = asked[3:]
    assert "".join(name for name, _, _ in timed) == "abcbcacababc"
    assert [query for _, query, _ in timed[::3]] == ["q0", "q1", "q2", "q0"]
    assert {count for _, _, count in asked} == {20}


def test_agreement_is_about_the_first_three() -> None:
    truth = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    given = {
        rerank_speed.TRUTH: truth,
        "same": truth * 2,
        "swapped": np.array([4.0, 5.0, 3.0, 2.0, 1.0]),
        "other": np.array([5.0, 4.0, 1.0, 2.0, 3.5]),
    }
    scorers = {name: lambda _query, _passages, scores=scores: scores for name, scores in given.items()}
    found = rerank_speed.agreement(scorers, [("q", ["p"] * 5)] * 2, 5)
    assert found["same"] == {"top3_same_set": 1, "top3_same_order": 1, "max_score_difference": 5.0}
    assert found["swapped"] == {"top3_same_set": 1, "top3_same_order": 0, "max_score_difference": 1.0}
    assert found["other"]["top3_same_set"] == 0


# Text


def test_questions_are_sentences_of_the_text(corpus: Path, tmp_path: Path) -> None:
    found = texts.documents(corpus, tmp_path)
    assert [each.id for each in found] == [each.id for each in texts.documents(corpus, tmp_path)]
    questions = texts.questions(found, 12)
    assert len(set(questions)) == 12
    whole = " ".join(each.text for each in found).lower().replace(".", "")
    for question in questions:
        assert 5 <= len(question.split()) <= 16
        assert all(word in whole for word in question.split())


def test_the_first_documents_have_at_least_so_many_passages(corpus: Path, tmp_path: Path) -> None:
    found = texts.documents(corpus, tmp_path)
    some = texts.first_with(found, 5)
    assert some == found[: len(some)]
    splitter = RecursiveSplitter()
    assert sum(len(splitter.split(each)) for each in some) >= 5
    assert sum(len(splitter.split(each)) for each in some[:-1]) < 5


def test_a_mixed_text_is_half_of_each_of_two(corpus: Path, tmp_path: Path) -> None:
    real = [each.text for each in texts.passages_of(texts.documents(corpus, tmp_path))]
    made = texts.mixed(real, 3)
    assert made == texts.mixed(real, 3)
    assert made != texts.mixed(real, 4)
    for text, one, other in made[:50]:
        assert text.split(" ")[0] == real[one].split(" ")[0]
        assert text.split(" ")[-1] == real[other].split(" ")[-1]
        assert len(text) == pytest.approx((len(real[one]) + len(real[other])) / 2, rel=0.2)


# Sizes


def test_an_index_of_real_and_mixed_passages_is_built_and_searched(corpus: Path, tmp_path: Path) -> None:
    made = search_scaling.Corpus(corpus, tmp_path, 60)
    assert len(made.texts) == 60
    size = 1500  # more than a block of mixed ones
    blocks = list(made.blocks(size))
    assert sum(len(given) for given, _ in blocks) == size
    vectors = np.concatenate([each for _, each in blocks])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[:60], made.vectors)
    built = search_scaling.build(made, size, tmp_path / "index")
    assert built["passages"] == size
    assert built["real_texts"] == 60
    assert built["distinct_texts"] == size
    with Index.open(tmp_path / "index", create=False) as index:
        assert len(index) == size
        question = made.questions[0]
        assert search_scaling._recall(made, size, index, made.questions[:5]) == 1.0
        (hit,) = index.search(question, 1)
        assert hit.score == pytest.approx(float((vectors @ index.embed_query(question)).max()), abs=1e-4)


def test_a_corpus_too_small_for_a_size_is_refused(corpus: Path, tmp_path: Path) -> None:
    made = search_scaling.Corpus(corpus, tmp_path, 10)
    with pytest.raises(SystemExit, match="too small for 2,000 passages"):
        list(made.blocks(2000))


def test_slices_hold_every_passage_once(corpus: Path, tmp_path: Path) -> None:
    found = texts.documents(corpus, tmp_path)
    found = [*found, Document("copy", found[0].text), Document("more", "A last one, all by itself. " * 90)]
    made = indexing_speed.slices(found, 4, 99)
    given = [text for _, passages in made for text in passages]
    assert len(given) == len(set(given))
    documents = [document for part, _ in made for document in part]
    assert documents == found[: len(documents)]
    assert set(given) == {each.text for each in texts.passages_of(documents)}


def test_many_documents_come_until_there_is_enough(corpus: Path, tmp_path: Path) -> None:
    splitter = RecursiveSplitter()
    made = list(indexing_speed.many(corpus, tmp_path, 300))
    assert len({each.id for each in made}) == len(made)
    count = sum(len(splitter.split(each)) for each in made)
    assert 300 <= count <= 340
    few = list(indexing_speed.many(corpus, tmp_path, 2))
    assert few == made[: len(few)]
    assert len(few) == 1


def test_figures_are_written_with_what_they_depend_on(tmp_path: Path) -> None:
    path = common.write("made", {"value": 1}, tmp_path, ("numpy", "no-such-package"))
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["value"] == 1
    assert written["versions"] == {"numpy": np.__version__}
    assert written["machine"]["cores"] >= 1
    assert written["commit"]
