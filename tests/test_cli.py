"""The command line as people run it: in new processes, with real weights and a real index."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

FERRY = (
    "The ferry to Lower Quay leaves at seven in the morning and at six in the evening. "
    "A ticket costs four crowns, and bicycles travel free.\n"
)
FILES = {
    "ferry.txt": FERRY,
    "copy_of_ferry.txt": FERRY,
    "bees.md": "# Bees\n\nThe hives face south-east.\n\nThey are opened in April, when the willow is out.\n",
    "bakery.txt": (
        "Bread is baked on Mondays.\n\nRolls are baked every day but Sunday.\n\nThe oven is lit at four.\n"
    ),
    "notes/library.txt": (
        "Books are lent for three weeks.\n\nA late book costs one crown a week.\n\n"
        "The reading room closes at eight, on Fridays at six.\n"
    ),
    "notes/garden.txt": (
        "Potatoes are planted when the apple trees flower.\n\nBeans wait until the nights are mild.\n"
    ),
    "ünïcode.txt": "Die Fähre fährt um sieben Uhr. 渡し船は七時に出ます。\n",
}


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without settings that would change what is tested."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SECONDPASS_") and name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")
    }
    return {**kept, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error", **more}


def secondpass(
    *arguments: str, cwd: Path, stdin: str | bytes = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "secondpass", *arguments],
        cwd=cwd,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=clean_environment(environment),
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode()
    )


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with files and their index in ``.secondpass``."""
    folder = tmp_path_factory.mktemp("cli")
    for name, text in FILES.items():
        file = folder / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    done = secondpass("index", "docs", "--size", "120", "--overlap", "20", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def run(place: Path) -> Run:
    def call(*arguments: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        return secondpass(*arguments, **{"cwd": place, **keywords})

    return call


def refused(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """Check that a command failed with one clear line and nothing else."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(says, done.stderr), done.stderr


# index and status


def test_index_reports_in_json(run: Run, place: Path, tmp_path: Path) -> None:
    arguments = ("index", str(place / "docs"), "--index", str(tmp_path / "new"), "--json")
    first = json.loads(run(*arguments).stdout)
    keys = "index added changed unchanged removed passages embedded skipped seconds total precomputed"
    assert list(first) == keys.split()
    assert first["index"] == str(tmp_path / "new")
    assert (first["added"], first["changed"], first["unchanged"], first["removed"]) == (7, 0, 0, 0)
    assert first["total"] == {"documents": 7, "passages": first["passages"]}
    assert first["passages"] > first["embedded"] > 0  # the copy is not embedded again
    again = json.loads(run(*arguments).stdout)
    assert (again["added"], again["unchanged"], again["embedded"]) == (0, 7, 0)


def test_index_skips_bad_files_and_says_so_in_its_exit_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("The mill turns on Mondays.\n")
    (tmp_path / "empty.txt").write_text("")
    only_empty = run("index", "good.txt", "empty.txt", "--json", cwd=tmp_path)
    assert only_empty.returncode == 0
    assert [each["error"] for each in json.loads(only_empty.stdout)["skipped"]] == [False]
    (tmp_path / "photo.jpg").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "large.txt").write_text("word " * 3000)
    done = run("index", ".", "missing.txt", "--max-file-size", "10KB", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    assert sorted(line.split(":")[0] for line in skipped) == [
        "skipped empty.txt",
        "skipped large.txt",
        "skipped missing.txt",
        "skipped photo.jpg",
    ]
    status = json.loads(run("status", "--json", cwd=tmp_path).stdout)
    assert status["documents"] == 1


def test_index_prunes_what_is_gone(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"This is {name}.\n")
    run("index", ".", cwd=tmp_path)
    (tmp_path / "one.txt").unlink()
    kept = json.loads(run("index", ".", "--json", cwd=tmp_path).stdout)
    assert (kept["removed"], kept["total"]["documents"]) == (0, 2)
    pruned = json.loads(run("index", ".", "--prune", "--json", cwd=tmp_path).stdout)
    assert (pruned["removed"], pruned["total"]["documents"]) == (1, 1)


def test_rows_take_their_text_from_the_field_that_was_named(run: Run, tmp_path: Path) -> None:
    rows = [
        {"title": "Boat", "words": "The punt is green."},
        {"title": "Bee", "words": "The queen is marked."},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert run("index", "rows.jsonl", "--text-field", "words", cwd=tmp_path).returncode == 0
    hit = json.loads(run("search", "queen", "--where", "title=Bee", "--json", cwd=tmp_path).stdout)["hits"][0]
    assert hit["passage"]["text"] == "The queen is marked."
    assert hit["passage"]["document_id"].endswith("rows.jsonl#2")
    assert hit["passage"]["metadata"]["title"] == "Bee"


def test_gitignored_files_are_left_out_unless_wanted(run: Run, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("secret.txt\n")
    for name in ("open", "secret"):
        (tmp_path / f"{name}.txt").write_text(f"This is {name}.\n")
    assert json.loads(run("index", ".", "--json", cwd=tmp_path).stdout)["added"] == 1
    assert json.loads(run("index", ".", "--json", "--no-gitignore", cwd=tmp_path).stdout)["added"] == 1


def test_status_tells_what_is_in_the_index(run: Run, place: Path) -> None:
    status = json.loads(run("status", "--json", "--documents").stdout)
    assert status["index"] == str(place / ".secondpass")
    assert (status["documents"], status["embedder"], status["dimension"]) == (7, "all-MiniLM-L6-v2", 384)
    assert (status["store"], status["splitter"]["size"], status["splitter"]["overlap"]) == ("sqlite", 120, 20)
    assert status["passages"] > status["texts"]
    assert status["size_bytes"] > 10_000
    listed = {Path(each["source"]).name: each for each in status["document_list"]}
    assert len(listed) == 7
    assert listed["ferry.txt"]["characters"] == len(FERRY)
    assert "document_list" not in json.loads(run("status", "--json").stdout)
    human = run("status", "--documents").stdout
    assert human.startswith(".secondpass\n")
    assert "docs/notes/garden.txt" in human
    assert "all-MiniLM-L6-v2, 384 dimensions" in human


# search


def test_search_json_has_the_promised_shape(run: Run, place: Path) -> None:
    result = json.loads(run("search", "What does a ticket for the boat cost?", "--json").stdout)
    assert list(result)[:6] == ["query", "stage1", "reranker", "k", "candidates", "scored"]
    assert result["query"] == "What does a ticket for the boat cost?"
    assert (result["stage1"], result["k"], result["candidates"], result["truncated"]) == ("dense", 3, 20, 0)
    assert result["reranker"] not in ("auto", "none")
    texts = json.loads(run("status", "--json").stdout)["texts"]
    assert result["scored"] == min(texts, 20)
    assert list(result["timings_ms"]) == ["embed", "search", "rerank", "total"]
    assert all(value > 0 for value in result["timings_ms"].values())
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3]
    hit = result["hits"][0]
    assert list(hit)[:7] == [
        "rank", "score", "probability", "tokens_seen", "tokens_total", "candidate", "passage"
    ]  # fmt: skip
    assert list(hit["candidate"]) == ["rank", "score", "distance"]
    assert hit["candidate"]["score"] + hit["candidate"]["distance"] == pytest.approx(1, abs=1e-3)
    assert hit["tokens_seen"] == hit["tokens_total"] > 0
    passage = hit["passage"]
    assert list(passage) == [
        "id", "document_id", "source", "start", "end", "line_start", "line_end", "page", "text", "metadata"
    ]  # fmt: skip
    assert "ticket costs four crowns" in passage["text"]
    assert FERRY[passage["start"] : passage["end"]] == passage["text"]
    assert (passage["line_start"], passage["line_end"], passage["page"]) == (1, 1, None)
    assert {Path(passage["source"]), Path(hit["also_in"][0]["source"])} == {
        place / "docs" / "ferry.txt",
        place / "docs" / "copy_of_ferry.txt",
    }
    scores = [hit["score"] for hit in result["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_stage_2_off_shows_stage_1s_own_places(run: Run) -> None:
    result = json.loads(run("search", "opening the hives", "--reranker", "none", "--json").stdout)
    assert (result["reranker"], result["scored"], result["timings_ms"]["rerank"]) == ("none", 0, 0)
    for hit in result["hits"]:
        assert (hit["probability"], hit["tokens_seen"], hit["tokens_total"]) == (None, None, None)
        assert (hit["candidate"]["rank"], hit["candidate"]["score"]) == (hit["rank"], hit["score"])
        assert hit["candidate"]["distance"] == pytest.approx(1 - hit["score"], abs=1e-3)


@pytest.mark.parametrize("stage1", ["lexical", "hybrid"])
def test_other_ways_of_stage_1_have_no_distance(run: Run, stage1: str) -> None:
    result = json.loads(run("search", "bicycles", "--stage1", stage1, "--k", "1", "--json").stdout)
    assert result["stage1"] == stage1
    assert "bicycles" in result["hits"][0]["passage"]["text"]
    if stage1 == "lexical":
        assert result["hits"][0]["candidate"]["distance"] is None


def test_a_cross_encoder_gives_probabilities(run: Run) -> None:
    result = json.loads(
        run("search", "When does the ferry leave?", "--reranker", "minilm-l6", "--json").stdout
    )
    assert result["reranker"] == "minilm-l6"
    assert all(0 < hit["probability"] < 1 for hit in result["hits"])
    assert "score " in (
        human := run("search", "When does the ferry leave?", "--reranker", "minilm-l6").stdout
    )
    assert re.search(r"score -?\d+\.\d{3} \([<>]?\d+\.\d%\)", human)
    assert "stage 2 minilm-l6 (came with the package)" in human


def test_human_search_says_where_what_and_how(run: Run) -> None:
    done = run("search", "What does a ticket for the ferry cost?", "--k", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "What does a ticket for the ferry cost?"
    assert re.fullmatch(r"1  docs/(copy_of_)?ferry\.txt:1", lines[2])
    assert re.fullmatch(
        r"   score -?\d\.\d{3}.*  ·  stage 1: rank \d+, cosine \d\.\d{3}, distance \d\.\d{3}", lines[3]
    )
    assert "ticket costs four crowns" in " ".join(done.stdout.split())
    assert re.search(r"^   also in docs/(copy_of_)?ferry\.txt:1$", done.stdout, re.MULTILINE)
    assert re.search(
        r"stage 1 dense  ·  stage 2 \S+ \(auto, came with the package\)  ·  scored \d+", lines[-2]
    )
    assert re.fullmatch(r"embed .* ms  ·  search .* ms  ·  re-rank .* ms  ·  total .* ms", lines[-1])
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in lines)


def test_output_keeps_to_a_narrow_width(run: Run) -> None:
    for width in (40, 60):
        for command in (
            ("search", "when does the ferry leave?"),
            ("compare", "when does the ferry leave?"),
            ("status",),
        ):
            done = run(*command, COLUMNS=str(width))
            assert done.returncode == 0
            assert max(len(line) for line in done.stdout.splitlines()) <= width, done.stdout


def test_colour_is_for_terminals_and_can_be_refused(run: Run) -> None:
    colour = r"\x1b\[[0-9;]*3[0-7]"
    forced = run("search", "ferry ticket", FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert re.search(colour, forced)
    assert re.search(r"\x1b\[1;35mferry\x1b\[0m", forced)  # the query's words are set off
    refused_ = run("search", "ferry ticket", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").stdout
    assert not re.search(colour, refused_)
    assert "\x1b" not in run("search", "ferry ticket", TERM="xterm-256color").stdout


def test_a_query_may_come_from_stdin(run: Run) -> None:
    result = json.loads(run("search", "-", "--json", "--k", "1", stdin="opening\nthe hives\n").stdout)
    assert result["query"] == "opening\nthe hives"
    assert "April" in result["hits"][0]["passage"]["text"]


def test_odd_characters_in_a_query_are_no_trouble(run: Run) -> None:
    for query in (
        b"ferry \x00 ticket",
        b"ferry \xff\xfe ticket",
        "Fähre 渡し船 \U0001f6a2".encode(),
        b"a " * 300,
    ):
        done = run("search", "-", "--json", stdin=query)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(json.loads(done.stdout)["hits"]) == 3


def test_unicode_survives_where_stdout_can_carry_it_and_where_not(run: Run) -> None:
    for encoding in ("utf-8", "ascii"):
        done = run("search", "Fähre", "--k", "1", "--json", PYTHONIOENCODING=encoding)
        assert "Fähre" in json.loads(done.stdout)["hits"][0]["passage"]["text"]
        assert run("search", "Fähre", "--k", "1", PYTHONIOENCODING=encoding).returncode == 0


def test_where_limits_the_search(run: Run) -> None:
    result = json.loads(run("search", "when is it opened?", "--where", "extension=.md", "--json").stdout)
    assert {Path(hit["passage"]["source"]).name for hit in result["hits"]} == {"bees.md"}


def test_fewer_passages_than_hits_are_fine(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The mill turns.\n")
    run("index", "one.txt", cwd=tmp_path)
    assert len(json.loads(run("search", "mill", "--k", "9", "--json", cwd=tmp_path).stdout)["hits"]) == 1


def test_an_empty_index_has_no_hits(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    run("index", "empty.txt", cwd=tmp_path)
    done = run("search", "mill", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no passage found" in done.stdout
    assert json.loads(run("search", "mill", "--json", cwd=tmp_path).stdout)["hits"] == []
    assert json.loads(run("compare", "mill", "--json", cwd=tmp_path).stdout)["summary"]["queries"] == 1


def test_a_reader_who_has_seen_enough_is_no_error(place: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "search", "ferry", "--json", "--k", "5"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({}),
    )
    assert reader.stdout is not None
    assert reader.stderr is not None
    reader.stdout.close()
    assert reader.stderr.read() == b""
    assert reader.wait() == 0
    reader.stderr.close()


def on_a_terminal(*arguments: str, cwd: Path, columns: int = 80) -> tuple[dict[str, Any], str]:
    """Run a command whose stderr is a terminal; return its JSON and what the terminal got."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=clean_environment({"TERM": "xterm"}),
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that all who wrote to it are gone
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    out, _ = process.communicate()
    return json.loads(out), shown.decode(errors="replace")


@pytest.mark.skipif(os.name != "posix", reason="opens a terminal")
def test_progress_goes_to_a_terminal_on_stderr_and_nowhere_else(place: Path, tmp_path: Path) -> None:
    new = ("index", "docs", "--json", "--index")
    report, shown = on_a_terminal(*new, str(tmp_path / "a"), cwd=place)
    assert report["added"] == 7
    assert "7/7 documents" in shown
    assert "\x1b[?25h" in shown  # the cursor is given back
    narrow, shown = on_a_terminal(*new, str(tmp_path / "b"), cwd=place, columns=40)
    assert narrow["added"] == 7
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert max(map(len, lines)) <= 40
    _, shown = on_a_terminal(*new, str(tmp_path / "c"), "--quiet", cwd=place)
    assert shown == ""
    _, shown = on_a_terminal("compare", "ferry", "bees", "--json", cwd=place)
    assert "2/2" in shown


# compare


def test_compare_json_shows_each_rerankers_moves(run: Run) -> None:
    rerankers = ["late-interaction", "minilm-l6"]
    options = [word for name in rerankers for word in ("--reranker", name)]
    value = json.loads(run("compare", "When does the boat go?", *options, "--k", "2", "--json").stdout)
    assert list(value) == ["k", "candidates", "comparisons", "summary"]
    (comparison,) = value["comparisons"]
    assert comparison["stage1"]["how"] == "dense"
    before = [hit["passage"]["id"] for hit in comparison["stage1"]["hits"]]
    assert [each["reranker"] for each in comparison["rerankers"]] == rerankers
    for each in comparison["rerankers"]:
        new = [hit["passage"]["id"] not in before for hit in each["hits"]]
        assert [hit["move"] == "new" for hit in each["hits"]] == new
        assert each["changed"] == sum(new)
        assert each["new_first"] == (each["hits"][0]["passage"]["id"] != before[0])
        for hit in each["hits"]:
            if hit["move"].startswith(("up", "down")):
                way, places = hit["move"].split()
                assert hit["candidate"]["rank"] - hit["rank"] == int(places) * (1 if way == "up" else -1)
    assert value["summary"]["agreements"][0]["rerankers"] == rerankers
    assert 0 <= value["summary"]["agreements"][0]["overlap"] <= 1


def test_compare_takes_queries_from_arguments_and_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("When is bread baked?\n\n  late books  \n", encoding="utf-8-sig")
    value = json.loads(run("compare", "hives", "--queries", str(tmp_path / "queries.txt"), "--json").stdout)
    assert [each["query"] for each in value["comparisons"]] == ["hives", "When is bread baked?", "late books"]
    assert value["summary"]["queries"] == 3
    changed = [each["rerankers"][0]["changed"] for each in value["comparisons"]]
    assert value["summary"]["rerankers"][0]["mean_changed"] == pytest.approx(sum(changed) / 3, abs=1e-4)
    piped = json.loads(run("compare", "--queries", "-", "--summary", "--json", stdin="bread\nbees\n").stdout)
    assert (piped["comparisons"], piped["summary"]["queries"]) == ([], 2)


def test_human_compare_is_side_by_side_where_there_is_room(run: Run) -> None:
    wide = run("compare", "When does the boat go?", COLUMNS="120").stdout
    assert re.search(r"^stage 1: dense +stage 2: \S+$", wide, re.MULTILINE)
    assert re.search(r"^re-ranking changed \d of 3", wide, re.MULTILINE)
    assert re.search(r"^embed .* ms  ·  search .* ms  ·  re-rank .* ms", wide, re.MULTILINE)
    narrow = run("compare", "When does the boat go?", COLUMNS="60").stdout
    assert narrow.index("stage 1: dense\n") < narrow.index("stage 2: ")
    assert len(re.findall(r"^[123]  (?:new|up|down|same)\b", narrow, re.MULTILINE)) == 3


def test_several_queries_end_in_a_summary(run: Run) -> None:
    text = run("compare", "bread", "bees", "--reranker", "late-interaction", "--reranker", "minilm-l6").stdout
    head = next(line for line in text.splitlines() if line.startswith("over 2 queries"))
    assert head.split("   ")[0] == "over 2 queries"
    assert re.search(r"^late-interaction +\d\.\d\d +\d+% +\d+% +[\d.,]+ ms$", text, re.MULTILINE)
    assert re.search(r"^late-interaction and minilm-l6 share \d+% of their first 3$", text, re.MULTILINE)


# Settings at the command line


def test_settings_come_from_flags_then_variables_then_the_file(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "secondpass.toml").write_text(
        f'index = "{place / ".secondpass"}"\nk = 1\ncandidates = 6\nreranker = "none"\n'
    )
    inner = tmp_path / "deep"
    inner.mkdir()

    def got(*flags: str, **variables: str) -> tuple[int, int, str]:
        result = json.loads(run("search", "ferry", "--json", *flags, cwd=inner, **variables).stdout)
        assert len(result["hits"]) == result["k"]
        return result["k"], result["candidates"], result["reranker"]

    assert got() == (1, 6, "none")
    assert got(SECONDPASS_K="2") == (2, 6, "none")
    assert got("--k", "4", "--reranker", "late-interaction", SECONDPASS_K="2") == (4, 6, "late-interaction")


def test_a_wrong_settings_file_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secondpass.toml").write_text("candidate = 6\n")
    refused(
        run("search", "ferry", cwd=tmp_path),
        2,
        r"unknown key 'candidate' in .*secondpass\.toml; did you mean",
    )
    refused(run("search", "ferry", SECONDPASS_K="many"), 2, "SECONDPASS_K must be a whole number")


# Bad input


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("search",), "Missing argument"),
        (("search", ""), "the query is empty"),
        (("search", "  \n "), "the query is empty"),
        (("search", "-"), "the query on stdin is empty"),
        (("search", "word " * 5000), "the query has 2[45],?\\d* characters|shorter question"),
        (("search", "a", "b"), "unexpected extra argument"),
        (("search", "ferry", "--k", "0"), "--k must be a whole number of at least 1, got '0'"),
        (("search", "ferry", "--k", "three"), "--k must be a whole number of at least 1, got 'three'"),
        (("search", "ferry", "--k", "30"), "k is 30, but stage 1 hands on only 20"),
        (
            ("search", "ferry", "--candidates", "-1"),
            "--candidates must be a whole number of at least 1, got '-1'",
        ),
        (("search", "ferry", "--stage1", "fuzzy"), "--stage1 must be one of dense, lexical, hybrid"),
        (("search", "ferry", "--where", "extension"), "--where wants KEY=VALUE"),
        (("search", "ferry", "--where", "a=1", "--where", "a=2"), "gives 'a' twice"),
        (("search", "ferry", "--reranker", ""), "--reranker must be text"),
        (("search", "ferry", "--rerank", "none"), "No such option.*--rerank"),
        (("index",), "Missing argument"),
        (("index", "docs", "--max-file-size", "huge"), "--max-file-size must be a size"),
        (("index", "docs", "--overlap", "-1"), "--overlap must be a whole number of at least 0"),
        (("index", "docs", "--store", "cloud"), "--store must be one of sqlite, chroma"),
        (("compare",), "no query"),
        (("compare", "ferry", "--reranker", "none"), "'none' changes nothing"),
        (("compare", "--queries", "missing.txt"), "cannot read the queries in missing.txt"),
        (("demo", "--reranker", "none"), "'none' changes nothing"),
        (("models", "export", "minilm-l6", "minilm.tar"), "came with the package"),
        (("models", "import", "missing.tar"), "there is no file missing.tar"),
        (("index", "docs", "--embedder", "nobody"), "no embedder 'nobody'; known are all-MiniLM-L6-v2"),
        (("serch", "ferry"), "No such command 'serch'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    refused(run(*arguments), 2, says)


def test_queries_that_are_not_text_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "queries.bin").write_bytes(b"\xff\xfe\x00\x01")
    refused(run("compare", "--queries", str(tmp_path / "queries.bin")), 2, "are not UTF-8 text")


def test_sizes_that_contradict_each_other_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    refused(run("index", "a.txt", "--size", "10", "--overlap", "10", cwd=tmp_path), 2, "overlap")


def test_a_missing_index_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    for command in (("search", "ferry"), ("compare", "ferry"), ("status",)):
        refused(run(*command, cwd=tmp_path), 1, "no index in .*secondpass index")
    refused(run("search", "ferry", "--json", cwd=tmp_path), 1, "no index in")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["noise", "truncated", "empty"])
def test_a_damaged_index_is_told(run: Run, place: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "index"
    run("index", str(place / "docs"), "--index", str(folder))
    database = folder / "index.db"
    data = database.read_bytes()
    database.write_bytes(
        {"noise": os.urandom(len(data)), "truncated": data[: len(data) // 2], "empty": b""}[damage]
    )
    for extra in ("-wal", "-shm"):
        database.with_name(f"index.db{extra}").unlink(missing_ok=True)
    refused(run("search", "ferry", "--index", str(folder)), 1, str(folder))


def test_a_reranker_that_is_not_here_is_told_without_any_network(run: Run, tmp_path: Path) -> None:
    done = run("search", "ferry", "--reranker", "ms-marco-MiniLM-L-6-v2", HF_HOME=str(tmp_path))
    refused(done, 1, "not on this machine.*secondpass models pull ms-marco-MiniLM-L-6-v2")
    refused(run("search", "ferry", "--reranker", "no-such-model"), 1, "no model 'no-such-model'")
    (tmp_path / "model").mkdir()
    refused(run("search", "ferry", "--reranker", str(tmp_path / "model")), 1, "has no config.json")


def test_a_folder_that_cannot_be_written_is_told(run: Run) -> None:
    """Not even root can make a folder inside a file."""
    refused(run("index", "docs", "--index", "docs/ferry.txt/new"), 1, "cannot .*docs/ferry.txt/new")
    refused(run("demo", "--folder", "docs/ferry.txt/new"), 1, "cannot write .*docs/ferry.txt/new")


def test_an_index_folder_that_is_a_file_is_told(run: Run, place: Path) -> None:
    file = place / "docs" / "ferry.txt"
    refused(run("index", "docs", "--index", str(file)), 1, "is a file")
    refused(run("search", "ferry", "--index", str(file)), 1, "is a file|no index")


def test_debugging_shows_where_an_error_came_from(run: Run) -> None:
    done = run("search", "ferry", "--k", "30", SECONDPASS_DEBUG="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: k is 30")


def test_an_unexpected_error_is_one_line_too(run: Run, place: Path, tmp_path: Path) -> None:
    """A package that is broken on this machine stands for whatever nobody thought of."""
    (tmp_path / "rich.py").write_text("raise ZeroDivisionError('broken')")
    done = run("search", "ferry", PYTHONPATH=str(tmp_path))
    refused(done, 1, r"unexpected ZeroDivisionError: broken; this is a bug; run with SECONDPASS_DEBUG=1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_told(place: Path) -> None:
    for output in (["--json"], []):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "secondpass", "status", *output],
                cwd=place,
                stdout=full,
                stderr=subprocess.PIPE,
                env=clean_environment({}),
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="closes a stream in a POSIX shell")
@pytest.mark.parametrize(("closed", "code"), [("<", 0), (">", 0), ("2>", 2)])
def test_closed_streams_are_no_trouble(place: Path, closed: str, code: int) -> None:
    query = ["search", "ferry", "--k", "30"] if code else ["search", "ferry"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}&-', "sh", sys.executable, "-m", "secondpass", *query],
        cwd=place,
        capture_output=True,
        env=clean_environment({}),
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, b"")
    assert (done.stdout == b"") == (closed != "<")


def test_interrupting_ends_quietly(place: Path) -> None:
    import signal

    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "search", "-"],
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({}),
    )
    assert process.stdin is not None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)  # it waits for its query by then
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


# models and the rest


def test_models_list_says_what_is_here(run: Run, tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "SECONDPASS_MODELS": str(tmp_path / "models")}
    models = {
        each["name"]: each
        for each in json.loads(run("models", "list", "--json", **environment).stdout)["models"]
    }
    assert [each["name"] for each in models.values() if each["auto"]] == ["minilm-l6"]
    for name in ("all-MiniLM-L6-v2", "late-interaction"):
        assert (models[name]["installed"], models[name]["origin"]) == (True, "package")
    assert (models["bge-reranker-base"]["installed"], models["bge-reranker-base"]["path"]) == (False, None)
    human = run("models", "list", COLUMNS="60", **environment).stdout
    assert "✓ late-interaction" in human
    assert max(map(len, human.splitlines())) <= 60


def test_pulling_a_shipped_model_needs_no_network(run: Run) -> None:
    pulled = json.loads(run("models", "pull", "late-interaction", "--json").stdout)
    assert (pulled["name"], pulled["origin"]) == ("late-interaction", "package")


def test_the_version_is_told(run: Run) -> None:
    import secondpass as package

    assert run("--version").stdout == f"secondpass {package.__version__}\n"


def test_no_arguments_show_the_help(run: Run) -> None:
    done = run()
    assert done.returncode == 0
    assert "Usage: secondpass" in done.stdout


def test_a_named_encoding_is_used(tmp_path: Path) -> None:
    (tmp_path / "polish.txt").write_bytes("Zażółć gęślą jaźń.".encode("cp1250"))
    done = secondpass("index", "polish.txt", "--encoding", "cp1250", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(secondpass("search", "gęślą", "--stage1", "lexical", "--json", cwd=tmp_path).stdout)
    assert found["hits"][0]["passage"]["text"] == "Zażółć gęślą jaźń."


def test_an_unknown_encoding_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    done = secondpass("index", "a.txt", "--encoding", "klingon", cwd=tmp_path)
    refused(done, 2, "klingon")
