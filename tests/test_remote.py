"""Remote re-rankers against a real HTTP server that answers in the shapes the services answer in."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from secondpass import Engine, Index, load_reranker
from secondpass.errors import InputError, QueryError, RemoteError
from secondpass.reranking import RemoteReranker, is_remote
from secondpass.scores import ScoreCache
from secondpass.testing import RerankerContract
from secondpass.types import SupportsReadings

KEY = "sk-very-secret-0123456789"
QUERY = "What is the kettle made of?"
PASSAGES = ["Rates rose again.", "The kettle is made of steel.", "A kettle is sold in the shop."]


def worth(query, text):
    """Return the share of the query's words in a text, in 0..1."""
    wanted = set(re.findall(r"\w+", query.lower()))
    return len(wanted & set(re.findall(r"\w+", text.lower()))) / len(wanted)


def cohere(asked):
    hits = [
        {"index": place, "relevance_score": worth(asked["query"], text)}
        for place, text in enumerate(asked["documents"])
    ]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return {"id": "07734bd2", "results": best_first(hits, "relevance_score"), "meta": meta}


def jina(asked):
    assert asked["return_documents"] is False
    usage = {"total_tokens": 815}
    return {"model": asked["model"], "usage": usage, "results": cohere(asked)["results"]}


def voyage(asked):
    assert asked["truncation"] is True
    usage = {"total_tokens": 26}
    return {"object": "list", "data": cohere(asked)["results"], "model": asked["model"], "usage": usage}


def tei(asked):
    assert asked["truncate"] is asked["raw_scores"] is True
    assert "model" not in asked
    hits = [
        {"index": place, "score": 10 * worth(asked["query"], text) - 5}
        for place, text in enumerate(asked["texts"])
    ]
    return best_first(hits, "score")


def infinity(asked):
    assert asked["raw_scores"] is True
    hits = [
        {"relevance_score": 10 * worth(asked["query"], text) - 5, "index": place, "document": None}
        for place, text in enumerate(asked["documents"])
    ]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return {
        "object": "rerank",
        "results": best_first(hits, "relevance_score"),
        "model": asked["model"],
        "usage": usage,
        "id": "infinity-1",
        "created": 0,
    }


def best_first(hits, score):
    return sorted(hits, key=lambda hit: -hit[score])


SHAPES = {"cohere": cohere, "jina": jina, "voyage": voyage, "tei": tei, "infinity": infinity}
PATHS = {
    "cohere": "/v2/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
    "tei": "/rerank",
    "infinity": "/rerank",
}


class QuietServer(ThreadingHTTPServer):
    """Does not write of clients that hang up, which some of these tests make them do."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Service:
    """A server in this process; ``script`` holds what to do with the next requests instead of answering."""

    def __init__(self):
        self.asked = []
        self.headers = []
        self.paths = []
        self.script = []
        self.shape = cohere
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                service.headers.append(dict(self.headers))
                service.paths.append(self.path)
                asked = json.loads(body)
                service.asked.append(asked)
                step = service.script.pop(0) if service.script else None
                if step is None:
                    self.answer(200, json.dumps(service.shape(asked)).encode())
                elif callable(step):
                    step(self)
                else:
                    self.answer(*step)

            def answer(self, status, content, **headers):
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def _server():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def service(_server):
    _server.asked.clear()
    _server.headers.clear()
    _server.paths.clear()
    _server.script.clear()
    _server.shape = cohere
    return _server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("COHERE", "CO", "JINA", "VOYAGE", "TEI", "INFINITY"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
        monkeypatch.delenv(f"SECONDPASS_{name}_URL", raising=False)
    monkeypatch.delenv("SECONDPASS_REMOTE", raising=False)


@pytest.fixture
def reranker(service):
    with RemoteReranker(
        "cohere:rerank-v3.5", base_url=service.url, api_key=KEY, backoff=0.001, timeout=5
    ) as made:
        yield made


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_each_service_is_asked_and_read_in_its_own_way(service, name, monkeypatch):
    service.shape = SHAPES[name]
    monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
    monkeypatch.setenv(f"SECONDPASS_{name.upper()}_URL", service.url + "/")
    with RemoteReranker(f"{name}:some-model") as reranker:
        scores = reranker.score(QUERY, PASSAGES)
    shares = np.array([worth(QUERY, text) for text in PASSAGES])
    raw = name in ("tei", "infinity")
    assert np.allclose(scores, 10 * shares - 5 if raw else shares)
    assert scores.dtype == np.float32
    assert reranker.name == f"{name}:some-model"
    assert service.paths == [PATHS[name]]
    assert service.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert service.asked[0]["query"] == QUERY
    assert service.asked[0].get("model", "some-model") == "some-model"


@pytest.fixture(scope="module", params=sorted(SHAPES))
def contract(request, _server):
    made = RemoteReranker(f"{request.param}:model", base_url=_server.url, api_key=KEY)
    yield request.param, made
    made.close()


class TestRemoteContract(RerankerContract):
    @pytest.fixture(autouse=True)
    def _keep(self, contract, service):
        service.shape = SHAPES[contract[0]]
        self.reranker = contract[1]

    def make_reranker(self):
        return self.reranker


def test_many_passages_go_in_batches_and_come_back_in_order(service):
    texts = [f"kettle number {place} " + "kettle made of " * (place % 2) for place in range(70)]
    service.shape = tei
    with RemoteReranker("tei:mine", base_url=service.url) as reranker:
        scores = reranker.score(QUERY, texts)
    assert [len(asked["texts"]) for asked in service.asked] == [32, 32, 6]
    assert np.allclose(scores, [10 * worth(QUERY, text) - 5 for text in texts])
    assert "Authorization" not in service.headers[0]


def test_no_request_grows_without_bound(service):
    with RemoteReranker("cohere:m", base_url=service.url, api_key=KEY, max_characters=400_000) as reranker:
        reranker.score(QUERY, ["x" * 500_000] * 5)
    sizes = [[len(text) for text in asked["documents"]] for asked in service.asked]
    assert sizes == [[400_000, 400_000], [400_000, 400_000], [400_000]]


def test_nothing_to_score_asks_nobody(reranker, service):
    assert reranker.score(QUERY, []).shape == (0,)
    assert service.asked == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(reranker, service, status):
    service.script[:] = [(status, b"{}"), (status, b"not json")]
    assert reranker.score(QUERY, PASSAGES).argmax() == 1
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("status", "content", "message", "tries"),
    [
        (400, b'{"message": "too many documents"}', r"refused the request \(400\): too many documents", 1),
        (401, b'{"message": "invalid api token"}', r"refused the key \(401\): invalid .* COHERE_API_KEY", 1),
        (403, b"", r"refused the key \(403\); see COHERE_API_KEY", 1),
        (404, b'{"detail": "model not found"}', r"model or address \(404\): model not found", 1),
        (413, b'{"error": "batch size 64 > 32", "error_type": "Validation"}', "batch size 64 > 32", 1),
        (422, b'{"detail": [{"loc": ["body"], "msg": "no"}]}', r"refused the request \(422\)", 1),
        (429, b'{"message": "slow down"}', r"wants fewer requests \(429\): slow down; .* \(3 tries\)", 3),
        (500, b"<html>oops</html>", r"failed \(500\): <html>oops</html>; try later \(3 tries\)", 3),
        (302, b"", r"refused the request \(302\)", 1),
    ],
)
def test_a_refusal_says_what_to_do(service, status, content, message, tries):
    service.script[:] = [(status, content)] * 3
    with (
        RemoteReranker("cohere:m", base_url=service.url, api_key=KEY, retries=2, backoff=0.001) as reranker,
        pytest.raises(RemoteError, match=message) as caught,
    ):
        reranker.score(QUERY, PASSAGES)
    assert caught.value.status == status
    assert len(service.asked) == tries
    assert service.url in str(caught.value)


def waiting(status, value):
    return lambda handler: handler.answer(status, b"{}", retry_after=value)


def test_retry_after_is_honoured_in_seconds_and_as_a_date(service):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    service.script[:] = [waiting(429, "0"), waiting(503, soon), waiting(503, "nonsense")]
    with RemoteReranker("cohere:m", base_url=service.url, api_key=KEY, backoff=0.001) as reranker:
        start = time.time()
        reranker.score(QUERY, PASSAGES)
    assert time.time() - start >= 0.9  # the date has whole seconds
    assert len(service.asked) == 4


def test_who_asks_for_too_long_a_wait_is_given_up(reranker, service):
    service.script[:] = [waiting(429, "3600")]
    with pytest.raises(RemoteError, match="it asks to wait 3600 s"):
        reranker.score(QUERY, PASSAGES)
    assert len(service.asked) == 1


def hang_up(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_breaks_is_opened_again(reranker, service):
    service.script[:] = [hang_up]
    assert reranker.score(QUERY, PASSAGES).argmax() == 1
    assert len(service.asked) == 2


def test_nobody_there_is_told_within_the_tries():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and never listened to
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            RemoteReranker("infinity:m", base_url=url, retries=1, backoff=0.001) as reranker,
            pytest.raises(RemoteError, match=r"cannot be reached: .*is it running\? \(2 tries\)") as caught,
        ):
            reranker.score(QUERY, PASSAGES)
    assert caught.value.status is None


def test_a_silent_service_ends_in_a_timeout(service):
    released = threading.Event()
    service.script[:] = [lambda handler: (released.wait(10), hang_up(handler))]
    try:
        with (
            RemoteReranker("cohere:m", base_url=service.url, api_key=KEY, timeout=0.1, retries=0) as reranker,
            pytest.raises(RemoteError, match=r"did not answer within 0\.1 s"),
        ):
            reranker.score(QUERY, PASSAGES)
    finally:
        released.set()


def results(*hits):
    return json.dumps({"results": list(hits)}).encode()


def hit(index, score=0.5):
    return {"index": index, "relevance_score": score}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"<html>login</html>", "no JSON: '<html>login"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no list results"),
        (b'{"data": []}', "no list results"),
        (results(), "0 scores for 3 passages"),
        (results(hit(0), hit(1)), "2 scores for 3 passages"),
        (results(hit(0), hit(1), hit(1)), "index 1 for 3"),
        (results(hit(0), hit(1), hit(3)), "index 3 for 3"),
        (results(hit(0), hit(1), hit(-1)), "index -1 for 3"),
        (results(hit(0), hit(1), hit(True)), "index True"),
        (results(hit(0), hit(1), hit("2")), "index '2'"),
        (results(hit(0), hit(1), "x"), "index None"),
        (results(hit(0), hit(1), hit(2, None)), "relevance_score None at index 2"),
        (results(hit(0), hit(1), hit(2, "0.5")), "relevance_score '0.5'"),
        (results(hit(0), hit(1), hit(2, float("nan"))), "relevance_score nan"),
        (results(hit(0), hit(1), hit(2, 10**400)), "relevance_score 1000"),
    ],
)
def test_a_malformed_reply_is_an_error_and_never_a_score(reranker, service, content, message):
    service.script[:] = [(200, content)]
    with pytest.raises(RemoteError, match=message) as caught:
        reranker.score(QUERY, PASSAGES)
    assert caught.value.status == 200
    assert len(str(caught.value)) < 2000


def test_a_reply_without_end_does_not_fill_the_memory(reranker, service, monkeypatch):
    monkeypatch.setattr("secondpass.reranking.asking_elsewhere._MOST_BYTES", 100_000)
    service.script[:] = [(200, b" " * 300_000)]
    with pytest.raises(RemoteError, match="more than 100000 bytes"):
        reranker.score(QUERY, PASSAGES)


def test_the_key_is_never_shown(reranker, service, caplog):
    caplog.set_level(logging.DEBUG)
    service.script[:] = [(401, json.dumps({"message": f"bad key {KEY}\x1b[31m"}).encode())]
    with pytest.raises(RemoteError, match=r"bad key \*\*\*") as caught:
        reranker.score(QUERY, PASSAGES)
    shown = [repr(reranker), repr(vars(reranker)), str(caught.value), caplog.text]
    assert all(KEY not in each for each in shown)
    assert "\x1b" not in str(caught.value)
    assert caplog.text  # httpx did log the request


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cohere:m", {}, "cohere wants a key; set COHERE_API_KEY"),
        ("tei:m", {}, "give base_url, or set SECONDPASS_TEI_URL"),
        ("tei:m", {"base_url": "ftp://x"}, "must begin with http"),
        ("tei:m", {"base_url": "http://me:word@x"}, "hold no password"),
        ("jina:m", {"api_key": "a\nb"}, "holds characters that no key has"),
        ("nobody:m", {}, "SERVICE:MODEL with one of cohere, jina"),
        ("cohere:", {}, "SERVICE:MODEL"),
        ("cohere", {}, "SERVICE:MODEL"),
        (7, {}, "SERVICE:MODEL"),
        ("jina:m", {"api_key": KEY, "timeout": -1}, "timeout must be a number of seconds"),
        ("jina:m", {"api_key": KEY, "retries": -1}, "retries"),
        ("jina:m", {"api_key": KEY, "batch": 0}, "batch must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(name, settings, message):
    with pytest.raises(InputError, match=message):
        RemoteReranker(name, **settings)


def test_wrong_input_is_refused_before_anything_is_sent(reranker, service):
    with pytest.raises(QueryError, match="empty"):
        reranker.score(" ", PASSAGES)
    with pytest.raises(InputError, match="list of strings"):
        reranker.score(QUERY, "text")
    assert service.asked == []


def test_a_name_alone_sends_nothing_anywhere(service, monkeypatch):
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("SECONDPASS_COHERE_URL", service.url)
    with pytest.raises(InputError, match=r"every candidate would be sent to it.*set SECONDPASS_REMOTE=1"):
        load_reranker("cohere:rerank-v3.5")
    monkeypatch.setenv("SECONDPASS_REMOTE", "0")
    with pytest.raises(InputError, match="service on another machine"):
        load_reranker("cohere:rerank-v3.5")
    assert service.asked == []
    with load_reranker("cohere:rerank-v3.5", remote=True) as allowed:
        assert allowed.score(QUERY, PASSAGES).argmax() == 1
    monkeypatch.setenv("SECONDPASS_REMOTE", "1")
    with load_reranker("Cohere:rerank-v3.5") as allowed:
        assert allowed.name == "cohere:rerank-v3.5"


def test_only_the_services_we_know_are_remote():
    assert is_remote("cohere:rerank-v3.5")
    assert not any(map(is_remote, ["cohere", "minilm-l6", "C:\\models", "owner/name", "x:y", None]))


def test_an_engine_searches_with_it_and_claims_no_probability(service, tmp_path):
    for place, text in enumerate(PASSAGES):
        (tmp_path / f"{place}.txt").write_text(text)
    with (
        Index.open(tmp_path / "index") as index,
        RemoteReranker("cohere:m", base_url=service.url, api_key=KEY) as reranker,
        ScoreCache(None) as cache,
    ):
        index.add([tmp_path / f"{place}.txt" for place in range(3)])
        engine = Engine(index, reranker, cache=cache)
        first, again = engine.search(QUERY), engine.search(QUERY)
    assert first.hits[0].passage.text == PASSAGES[1]
    assert [hit.probability for hit in first.hits] == [None] * 3
    assert not isinstance(reranker, SupportsReadings)
    assert again.cached == 3
    assert len(service.asked) == 1  # the second search sent nothing


def test_it_is_used_from_several_threads(reranker):
    expected = reranker.score(QUERY, PASSAGES)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(reranker.score(QUERY, PASSAGES))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(each, expected) for each in found)


def secondpass(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "secondpass", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "60", "COHERE_API_KEY": KEY} | environment,
        timeout=120,
        check=False,
    )


def test_the_command_line_asks_a_service_only_where_that_is_allowed(service, tmp_path):
    for place, text in enumerate(PASSAGES):
        (tmp_path / f"{place}.txt").write_text(text)
    built = secondpass(tmp_path, "index", "--index", "index", "0.txt", "1.txt", "2.txt")
    assert built.returncode == 0, built.stderr
    search = ["search", QUERY, "--index", "index", "--reranker", "cohere:rerank-v3.5"]
    refused = secondpass(tmp_path, *search, SECONDPASS_COHERE_URL=service.url)
    assert refused.returncode == 2
    assert "If that is meant, set SECONDPASS_REMOTE=1" in refused.stderr
    assert service.asked == []
    there = {"SECONDPASS_REMOTE": "1", "SECONDPASS_COHERE_URL": service.url}
    shown = secondpass(tmp_path, *search, **there)
    assert shown.returncode == 0, shown.stderr
    assert "query and candidates were sent to it" in " ".join(shown.stdout.split())
    assert shown.stdout.index(PASSAGES[1]) < shown.stdout.index(PASSAGES[2])
    found = json.loads(secondpass(tmp_path, *search, "--json", **there).stdout)
    assert found["reranker"] == "cohere:rerank-v3.5"
    assert [hit["probability"] for hit in found["hits"]] == [None] * 3
    service.script[:] = [(401, b'{"message": "invalid api token"}')]
    failed = secondpass(tmp_path, *search, **there)
    assert failed.returncode == 1
    assert "refused the key (401): invalid api token; see COHERE_API_KEY" in failed.stderr
    assert KEY not in failed.stderr + failed.stdout + shown.stdout + refused.stderr


@pytest.mark.parametrize("absent", [["httpx"], ["httpx2"], ["httpx", "httpx2"]])
def test_either_http_library_will_do(service, absent):
    code = f"""
import sys
for name in {absent}: sys.modules[name] = None
from secondpass.reranking import RemoteReranker
try: print(RemoteReranker("tei:m", base_url={service.url!r}).score({QUERY!r}, {PASSAGES!r}).argmax())
except ImportError as error: print(type(error).__name__, error)
"""
    service.shape = tei
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    if len(absent) == 1:
        assert done.stdout == "1\n"
    else:
        assert "MissingExtraError a remote re-ranker needs the package 'httpx'" in done.stdout
