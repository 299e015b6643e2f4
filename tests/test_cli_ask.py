"""``secondpass ask`` as people run it: a new process, a real index, a real server, the real small model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import openai_server
from openai_server import OpenAiServer

FILES = {
    "bakery.txt": "Bread is baked on Mondays.\nRolls are baked daily.\n\nThe oven is lit at four.\n",
    "library.txt": "Books are lent for three weeks.\n\nA late book costs one crown a week.\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ask")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = secondpass(folder, "index", *FILES, "--quiet")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    with openai_server.running() as server:
        yield server


def secondpass(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SECONDPASS_") and name not in ("COLUMNS", "NO_COLOR", "OPENAI_API_KEY")
    }
    return subprocess.run(
        [sys.executable, "-m", "secondpass", *arguments],
        cwd=folder,
        env={**kept, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8", **more},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def ask(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return secondpass(folder, "ask", *arguments, **more)


def test_without_an_llm_it_quotes_with_file_and_line(place: Path) -> None:
    done = ask(place, "When is bread baked?")
    assert (done.returncode, done.stderr) == (0, "")
    title, quote = re.match(r"(.*)\n\n(.*)\n", done.stdout).groups()
    assert title == "When is bread baked?"
    assert quote.startswith("“Bread is baked on Mondays.")
    assert re.search(r"^\[1\] bakery\.txt:1-4  see line 1", done.stdout, re.MULTILINE)
    assert "sentences quoted, no LLM" in done.stdout


def test_an_endpoint_writes_and_its_citations_are_shown(place: Path, server: OpenAiServer) -> None:
    server.pieces = ["Bread is baked on\x1b[2J Mondays [1]", ". Napoleon won [2]. ", "So I hear [7]."]
    done = ask(place, "When is bread baked?", "--llm-url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Bread is baked on\ufffd[2J Mondays [1]. Napoleon won [2]. So I hear [7].\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert re.search(r"^\[1\] bakery\.txt:1-4  see line 1", done.stdout, re.MULTILINE)
    assert "! [2] shares no word with that passage: Napoleon won." in done.stdout
    assert "! [7] no such passage: So I hear." in done.stdout
    assert "written by small-model at 127.0.0.1:" in done.stdout
    assert "211 + 7 tokens" in done.stdout


def test_an_answer_without_citations_says_so(place: Path, server: OpenAiServer) -> None:
    server.pieces = ["On Mondays."]
    done = ask(place, "When is bread baked?", "--llm-url", server.url)
    assert "! the answer cites no passage: nothing in it was checked" in done.stdout
    assert "[1] bakery.txt:1-4  not cited" in done.stdout


def test_the_prompt_can_be_seen(place: Path, server: OpenAiServer) -> None:
    done = ask(place, "When is bread baked?", "--llm-url", server.url, "--show-prompt")
    [request] = server.requests
    for message in request["messages"]:
        assert message["content"] in done.stderr
    assert "begin " not in done.stdout
    quoted = ask(place, "When is bread baked?", "--show-prompt")
    assert quoted.stderr == "no prompt: no LLM is asked\n\n"


def test_json_has_the_promised_shape(place: Path, server: OpenAiServer) -> None:
    done = ask(place, "When is bread baked?", "--llm-url", server.url, "--json")
    found = json.loads(done.stdout)
    page = (Path(__file__).parent.parent / "docs" / "json.md").read_text(encoding="utf-8")
    example = re.search(r"## `ask --json`\n\n```json\n(.*?)```", page, re.DOTALL)
    promised = json.loads(example[1])
    assert keys(found) == keys(promised)
    assert found["answer"] == "Bread is baked on Mondays [1]."
    [citation] = found["citations"]
    assert [quote["text"] for quote in citation["quotes"]] == ["Bread is baked on Mondays."]
    assert found["prompt"] == server.requests[0]["messages"]
    assert found["usage"] == {"prompt_tokens": 211, "answer_tokens": 7, "estimated": False}


def keys(value: object) -> object:
    """Return the keys of a document, those of the first of each list."""
    if isinstance(value, dict):
        return {key: keys(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [keys(value[0])]
    return None


def test_settings_name_the_llm(place: Path, server: OpenAiServer, tmp_path: Path) -> None:
    (tmp_path / "secondpass.toml").write_text(
        f'index = "{place / ".secondpass"}"\nllm-url = "{server.url}"\nllm-model = "small-model"\n'
    )
    server.key = "secret"
    done = ask(tmp_path, "When is bread baked?", SECONDPASS_LLM_KEY="secret")
    assert done.returncode == 0, done.stderr
    assert "written by small-model" in done.stdout
    off = ask(tmp_path, "When is bread baked?", "--llm", "none")
    assert "sentences quoted, no LLM" in off.stdout
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--llm", "gpt"], 2, "got 'gpt'"),
        (["--llm", "none.gguf"], 1, "there is no LLM at none.gguf"),
        (["--llm", "endpoint"], 2, "there is no URL; set llm-url"),
        (["--llm-url", "localhost"], 2, "the URL of an LLM is like"),
        (["--llm-window", "many"], 2, "--llm-window must be a whole number of at least 512"),
        (["--llm-url", "http://127.0.0.1:9/v1", "--llm-model", "m"], 1, "cannot reach http://127.0.0.1:9/v1"),
        (["--min-precision", "0.8"], 2, "min-precision needs a calibration"),
        (["--budget", "0"], 2, "budget must be at least 1"),
    ],
)
def test_trouble_is_one_line(place: Path, arguments: list[str], code: int, told: str) -> None:
    done = ask(place, "When is bread baked?", *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_break_shows_what_was_said(place: Path, server: OpenAiServer) -> None:
    server.failing = "break"
    done = ask(place, "When is bread baked?", "--llm-url", server.url)
    assert done.returncode == 1
    assert done.stdout.endswith("Bread is baked on Mondays [\n")
    assert "broke off in its answer" in done.stderr


def test_the_whole_chain_runs_offline(place: Path) -> None:
    done = ask(place, "When is bread baked?", "--llm", "local", "--llm-window", "1024", "--k", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["llm"].startswith("SmolLM2-135M")
    assert found["answer"].strip()
    assert found["usage"]["prompt_tokens"] > 50
    assert all(citation["number"] == 1 for citation in found["citations"])
    assert all(flag["number"] != 1 or flag["reason"] != "no such passage" for flag in found["flags"])
