from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import openai_server
from openai_server import OpenAiServer
from secondpass.answering import Llm, SupportsUsage, Usage, load_llm
from secondpass.answering.endpoint import Endpoint
from secondpass.errors import InputError, LlmError

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When is bread baked?"}]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECONDPASS_LLM_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    with openai_server.running() as server:
        yield server


def said(llm: Endpoint) -> list[str]:
    return list(llm.stream(ASKED, 100))


def test_an_answer_is_streamed_with_what_it_took(server: OpenAiServer) -> None:
    llm = Endpoint(server.url, "small-model")
    assert isinstance(llm, Llm)
    reply = llm.stream(ASKED, 100)
    assert list(reply) == server.pieces
    assert isinstance(reply, SupportsUsage)
    assert (reply.usage, reply.cut_off) == (Usage(211, 7), False)
    [request] = server.requests
    assert request["messages"] == ASKED
    assert (request["model"], request["stream"], request["max_tokens"]) == ("small-model", True, 100)
    assert llm.name == f"small-model at {server.url.split('/')[2]}"


def test_the_only_model_need_not_be_named(server: OpenAiServer) -> None:
    llm = load_llm(url=server.url)
    assert isinstance(llm, Endpoint)
    assert llm.model == "small-model"


@pytest.mark.parametrize(("models", "told"), [(["b", "a"], r"several models \(a, b\)"), ([], "no model")])
def test_otherwise_it_must_be(server: OpenAiServer, models: list[str], told: str) -> None:
    server.models = models
    with pytest.raises(InputError, match=told):
        Endpoint(server.url)


def test_a_length_stop_is_told(server: OpenAiServer) -> None:
    server.failing = "length"
    reply = Endpoint(server.url, "small-model").stream(ASKED, 3)
    assert "".join(reply) == "".join(server.pieces)
    assert reply.cut_off


def test_the_key_of_the_environment_is_sent(server: OpenAiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "secret"
    with pytest.raises(
        LlmError, match=r"refused the key \(401: Incorrect API key provided\); set SECONDPASS"
    ):
        said(Endpoint(server.url, "small-model"))
    monkeypatch.setenv("OPENAI_API_KEY", "for OpenAI only")
    with pytest.raises(LlmError, match="refused the key"):
        Endpoint(server.url)
    assert not any("OpenAI" in key for key in server.keys)
    monkeypatch.setenv("SECONDPASS_LLM_KEY", "secret")
    assert said(Endpoint(server.url)) == server.pieces


def test_an_unknown_model_names_those_there(server: OpenAiServer) -> None:
    with pytest.raises(LlmError, match=r"has no 'huge'.*set llm-model to one of: small-model"):
        said(Endpoint(server.url, "huge"))


def test_a_url_that_is_no_base_is_told(server: OpenAiServer) -> None:
    with pytest.raises(LlmError, match="base URL"):
        said(Endpoint(server.url.removesuffix("/v1"), "small-model"))


def test_nobody_there_is_told_at_once() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(LlmError, match=r"cannot reach .*refused.*is the server running there\?"):
            said(Endpoint(url, "small-model"))


def test_silence_ends_at_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(LlmError, match="did not answer in time"):
            said(Endpoint(url, "small-model", read_seconds=0.1))


@pytest.mark.parametrize(
    ("failing", "told"),
    [("break", "broke off"), ("error", "out of memory"), ("silent end", "ended before the answer did")],
)
def test_a_break_keeps_what_was_said(server: OpenAiServer, failing: str, told: str) -> None:
    server.failing = failing
    reply = Endpoint(server.url, "small-model").stream(ASKED, 100)
    heard: list[str] = []
    with pytest.raises(LlmError, match=told) as caught:
        heard.extend(reply)
    assert caught.value.text == "".join(heard)
    assert heard[:2] == server.pieces[:2]


def test_a_web_page_is_no_answer(server: OpenAiServer) -> None:
    server.failing = "html"
    with pytest.raises(LlmError, match="no answer that a chat model gives"):
        said(Endpoint(server.url, "small-model"))


def test_a_server_that_wants_another_parameter_gets_it(server: OpenAiServer) -> None:
    server.failing = "max_tokens"
    assert said(Endpoint(server.url, "small-model")) == server.pieces
    assert server.requests[-1]["max_completion_tokens"] == 100
    assert "max_tokens" not in server.requests[-1]


def test_closing_ends_the_connection(server: OpenAiServer) -> None:
    server.pieces = ["word "] * 200_000
    reply = Endpoint(server.url, "small-model").stream(ASKED, 100)
    next(reply)
    reply.close()
    assert server.gone.wait(20)


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x/v1", "http://", "", 7])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="the URL of an LLM is like"):
        Endpoint(url, "small-model")


def test_no_llm_is_loaded_unless_one_is_named() -> None:
    assert load_llm() is None
    assert load_llm("none", url="http://localhost:1/v1") is None
    with pytest.raises(InputError, match="there is no URL"):
        load_llm("endpoint")
    with pytest.raises(InputError, match=r"path of a \.gguf file, got 'gpt'"):
        load_llm("gpt")


def test_a_missing_client_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "from secondpass.answering import load_llm\n"
        "from secondpass.errors import MissingExtraError\n"
        "try: load_llm(url='http://localhost:1/v1', model='m')\n"
        "except MissingExtraError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'secondpass[llm]'" in done.stdout


def test_answering_without_an_llm_loads_no_client() -> None:
    program = (
        "import json, sys\nimport secondpass.answering\n"
        "print(json.dumps([name for name in ('openai', 'xllamacpp', 'httpx', 'llm') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
