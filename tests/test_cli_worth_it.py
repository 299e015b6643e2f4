"""``secondpass worth-it`` in this process, with real weights and a small real index."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import report_samples
from secondpass.cli import main
from secondpass.cli.settings_file import changed_text, write_settings
from secondpass.cli.worth_it_input import depths, seconds, to_write
from secondpass.errors import InputError, SettingsError
from secondpass.gating import parse_gate

FACTS = {
    "ferry": ("When does the ferry leave?", "The ferry to Lower Quay leaves at seven in the morning."),
    "bread": ("On which day is bread baked?", "Bread is baked on Mondays, rolls on every day but Sunday."),
    "hives": ("Where do the hives face?", "The hives face south-east, towards the willow."),
    "books": ("How long are books lent?", "Books are lent for three weeks, and a late one costs a crown."),
    "beans": ("When are beans planted?", "Beans are planted when the nights are mild."),
    "mill": ("What drives the mill?", "The mill is driven by the brook behind the church."),
    "roof": ("What is the roof made of?", "The roof of the chapel is made of slate from the quarry."),
    "choir": ("When does the choir sing?", "The choir sings on the first Thursday of the month."),
}


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with documents, their index, judgments of every query, and a file of queries."""
    folder = tmp_path_factory.mktemp("worth-it")
    (folder / "notes").mkdir()
    for name, (_, text) in FACTS.items():
        (folder / "notes" / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    rows = [
        {"query": query, "relevant": [str(folder / "notes" / f"{name}.txt")]}
        for name, (query, _) in FACTS.items()
    ]
    (folder / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "queries.txt").write_text(
        "".join(f"{query}\n" for query, _ in FACTS.values()), encoding="utf-8"
    )
    assert main(["index", str(folder / "notes"), "--index", str(folder / ".secondpass"), "--quiet"]) == 0
    return folder


@pytest.fixture
def here(village: Path, monkeypatch: pytest.MonkeyPatch):
    """Work in the village, and leave no settings behind."""
    monkeypatch.chdir(village)
    monkeypatch.delenv("COLUMNS", raising=False)
    yield village
    (village / "secondpass.toml").unlink(missing_ok=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["worth-it", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


SMALL = ("--depths", "5", "--reranker", "late-interaction")


def test_with_judgments_it_decides_and_writes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "secondpass.toml").write_text('# mine\nk = 2\nreranker = "auto" # for now\n', encoding="utf-8")
    code, out, err = run(capsys, "--judged", "judged.jsonl", *SMALL, "--write")
    assert (code, err) == (0, "")
    assert out.startswith("skip stage 2: ")
    assert "8 queries from judged.jsonl, documents judged; 8 passages" in out
    written = tomllib.loads((here / "secondpass.toml").read_text(encoding="utf-8"))
    assert written["reranker"] == "none"
    assert written["k"] == 2
    assert written["stage1"] in ("dense", "lexical", "hybrid")
    text = (here / "secondpass.toml").read_text(encoding="utf-8")
    assert text.startswith('# mine\nk = 2\nreranker = "none" # for now\n')
    assert 'reranker = "none"' in out


def test_its_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--judged", "judged.jsonl", *SMALL, "--json")
    shape = json.loads(out)
    assert code == 0
    assert shape["verdict"] == "skip"
    assert shape["measure"] == "nDCG@10"
    assert shape["queries"] == 8
    assert shape["written"] is None
    assert shape["chosen"] == shape["baseline"]
    assert [row["name"] for row in shape["rows"]][:2] == ["dense", "dense 5 > late-interaction"]
    assert len(shape["rows"]) == 6
    assert sum(shape["held_out"][name] for name in ("wins", "losses", "ties")) == 8
    assert not (here / "secondpass.toml").exists()


def test_without_judgments_it_says_what_it_cannot_know(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--queries", "queries.txt", *SMALL)
    assert code == 0
    assert out.startswith("only judgments can tell: late-interaction on 5 candidates (dense)")
    assert "secondpass judge" in out
    assert "nDCG" not in out


def test_synthetic_queries_are_marked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"query": "the ferry", "synthetic": True})
    (here / "made.jsonl").write_text(f"{line}\n", encoding="utf-8")
    _, out, _ = run(capsys, "--queries", "made.jsonl", *SMALL)
    assert out.startswith("[synthetic queries] ")
    assert "1 synthetic query from made.jsonl" in out
    _, out, _ = run(capsys, "--queries", "made.jsonl", *SMALL, "--json")
    assert json.loads(out)["synthetic"] is True


@pytest.mark.parametrize("columns", ["60", "40"])
def test_it_fits_a_narrow_terminal(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _, out, _ = run(capsys, "--judged", "judged.jsonl", *SMALL, "--all")
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no query"),
        (("which", "--judged", "judged.jsonl"), "brings its own queries"),
        (("which", "--depths", "5,x"), "--depths"),
        (("which", "--depths", "0"), "--depths"),
        (("which", "--budget", "soon"), "--budget"),
        (("which", "--least-gain", "0"), "least gain"),
        (("which", "--reranker", "none"), "no re-ranker to try"),
        (("--queries", "nowhere.txt"), "nowhere.txt"),
        (("--judged", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--judged", "judged.jsonl", "--measure", "niceness"), "niceness"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1


def test_the_gated_re_ranker_is_asked_only_below_the_gate(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ["search", FACTS["ferry"][0], "--reranker", "gated"]
    assert main(query) == 2
    assert "worth-it --write" in capsys.readouterr().err
    (here / "secondpass.toml").write_text(
        'gate = "late-interaction unless dense top >= 0.1"\n', encoding="utf-8"
    )
    assert main(query) == 0
    assert "skipped by the gate (top >= 0.1)" in capsys.readouterr().out
    assert main([*query, "--json"]) == 0
    skipped = json.loads(capsys.readouterr().out)
    assert (skipped["gated"], skipped["scored"], skipped["reranker"]) == (True, 0, "none")
    (here / "secondpass.toml").write_text(
        'gate = "late-interaction unless dense top >= 2"\n', encoding="utf-8"
    )
    assert main([*query, "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert (asked["gated"], asked["reranker"]) == (False, "late-interaction")
    assert main([*query, "--stage1", "lexical"]) == 2
    assert "fitted on dense scores" in capsys.readouterr().err


def test_times_and_depths() -> None:
    assert (seconds("90s"), seconds("3m"), seconds("1.5 m"), seconds("45"), seconds("none")) == (
        90,
        180,
        90,
        45,
        None,
    )
    assert depths("20, 5,5,100") == (5, 20, 100)
    for wrong in ("", "0", "-3s", "3 minutes", "inf"):
        with pytest.raises(InputError):
            seconds(wrong)


FILE = Path("secondpass.toml")
BEFORE = """\
# the index of the notes
index = "./notes"   # beside this file
stage1='dense'# quick
"reranker" = "auto"

# nothing more
"""


def test_an_edit_keeps_everything_else() -> None:
    after = changed_text(BEFORE, {"stage1": "hybrid", "reranker": "a # b", "candidates": 10}, FILE)
    assert (
        after
        == """\
# the index of the notes
index = "./notes"   # beside this file
stage1 = "hybrid"# quick
reranker = "a # b"

# nothing more
candidates = 10
"""
    )
    again = changed_text(after, {"stage1": "hybrid", "reranker": "a # b", "candidates": 10}, FILE)
    assert again == after


def test_new_keys_stand_before_tables_and_line_ends_stay() -> None:
    after = changed_text("k = 3\r\n[other]\r\nstage1 = 1\r\n", {"stage1": "hybrid"}, FILE)
    assert after == 'k = 3\r\nstage1 = "hybrid"\r\n\r\n[other]\r\nstage1 = 1\r\n'
    assert changed_text("", {"k": 3}, FILE) == "k = 3\n"


@pytest.mark.parametrize(
    "text", ['note = """\nstage1 = 1\n"""\n', 'stage1 = """\ndense"""\n', "stage1 = [\n1]\n", "not toml"]
)
def test_what_cannot_be_edited_safely_stays_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secondpass.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="nothing was changed"):
        write_settings(file, {"stage1": "hybrid"})
    assert file.read_text(encoding="utf-8") == text
    assert [each.name for each in tmp_path.iterdir()] == ["secondpass.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    real.write_text("k = 3\n", encoding="utf-8")
    real.chmod(0o600)
    link = tmp_path / "secondpass.toml"
    link.symlink_to(real)
    assert write_settings(link, {"k": 5}) == ["k = 5"]
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "k = 5\n"
    assert real.stat().st_mode & 0o777 == 0o600


NAMES = {"minilm-l6": "minilm-l6", "late-interaction": "late-interaction"}


def test_use_writes_the_setting_and_the_gate() -> None:
    values = to_write(report_samples.verdict(), NAMES)
    assert values == {
        "stage1": "hybrid",
        "reranker": "minilm-l6",
        "candidates": 20,
        "gate": "minilm-l6 unless hybrid margin >= 0.0731",
    }
    assert parse_gate(str(values["gate"])) == report_samples.verdict().gate.gate


def test_what_decides_nothing_writes_the_gate_alone() -> None:
    unclear = report_samples.verdict(kind="unclear")
    unjudged = report_samples.verdict(kind="unjudged", judged=False)
    assert list(to_write(unclear, NAMES)) == list(to_write(unjudged, NAMES)) == ["gate"]
    assert to_write(replace(unclear, gate=None), NAMES) == {}


def test_synthetic_queries_write_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_write(report_samples.verdict(synthetic=True), NAMES) == {}
    row = {"query": "which", "synthetic": True, "relevant": [str(here / "notes" / "mill.txt")]}
    rows = [{**row, "query": query} for query, _ in FACTS.values()]
    (here / "made_judged.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8"
    )
    code, out, _ = run(capsys, "--judged", "made_judged.jsonl", *SMALL, "--write")
    assert code == 0
    assert out.startswith("[synthetic queries] ")
    assert "nothing was written: the queries are synthetic" in " ".join(out.split())
    assert not (here / "secondpass.toml").exists()


def test_a_folder_is_written_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    values = to_write(report_samples.verdict(), {"minilm-l6": "./mine"})
    assert values["reranker"] == str(tmp_path / "mine")
    assert parse_gate(str(values["gate"])).reranker == str(tmp_path / "mine")
