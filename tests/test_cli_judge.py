"""queries, judge, calibrate and --min-precision as people run them: in new processes, on a real terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_cli import clean_environment, refused, secondpass

TOPICS = {
    "ferry": (
        "Timetable of the harbour ferry",
        "The ferry leaves at seven in the morning and at six at night.",
    ),
    "bees": (
        "Opening the bee hives",
        "Hives are opened in April when the willow is out and nights are mild.",
    ),
    "bakery": ("Baking days of the bakery", "Bread is baked on Mondays, rolls on every day but Sunday."),
    "library": (
        "Lending books from the library",
        "Books are lent for three weeks; a late book costs a crown.",
    ),
    "garden": ("Planting potatoes in the garden", "Potatoes are planted when the apple trees flower."),
    "school": (
        "Lessons at the village school",
        "Lessons begin at eight; the bell is rung by the eldest pupil.",
    ),
    "mill": (
        "Grinding corn at the mill",
        "The miller grinds corn on Wednesdays, and keeps a tenth of the flour.",
    ),
    "market": ("Stalls of the weekly market", "A stall costs two crowns and must be gone by noon."),
    "church": ("Ringing of the church bells", "The bells ring at noon, and for a fire three times in a row."),
    "bridge": ("Toll of the wooden bridge", "A cart pays half a crown to cross; a rider pays nothing."),
    "smith": ("Shoeing horses at the smithy", "The smith shoes a horse for three crowns, nails included."),
    "doctor": (
        "Visiting hours of the doctor",
        "The doctor sees the sick from nine to eleven, except on Sunday.",
    ),
}
MORE = "Whoever wants to know more asks the clerk, who sits in the hall behind the well on most days. "


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an index of twelve documents, each with a telling heading."""
    folder = tmp_path_factory.mktemp("village")
    (folder / "docs").mkdir()
    for name, (heading, text) in TOPICS.items():
        (folder / "docs" / f"{name}.md").write_text(
            f"# {heading}\n\n{text} {MORE * 2}\n\n## Introduction\n\n{MORE}\n"
        )
    done = secondpass("index", "docs", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


# queries


def test_queries_are_written_and_judge_and_the_reader_take_them(village: Path, tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    done = secondpass("queries", "-n", "12", "--unit", "document", "--out", str(file), cwd=village)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 queries from 12 documents" in done.stdout
    assert "Synthetic: nobody asked these. 12 of 12 stand word for word" in " ".join(done.stdout.split())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["query"] for line in lines} == {heading for heading, _ in TOPICS.values()}
    assert all(line["synthetic"] is True for line in lines)
    from secondpass import Index
    from secondpass.evaluation.judgments import read_judged

    with Index.open(village / ".secondpass") as index:
        judged = read_judged(file, index=index)
    assert (judged.synthetic, judged.unit, len(judged.queries)) == (True, "document", 12)
    judging = secondpass("judge", "--queries", str(file), "--out", str(tmp_path / "j"), "--reranker", "none",
                         cwd=village, stdin="y\n")  # fmt: skip
    assert "query 1 of 12" in judging.stdout
    assert read_judged(tmp_path / "j").synthetic


def test_queries_in_json_and_on_stdout(village: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "q.jsonl"))
    shape = json.loads(secondpass("queries", "-n", "3", *out, "--json", cwd=village).stdout)
    assert list(shape) == ["file", "synthetic", "unit", "documents", "kinds", "verbatim", "queries"]
    assert (shape["synthetic"], shape["unit"], shape["kinds"]) == (True, "passage", {"heading": 3})
    piped = secondpass("queries", "-n", "3", "--out", "-", "--unit", "passage", cwd=village)
    assert [json.loads(line) for line in piped.stdout.splitlines()] == shape["queries"]
    assert piped.stdout == (tmp_path / "q.jsonl").read_text()


def test_queries_refuses(village: Path, tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text("mine\n")
    there = secondpass("queries", "--out", str(tmp_path / "there.jsonl"), cwd=village)
    refused(there, 2, "is there already; name another file")
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"
    refused(secondpass("queries", "--out", "-", "--json", cwd=village), 2, "both want stdout")
    refused(secondpass("queries", "--unit", "word", cwd=village), 2, "--unit is document, passage or auto")
    refused(secondpass("queries", "-n", "0", cwd=village), 2, "n must be at least 1")
    refused(secondpass("queries", cwd=tmp_path), 1, "there is no index")


# judge, by lines


def test_judging_by_lines_ends_in_qrels(village: Path, tmp_path: Path) -> None:
    arguments = ("judge", "When does the ferry leave?", "--out", str(tmp_path / "j"), "--depth", "2")
    first = secondpass(*arguments, "--json", cwd=village, stdin="y\nhuh\nu\nn\ny\n")
    shape = json.loads(first.stdout)
    assert list(shape) == [
        "folder",
        "qrels",
        "queries_file",
        *["queries", "done", "relevant", "not_relevant", "skipped"],
    ]
    assert (shape["queries"], shape["done"], shape["relevant"], shape["not_relevant"]) == (1, 0, 1, 1)
    assert "'h' is no answer; press y, n, ?, u or q" in first.stderr
    assert "taken back" in first.stderr
    assert not re.search(r"score|cosine|BM25|minilm|dense", first.stderr)  # who found it stays unsaid
    grades = [line.split()[3] for line in Path(shape["qrels"]).read_text().splitlines()]
    assert grades == ["0", "1"]
    again = secondpass(*arguments, cwd=village, stdin="?\n" * 20)
    assert "passage 3 of" in again.stdout.split("relevant?")[0]
    assert "1 of 1 queries done" in again.stdout
    done = secondpass(*arguments, cwd=village)
    assert "passage" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_judge_refuses(village: Path, tmp_path: Path) -> None:
    refused(secondpass("judge", cwd=village), 2, "no query to judge")
    refused(secondpass("judge", "-", cwd=village), 2, "queries cannot come from there")
    refused(secondpass("judge", "--queries", "-", cwd=village), 2, "queries cannot come from there")
    refused(secondpass("judge", "--queries", "no.txt", cwd=village), 2, "cannot read the queries in no.txt")
    refused(secondpass("judge", "q", cwd=tmp_path), 1, "there is no index")


# judge, on a terminal


class Terminal:
    """A command on a terminal of its own, 60 columns wide."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            [sys.executable, "-m", "secondpass", *arguments],
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=clean_environment({"TERM": "xterm"}),
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C arrives
        )
        self.shown = ""

    def settings_restored(self) -> bool:
        import termios

        return termios.tcgetattr(self._theirs)[3] == self.before[3]

    def until(self, text: str, times: int = 1, seconds: float = 60) -> str:
        """Read until a text has been shown so many times."""
        end = time.monotonic() + seconds
        while self.shown.count(text) < times:
            ready, _, _ = select.select([self._ours], [], [], 0.2)
            if ready:
                self.shown += re.sub(
                    r"\x1b\[[0-9;]*m", "", os.read(self._ours, 65536).decode(errors="replace")
                )
            assert time.monotonic() < end, self.shown
        return self.shown

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


pytestmark_pty = pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")


JUDGING = ("judge", "When does the ferry leave?", "who bakes bread", "--reranker", "none", "--out")


@pytest.fixture
def judging(village: Path, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(*JUDGING, str(tmp_path / "j"), cwd=village)
    yield terminal
    terminal.close()


@pytestmark_pty
def test_single_keys_on_a_terminal(judging: Terminal, tmp_path: Path) -> None:
    judging.until("q quit")
    judging.press("y")  # no Enter
    judging.until("q quit", 2)
    judging.press("\x1b[A")  # an arrow is no answer, and no accident
    judging.press("u")
    judging.until("taken back")
    judging.until("q quit", 3)
    judging.press("n")
    judging.until("q quit", 4)
    judging.press("q")
    shown = judging.until("saved in")
    assert judging.process.wait(20) == 0
    assert judging.settings_restored()
    assert max(map(len, shown.splitlines())) <= 60
    assert (tmp_path / "j" / "qrels.txt").read_text().split()[3] == "0"
    assert "0 relevant  ·  1 not  ·  0 skipped" in shown


@pytestmark_pty
def test_ctrl_c_keeps_the_marks_and_gives_the_terminal_back(judging: Terminal, tmp_path: Path) -> None:
    judging.until("q quit")
    judging.press("y")
    judging.until("q quit", 2)
    judging.press("\x03")
    assert judging.process.wait(20) == 130
    judging.until("interrupted")
    assert judging.settings_restored()
    assert (tmp_path / "j" / "qrels.txt").read_text().split()[3] == "1"


@pytestmark_pty
def test_a_killed_session_goes_on_after_its_last_mark(
    judging: Terminal, village: Path, tmp_path: Path
) -> None:
    for number in range(3):
        judging.until("q quit", number + 1)
        judging.press("y")
    judging.until("q quit", 4)  # the next question is shown: the third mark was acknowledged
    judging.process.send_signal(signal.SIGKILL)
    judging.process.wait()
    qrels = (tmp_path / "j" / "qrels.txt").read_text().splitlines()
    assert [line.split()[3] for line in qrels] == ["1", "1", "1"]
    again = secondpass(*JUDGING, str(tmp_path / "j"), cwd=village)
    assert "passage 4 of" in again.stdout
    assert "3 relevant" in again.stdout


# calibrate, and search with a precision


@pytest.fixture(scope="module")
def calibrated(village: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The village with judged questions, and a calibration for two re-rankers."""
    file = tmp_path_factory.mktemp("judged") / "judged.jsonl"
    rows = [
        {"query": f"{ask} {heading.lower()}", "relevant": f"docs/{name}.md"}
        for name, (heading, _) in TOPICS.items()
        for ask in ("tell me about the", "I want to know of the")
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = secondpass(
        "calibrate",
        str(file),
        "--reranker",
        "auto",
        "--reranker",
        "late-interaction",
        cwd=village,
        COLUMNS="60",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert "minilm-l6: " in done.stdout
    assert "late-interaction: " in done.stdout
    assert "calibration error" in done.stdout
    return village


def test_calibrate_in_json_says_what_it_stored(calibrated: Path, village: Path) -> None:
    stored = calibrated / ".secondpass" / "calibration"
    assert sorted(each.name for each in stored.iterdir()) == ["late-interaction.json", "minilm-l6.json"]
    written = json.loads((stored / "late-interaction.json").read_text())
    assert (written["queries"], written["relevant"], written["unit"]) == (24, 24, "document")
    assert written["before"] is None


@pytest.mark.parametrize("reranker", ["auto", "late-interaction"])
def test_a_precision_leaves_out_what_is_not_relevant(calibrated: Path, reranker: str) -> None:
    options = ("--min-precision", "0.8", "--reranker", reranker)
    about = secondpass(
        "search", "tell me about the timetable of the harbour ferry", *options, "--json", cwd=calibrated
    )
    found = json.loads(about.stdout)
    assert (found["calibrated"], found["nothing_relevant"]) == (True, False)
    assert found["hits"][0]["passage"]["source"].endswith("ferry.md")
    assert found["hits"][0]["probability"] >= found["min_precision"]["threshold"]
    assert found["min_precision"]["left_out"] == 3 - len(found["hits"])
    other = secondpass("search", "quantum chromodynamics on a lattice", *options, cwd=calibrated)
    assert (other.returncode, other.stderr) == (0, "")
    said = r"nothing here is relevant \(best probability \S+%, the threshold for precision 0\.8 is \S+%\)"
    assert re.search(said, " ".join(other.stdout.split()))
    assert "probability calibrated on 24 judged queries" in " ".join(other.stdout.split())
    shape = json.loads(
        secondpass("search", "quantum chromodynamics", *options, "--json", cwd=calibrated).stdout
    )
    assert (shape["hits"], shape["nothing_relevant"]) == ([], True)
    assert shape["min_precision"]["best_probability"] < shape["min_precision"]["threshold"]


def test_the_precision_can_stand_in_the_settings(calibrated: Path) -> None:
    by_variable = secondpass(
        "search", "quantum chromodynamics", cwd=calibrated, SECONDPASS_MIN_PRECISION="0.8"
    )
    assert "nothing here is relevant" in by_variable.stdout
    (calibrated / "secondpass.toml").write_text("min-precision = 0.8\n")
    try:
        assert "nothing here is relevant" in secondpass("search", "quantum physics", cwd=calibrated).stdout
    finally:
        (calibrated / "secondpass.toml").unlink()
    plain = secondpass("search", "quantum chromodynamics", "--json", cwd=calibrated)
    assert len(json.loads(plain.stdout)["hits"]) == 3
    assert json.loads(plain.stdout)["min_precision"] is None


def test_compare_shows_calibrated_probabilities_too(calibrated: Path) -> None:
    done = secondpass("compare", "baking days", "--reranker", "late-interaction", "--json", cwd=calibrated)
    (shown,) = json.loads(done.stdout)["comparisons"][0]["rerankers"]
    assert shown["calibrated"] is True
    assert all(0 <= hit["probability"] <= 1 for hit in shown["hits"])


def test_both_names_of_the_folder_agree() -> None:
    from secondpass.calibration import FOLDER
    from secondpass.cli import calibrated

    assert calibrated.FOLDER == FOLDER


def test_a_precision_without_a_calibration_is_refused(village: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(MORE)
    assert secondpass("index", "a.txt", cwd=tmp_path).returncode == 0
    search = ("search", "clerk", "--min-precision", "0.8")
    refused(
        secondpass(*search, cwd=tmp_path),
        2,
        "minilm-l6 is not calibrated for this index; fit one .* secondpass calibrate JUDGMENTS",
    )
    refused(secondpass(*search, "--reranker", "none", cwd=tmp_path), 2, "stage 2 is off")
    refused(
        secondpass("search", "x", "--min-precision", "2", cwd=tmp_path), 2, "--min-precision must be a number"
    )


def test_a_calibration_of_other_weights_is_not_used(calibrated: Path) -> None:
    file = calibrated / ".secondpass" / "calibration" / "minilm-l6.json"
    written = file.read_text()
    shape = json.loads(written)
    shape["probes"][0] += 3.0
    file.write_text(json.dumps(shape))
    try:
        done = secondpass("search", "bread", cwd=calibrated)
        assert "calibration not used: it is of other weights" in " ".join(done.stdout.split())
        refused(
            secondpass("search", "bread", "--min-precision", "0.5", cwd=calibrated), 2, "with other weights"
        )
        file.write_text("{")
        refused(secondpass("search", "bread", cwd=calibrated), 1, "fit it again with secondpass calibrate")
    finally:
        file.write_text(written)


def test_calibrate_refuses(village: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"query": "bread", "relevant": "docs/bakery.md"}) + "\n")
    refused(
        secondpass("calibrate", str(few), cwd=village),
        2,
        "too few judgments to calibrate minilm-l6: .* 1 quer",
    )
    refused(secondpass("calibrate", "nowhere", cwd=village), 2, "nowhere")
    refused(secondpass("calibrate", str(few), "--reranker", "none", cwd=village), 2, "'none' has none")
