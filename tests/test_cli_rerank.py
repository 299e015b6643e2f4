"""``secondpass rerank`` and ``secondpass.rerank``: candidates from elsewhere, in and out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import secondpass
from secondpass.engine import Candidate, rerank
from secondpass.errors import InputError, ModelNotFoundError, QueryError, SearchCancelledError
from secondpass.reranking import load_reranker
from secondpass.types import Reranker

DEPOSIT = "The deposit is returned within thirty days of the end of the lease."
KEYS = "Keys are handed over at the office on the first day."
NOISE = "No noise after ten in the evening."
ASKED = "When do I get the deposit back?"


@pytest.fixture(scope="module")
def reader() -> Reranker:
    return load_reranker("minilm-l6")


def run(
    *arguments: str, lines: str | bytes = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    given = lines if isinstance(lines, bytes) else lines.encode()
    return subprocess.run(
        [sys.executable, "-m", "secondpass", "rerank", *arguments],
        input=given,
        capture_output=True,
        check=False,
        cwd=cwd,
    )


def printed(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


# The library


def test_what_answers_comes_first_and_keeps_what_it_came_with(reader: Reranker) -> None:
    given = [Candidate(KEYS, "k", 0.9), Candidate(DEPOSIT, "d", 0.4, {"page": 3}), NOISE]
    result = secondpass.rerank(ASKED, given, reader)
    first = result.hits[0]
    assert (first.passage.text, first.passage.document_id, first.passage.metadata) == (
        DEPOSIT,
        "d",
        {"page": 3},
    )
    assert first.candidate is not None
    assert (first.candidate.rank, first.candidate.score) == (2, 0.4)
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    wanted = reader.score(ASKED, [KEYS, DEPOSIT, NOISE]).tolist()
    assert first.score == wanted[1]
    assert (result.stage1, result.reranker, result.scored) == ("given", "minilm-l6", 3)
    assert len(rerank(ASKED, given, reader, k=2).hits) == 2
    assert len(rerank(ASKED, given, reader, k=9).hits) == 3


def test_equal_texts_and_equal_ids_all_come_back_in_their_order(reader: Reranker) -> None:
    given = [Candidate(KEYS, "same", n) for n in range(12)]
    hits = rerank(ASKED, given, reader).hits
    assert [hit.candidate.score for hit in hits if hit.candidate] == list(range(12))


def test_nothing_and_empty_texts_are_no_trouble(reader: Reranker) -> None:
    assert rerank(ASKED, [], reader).hits == ()
    assert [hit.passage.text for hit in rerank(ASKED, ["", DEPOSIT], reader).hits] == [DEPOSIT, ""]


def test_a_deadline_leaves_the_rest_behind_in_their_order(reader: Reranker) -> None:
    result = rerank(ASKED, [f"{DEPOSIT} {n} " * 60 for n in range(300)], reader, deadline_ms=150)
    assert 0 < result.scored < 300
    left = [hit.candidate.rank for hit in result.ranked if hit.unread and hit.candidate]
    assert len(left) == 300 - result.scored
    assert left == sorted(left)


def test_a_cancelled_call_ends(reader: Reranker) -> None:
    gone = threading.Event()
    gone.set()
    with pytest.raises(SearchCancelledError):
        rerank(ASKED, [DEPOSIT], reader, cancel=gone)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((" ", [KEYS]), QueryError, "empty"),
        ((ASKED, [KEYS, 3]), InputError, "candidate 2 must be text or a Candidate with text, got int"),
        ((ASKED, [Candidate(None)]), InputError, "candidate 1 .* got NoneType"),  # type: ignore[arg-type]
        ((ASKED, [KEYS], "minilm-l6", 0), InputError, "k must be"),
        ((ASKED, [KEYS], 5), InputError, "re-ranker has a name and score"),
        ((ASKED, [KEYS], "no-such"), ModelNotFoundError, "no-such"),
    ],
)
def test_what_cannot_be_used_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        rerank(*arguments)


# The command


def test_lines_come_back_with_all_their_keys() -> None:
    lines = [{"text": KEYS, "id": 7, "score": 0.8, "tags": ["a"]}, {"text": DEPOSIT, "id": "ü"}]
    done = run("--query", ASKED, lines="\n".join(map(json.dumps, lines)) + f"\n\n{json.dumps(NOISE)}")
    assert (done.returncode, done.stderr) == (0, b"")
    first, *others = printed(done)
    assert first | lines[1] == first
    assert (first["rerank_rank"], first["candidate_rank"], first["reranker"]) == (1, 2, "minilm-l6")
    assert 0 < first["relevance_probability"] < 1
    assert sorted(each["candidate_rank"] for each in others) == [1, 3]
    assert {"text": NOISE}.items() <= next(each for each in others if each["candidate_rank"] == 3).items()
    kept = next(each for each in others if each["candidate_rank"] == 1)
    assert (kept["id"], kept["score"], kept["tags"]) == (7, 0.8, ["a"])


def test_a_query_s_lines_are_printed_as_soon_as_the_next_begins() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "secondpass", "rerank", "--k", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for query, text in ((ASKED, KEYS), (ASKED, DEPOSIT), ("Is noise allowed?", NOISE)):
            process.stdin.write(json.dumps({"query": query, "text": text}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == DEPOSIT  # stdin is still open
        process.stdin.close()
        assert json.loads(process.stdout.readline())["text"] == NOISE
        assert process.stdout.readline() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "a"', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "an object or a text in quotes is wanted, got list"),
        (b'{"body": "a longer text", "id": "x"}', "--text-field body would take another"),
        (b'{"text": 3}', "no text under 'text'"),
        (b'{"text": "a", "query": 3}', "no query"),
        (b"[" * 100_000, "line 2"),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_is_printed(line: bytes, says: str) -> None:
    good = json.dumps({"query": "first?", "text": KEYS}).encode()
    done = run("--query", ASKED, lines=good + b"\n" + line + b"\n")
    assert done.returncode == 2
    message = done.stderr.decode()
    assert says in message
    assert "stdin, line 2" in message
    assert message.count("\n") == 1
    assert "Traceback" not in message
    done = run(
        "--query", ASKED, "--skip-bad", lines=good + b"\n" + line + b"\n" + json.dumps(DEPOSIT).encode()
    )
    assert done.returncode == 1
    assert [each["text"] for each in printed(done)] == [KEYS, DEPOSIT]
    assert says in done.stderr.decode()


def test_a_file_and_another_key_for_the_text(tmp_path: Path) -> None:
    lines = [{"body": KEYS}, {"body": DEPOSIT}]
    (tmp_path / "found.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = run(
        "found.jsonl",
        "--query",
        ASKED,
        "--text-field",
        "body",
        "--reranker",
        "late-interaction",
        cwd=tmp_path,
    )
    assert [each["body"] for each in printed(done)] == [DEPOSIT, KEYS]
    assert printed(done)[0]["reranker"] == "late-interaction"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--query", "x", "nowhere.jsonl"), "cannot read the candidates in nowhere.jsonl: No such file"),
        (("--query", "x", "--reranker", "none"), "--reranker none would leave the lines as they are"),
        (("--query", "x", "--k", "0"), "--k"),
        ((), "line 1: no query"),
    ],
)
def test_wrong_calls_say_what_is_wrong(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(*arguments, lines=json.dumps(KEYS), cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert done.stdout == b""


def test_nothing_in_nothing_out() -> None:
    done = run("--query", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
