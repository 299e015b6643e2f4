"""``secondpass eval`` with real weights: a small index made by hand, and the ADI collection."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from secondpass.cli import main
from secondpass.evaluation import beir
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.trials import collect
from secondpass.index import Index
from secondpass.reranking import load_reranker
from secondpass.scores import SCORES_FILE, CachedReranker, ScoreCache

FACTS = {
    "ferry": ("When does the ferry leave?", "The ferry to Lower Quay leaves at seven in the morning."),
    "bread": ("On which day is bread baked?", "Bread is baked on Mondays, rolls on every day but Sunday."),
    "hives": ("Where do the hives face?", "The hives face south-east, towards the willow."),
    "books": ("How long are books lent?", "Books are lent for three weeks, and a late one costs a crown."),
    "beans": ("When are beans planted?", "Beans are planted when the nights are mild."),
    "mill": ("What drives the mill?", "The mill is driven by the brook behind the church."),
}
FAST = ("--reranker", "late-interaction")
ADI = Path(__file__).parents[2] / "shared" / "data" / "collections" / "adi"
shared = pytest.mark.shared
needs_adi = pytest.mark.skipif(not ADI.is_dir(), reason="needs ../shared")


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with documents (one of them twice), their index, and judgments."""
    folder = tmp_path_factory.mktemp("eval")
    (folder / "notes").mkdir()
    for name, (_, text) in FACTS.items():
        (folder / "notes" / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "notes" / "timetable.txt").write_text(FACTS["ferry"][1] + "\n", encoding="utf-8")
    rows = [{"query": query, "relevant": [f"notes/{name}.txt"]} for name, (query, _) in FACTS.items()]
    rows[0]["relevant"] = ["notes/timetable.txt"]
    rows[1]["relevant"] = ["notes/bread.txt", "notes/bakery.txt"]
    (folder / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["index", str(folder / "notes"), "--index", str(folder / ".secondpass"), "--quiet"]) == 0
    return folder


@pytest.fixture
def here(village: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(village)
    monkeypatch.delenv("COLUMNS", raising=False)
    return village


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["eval", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_says_the_ceiling_first_then_the_figures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "judged.jsonl", *FAST)
    assert (code, err) == (0, "")
    assert out.startswith("first relevant document, share of 6 queries\n100%  in the top 3 already\n")
    assert "dense 20 > late-interaction" in out
    assert "nDCG@10 against the same stage 1 alone" in out
    assert "6 queries from judged.jsonl, documents judged, 7 passages" in out
    assert "1 of what is judged relevant (1 query) is not in the index, e.g. 'notes/bakery.txt'" in out
    assert "A document scores as its best passage; lists are 100 passages deep" in out


def test_its_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "judged.jsonl", *FAST, "--stage1", "all", "--measures", "RR@10, R@5", "--json")
    shape = json.loads(out)
    assert code == 0
    assert shape["measures"] == ["RR@10", "R@5"]
    assert [row["name"] for row in shape["rows"]] == [
        f"{stage1}{rest}"
        for stage1 in ("dense", "lexical", "hybrid")
        for rest in ("", " 20 > late-interaction")
    ]
    assert [each["stage1"] for each in shape["ceilings"]] == ["dense", "lexical", "hybrid"]
    assert list(shape["missing"].values()) == [["notes/bakery.txt"]]
    alone, reranked = shape["rows"][:2]
    assert alone["against"] == {}
    assert sum(reranked["against"]["RR@10"][name] for name in ("wins", "losses", "ties")) == 6
    assert reranked["latency_ms"] > alone["latency_ms"] > 0
    for place, row in enumerate(shape["rows"]):
        values = [each["values"]["RR@10"][place] for each in shape["per_query"]]
        assert row["means"]["RR@10"] == pytest.approx(np.mean(values), abs=1e-5)
    # The timetable is a copy of the ferry's note: found with it, and below it.
    ferry = shape["per_query"][0]
    assert ferry["query"] == FACTS["ferry"][0]
    assert ferry["values"]["RR@10"][0] == 0.5


@pytest.mark.parametrize("columns", ["60", "40"])
def test_it_fits_a_narrow_terminal(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    every = ("--measures", "nDCG@10 RR@10 R@20 P@3 AP Rprec", "--per-query", "--stage1", "all")
    code, out, _ = run(capsys, "judged.jsonl", *FAST, *every)
    assert code == 0
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "\x1b" not in out
    assert "Rprec" in out
    for query, _ in FACTS.values():
        assert query.split()[-1] in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "JUDGMENTS"),
        (("nowhere.jsonl",), "no file or folder nowhere.jsonl"),
        (("judged.jsonl", "--index", "nowhere"), "there is no index"),
        (("judged.jsonl", "--reranker", "nobody"), "no model 'nobody'"),
        (("judged.jsonl", "--reranker", "gated"), "'gated'"),
        (("judged.jsonl", "--measures", "niceness@3"), "niceness@3"),
        (("judged.jsonl", "--measures", " "), "--measures"),
        (("judged.jsonl", "--stage1", "sparse"), "--stage1"),
        (("judged.jsonl", "--baseline", "nowhere.json"), "no baseline nowhere.json"),
        (("judged.jsonl", "--baseline", "judged.jsonl"), "holds no JSON"),
        (("judged.jsonl", "--fail-under", "-0.1"), "--baseline"),
        (("judged.jsonl", "--run-out", "no/folder/run.txt"), "no folder"),
        (("judged.jsonl", "--run-out", "judged.jsonl"), "would overwrite"),
        (("judged.jsonl", "--run", "nowhere.txt"), "nowhere.txt"),
        (("judged.jsonl", "--run", "run.txt", "--stage1", "dense"), "leave out"),
        (("judged.jsonl", "--export", "ragas"), "--export-to"),
        (("judged.jsonl", "--export", "csv", "--export-to", "x"), "--export"),
        (("judged.jsonl", "--export", "jsonl", "--export-to", "notes/mill.txt"), "no such export"),
        (("lost.jsonl",), "is not in the index"),
        (("zero.jsonl",), "nothing in zero.jsonl is judged relevant"),
        (("empty.jsonl",), "is empty"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    (here / "lost.jsonl").write_text('{"query": "what", "relevant": ["gone.txt"]}\n', encoding="utf-8")
    line = {"query": "what", "relevant": ["notes/mill.txt"], "grade": 0}
    (here / "zero.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (here / "empty.jsonl").write_text("", encoding="utf-8")
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not (here / "nowhere").exists()


def test_a_run_is_written_and_scores_the_same_when_read(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ir_measures
    import pytrec_eval  # noqa: F401  what computes them below

    code, out, err = run(capsys, "judged.jsonl", *FAST, "--run-out", "run.txt", "--json")
    assert (code, err) == (0, "wrote run.txt: dense 20 > late-interaction\n")
    means = json.loads(out)["rows"][1]["means"]
    judged = json.loads(out)["per_query"]
    with Index.open(here / ".secondpass", create=False) as index:
        qrels = read_judged("judged.jsonl", index=index).qrels
    written = ir_measures.read_trec_run("run.txt")
    plain = {
        key: {name.replace(" ", "\u2420"): grade for name, grade in row.items()} for key, row in qrels.items()
    }
    found = ir_measures.pytrec_eval.calc_aggregate(
        [ir_measures.parse_measure(name) for name in means], plain, list(written)
    )
    assert {str(name): round(value, 6) for name, value in found.items()} == means
    code, out, _ = run(capsys, "judged.jsonl", "--run", "run.txt", "--index", ".secondpass", "--json")
    shape = json.loads(out)
    assert code == 0
    assert shape["rows"][0]["means"] == means
    assert (shape["rows"][0]["stage1"], shape["depth"], len(judged)) == ("run.txt", None, 6)


def test_several_settings_make_several_runs(
    here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("--stage1", "dense", "--stage1", "lexical", "--run-out", str(tmp_path / "run.txt.gz"))
    assert run(capsys, "judged.jsonl", *FAST, *arguments)[0] == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "run.dense-20-late-interaction.txt.gz",
        "run.dense.txt.gz",
        "run.lexical-20-late-interaction.txt.gz",
        "run.lexical.txt.gz",
    ]
    files = sorted(str(each) for each in tmp_path.iterdir())
    _, out, _ = run(capsys, "judged.jsonl", "--index", ".secondpass", "--run", files[1], "--run", files[0])
    assert f"nDCG@10 against {files[1]}" in out


def test_a_regression_fails_and_the_json_is_written_all_the_same(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, before, _ = run(capsys, "judged.jsonl", *FAST, "--json")
    (here / "old.json").write_text(before, encoding="utf-8")
    code, out, err = run(capsys, "judged.jsonl", *FAST, "--baseline", "old.json", "--fail-under", "0")
    assert (code, err) == (0, "")
    assert "no setting fell by more than is allowed" in out
    better = json.loads(before)
    better["rows"][1]["means"]["nDCG@10"] += 0.02
    (here / "better.json").write_text(json.dumps(better), encoding="utf-8")
    code, out, err = run(capsys, "judged.jsonl", *FAST, "--baseline", "better.json", "--json")
    assert code == 1
    assert err.startswith("worse than better.json: nDCG@10 of dense 20 > late-interaction ")
    assert err.endswith("(-0.020); allowed is -0.01\n")
    assert err.count("\n") == 1
    assert json.loads(out)["baseline"]["failed"] == ["dense 20 > late-interaction"]
    code, _, err = run(capsys, "judged.jsonl", *FAST, "--baseline", "better.json", "--fail-under", "-0.03")
    assert (code, err) == (0, "")
    code, out, err = run(capsys, "judged.jsonl", "--reranker", "none", "--baseline", "old.json")
    assert (code, out) == (2, "")
    assert "other settings (only there: dense 20 > late-interaction)" in err


def test_a_baseline_holds_in_another_checkout(
    here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, _ = run(capsys, "judged.jsonl", "--reranker", "none", "--json")
    (tmp_path / "old.json").write_text(before, encoding="utf-8")
    shutil.copytree(here / "notes", tmp_path / "notes")
    shutil.copy(here / "judged.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["index", "notes", "--quiet"]) == 0
    code, out, err = run(
        capsys, "judged.jsonl", "--reranker", "none", "--json", "--baseline", "old.json", "--fail-under", "0"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["baseline"]["rows"][0]["difference"] == 0
    (tmp_path / "notes" / "mill.txt").unlink()
    assert main(["index", "notes", "--quiet", "--prune"]) == 0
    code, out, err = run(capsys, "judged.jsonl", "--reranker", "none", "--baseline", "old.json")
    assert code == 1
    assert err.startswith("worse than old.json: nDCG@10 of dense ")
    assert "2 of what is judged relevant (2 queries) are not in the index" in out


def test_the_report_holds_the_figures_and_the_lists(
    here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = run(capsys, "judged.jsonl", *FAST, "--html", str(tmp_path / "r.html"))
    assert (code, err) == (0, f"wrote {tmp_path / 'r.html'}\n")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert FACTS["mill"][1] in page
    assert "dense 20 &gt; late-interaction" in page


def test_contexts_are_exported(here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ("--export", "ragas", "--export-to", str(tmp_path / "out.jsonl"), "-k", "2")
    code, _, err = run(capsys, "judged.jsonl", *FAST, *where)
    assert (code, err) == (0, f"wrote {tmp_path / 'out.jsonl'}: dense 20 > late-interaction\n")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["user_input"] for line in lines] == [query for query, _ in FACTS.values()]
    assert FACTS["mill"][1] in lines[5]["retrieved_contexts"]
    assert {len(line["retrieved_contexts"]) for line in lines} == {2}


def test_synthetic_queries_are_marked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"query": "the mill and its brook", "relevant": ["notes/mill.txt"], "synthetic": True}
    (here / "made.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    _, out, _ = run(capsys, "made.jsonl", "--reranker", "none")
    assert out.startswith("[synthetic queries] ")
    assert "1 synthetic query from made.jsonl" in out


@pytest.fixture(scope="module")
def adi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adi") / "index"
    with Index.open(folder) as index:
        index.add(beir.documents(ADI))
    return folder


class Counting:
    """The real one, and how many passages it read."""

    def __init__(self) -> None:
        self.inner = load_reranker("minilm-l6")
        self.name = self.inner.name
        self.fingerprint = self.inner.fingerprint  # type: ignore[attr-defined]
        self.read_passages = 0

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.read_passages += len(passages)
        return self.inner.score(query, passages)


@shared
@needs_adi
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_run_goes_on_where_it_was(adi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = adi / SCORES_FILE
    command = [sys.executable, "-m", "secondpass", "eval", str(ADI), "--index", str(adi), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and rows(scores) < 40:
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    kept = rows(scores)
    assert kept >= 40
    judged = read_judged(ADI)
    counting = Counting()
    with Index.open(adi, create=False) as index, ScoreCache(scores) as cache:
        trials = collect(
            index, judged.queries, rerankers=[CachedReranker(counting, cache)], depth=100, read=20
        )
        pairs = sum(len(trial.reranked["minilm-l6"]) for trial in trials.trials)
        assert counting.read_passages == pairs - kept
        assert len(cache) == pairs
    code, out, _ = run(capsys, str(ADI), "--index", str(adi), "--json", "--quiet")
    assert code == 0
    assert rows(scores) == pairs  # nothing was read again, or the same again
    resumed = json.loads(out)
    _, out, _ = run(capsys, str(ADI), "--index", str(adi), "--json", "--quiet", "--no-cache")
    assert resumed["per_query"] == json.loads(out)["per_query"]


def rows(scores: Path) -> int:
    if not scores.is_file():
        return 0
    with ScoreCache(scores) as cache:
        return len(cache)


@shared
@needs_adi
def test_stage_1_figures_are_those_of_ir_measures_on_the_run_of_the_index(
    adi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs made from ``Index.candidates`` alone; trec_eval's code does the measuring."""
    import ir_measures

    _, out, _ = run(
        capsys, str(ADI), "--index", str(adi), "--reranker", "none", "--stage1", "all", "--json",
        "--measures", "nDCG@10 RR@10 R@20 P@3 AP",
    )  # fmt: skip
    shape = json.loads(out)
    judged = read_judged(ADI)
    with Index.open(adi, create=False) as index:
        for row in shape["rows"]:
            made = {}
            for key, query in judged.queries.items():
                vector = None if row["stage1"] == "lexical" else index.embed_query(query)
                best: dict[str, float] = {}
                for hit in index.candidates(query, vector, 100, row["stage1"], None):
                    best.setdefault(hit.passage.document_id, float(100 - hit.rank))
                made[key] = best
            wanted = [ir_measures.parse_measure(name) for name in shape["measures"]]
            found = ir_measures.calc_aggregate(wanted, judged.qrels, made)
            for measure, value in found.items():
                assert row["means"][str(measure)] == pytest.approx(value, abs=1e-6), row["name"]


@shared
@needs_adi
def test_a_beir_folder_brings_its_own_documents(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDPASS_CACHE_FOLDER", str(tmp_path / "cache"))
    _, first, _ = run(capsys, str(ADI), "--reranker", "none", "--json")
    _, second, _ = run(capsys, str(ADI), "--reranker", "none", "--json")
    assert json.loads(first)["per_query"] == json.loads(second)["per_query"]
    assert json.loads(first)["passages"] == 94
    assert not (tmp_path / ".secondpass").exists()
