"""What a server refuses: foreign hosts and origins, wrong keys, too much of anything, paths that lead out."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

pytest.importorskip("fastapi")

from secondpass.errors import SettingsError
from secondpass.ext.server import Limits, ServerSettings
from secondpass.ext.server.errors import ApiError
from secondpass.ext.server.security import allowed_path
from serving import serving

KEY = "a-key-of-enough-characters"
BODY = {"query": "a secret question", "documents": ["a secret document"]}
SMALL = Limits(
    body_bytes=20_000, bodies_bytes=1_000_000, documents=5, text_characters=1000, query_characters=50
)


@pytest.fixture(scope="module")
def served():
    with serving(ServerSettings(limits=SMALL)) as server:
        yield server


@pytest.fixture(scope="module")
def locked():
    with serving(ServerSettings(api_key=KEY)) as server:
        yield server


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_other_addresses_need_a_key_or_a_word():
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(SettingsError, match="no API key"):
            ServerSettings(host=host)
        assert ServerSettings(host=host, api_key=KEY).host == host
        assert ServerSettings(host=host, insecure=True).insecure
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        assert ServerSettings(host=host).api_key is None
    with pytest.raises(SettingsError, match="at least 16"):
        ServerSettings(api_key="short")
    assert KEY not in repr(ServerSettings(api_key=KEY))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil", ""]
)
def test_a_host_that_is_not_this_server_is_refused(served, host):
    assert code(httpx.get(f"{served.url}/metrics", headers={"Host": host})) == (403, "host_refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8765"])
def test_names_of_this_machine_are_let_in(served, host):
    assert httpx.get(f"{served.url}/metrics", headers={"Host": host}).status_code == 200


def test_pages_of_other_origins_are_refused_and_get_no_cors(served):
    url = f"{served.url}/v2/rerank"
    foreign = httpx.post(url, json=BODY, headers={"Origin": "https://evil.example"})
    assert code(foreign) == (403, "origin_refused")
    assert code(httpx.post(url, json=BODY, headers={"Sec-Fetch-Site": "cross-site"})) == (
        403,
        "origin_refused",
    )
    assert code(httpx.post(url, json=BODY, headers={"Origin": "null"})) == (403, "origin_refused")
    assert httpx.post(url, json=BODY, headers={"Origin": served.url}).status_code == 200
    asked = httpx.options(
        url, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert "access-control-allow-origin" not in asked.headers


def test_an_origin_that_was_named_may():
    with serving(ServerSettings(cors_origins=("https://good.example",))) as server:
        url, origin = f"{server.url}/v2/rerank", {"Origin": "https://good.example"}
        asked = httpx.options(url, headers={**origin, "Access-Control-Request-Method": "POST"})
        assert asked.headers["access-control-allow-origin"] == "https://good.example"
        done = httpx.post(url, json=BODY, headers=origin)
        assert (done.status_code, done.headers["access-control-allow-origin"]) == (
            200,
            "https://good.example",
        )


def test_a_key_is_asked_of_every_request(locked):
    url = f"{locked.url}/v2/rerank"
    missing = httpx.post(url, json=BODY)
    assert code(missing) == (401, "key_missing")
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    for wrong in (KEY[:-1], KEY + "x", "", "ÿ" * 20):
        headers = {"Authorization": f"Bearer {wrong}".strip().encode("latin-1")}
        assert httpx.post(url, json=BODY, headers=headers).status_code == 401
    assert httpx.post(url, json=BODY, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert httpx.post(url, json=BODY, headers={"X-API-Key": KEY}).status_code == 200
    assert code(httpx.get(f"{locked.url}/metrics")) == (401, "key_missing")
    assert code(httpx.get(f"{locked.url}/v1/nothing/../metrics")) == (401, "key_missing")
    assert httpx.get(f"{locked.url}/openapi.json").status_code == 200


def test_a_body_is_bounded_with_and_without_a_length(served):
    url = f"{served.url}/v2/rerank"
    assert code(httpx.post(url, content=b"x" * 20_001)) == (413, "body_too_large")
    chunked = httpx.post(url, content=(b"x" * 1000 for _ in range(500)))
    assert code(chunked) == (413, "body_too_large")
    assert served.state.work.running == 0


@pytest.mark.parametrize(
    ("changed", "status", "name"),
    [
        ({"documents": ["d"] * 6}, 413, "too_many_documents"),
        ({"documents": ["d", "d" * 1001]}, 413, "document_too_long"),
        ({"query": "q" * 51}, 422, "query_too_long"),
    ],
)
def test_texts_are_bounded(served, changed, status, name):
    assert code(httpx.post(f"{served.url}/v2/rerank", json={**BODY, **changed})) == (status, name)


def test_a_slow_body_is_given_up():
    with (
        serving(ServerSettings(limits=replace(Limits(), seconds=0.3))) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as line,
    ):
        line.sendall(b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        answer = b""
        while part := line.recv(65_536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer


def test_every_answer_has_safe_headers(served):
    for answer in (
        httpx.get(f"{served.url}/metrics"),
        httpx.get(f"{served.url}/none"),
        httpx.post(served.url),
    ):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_request_ids_are_words_or_made_anew(served):
    url = f"{served.url}/metrics"
    assert httpx.get(url, headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    for given in ("a b", "x" * 65, "<script>"):
        assert httpx.get(url, headers={"X-Request-ID": given}).headers["X-Request-ID"] != given


def test_paths_lead_nowhere_else(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "in-not"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.txt").write_text("a")
    (outside / "b.txt").write_text("b")
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    assert allowed_path(str(inside / "a.txt"), [inside]) == inside / "a.txt"
    assert allowed_path(str(inside), [inside]) == inside
    for path in (
        outside / "b.txt",
        inside / ".." / "in-not" / "b.txt",
        inside / "link" / "b.txt",
        "/etc/passwd",
        outside / "missing",
    ):
        with pytest.raises(ApiError) as refused:
            allowed_path(str(path), [inside])
        assert (refused.value.status, refused.value.code) == (403, "path_not_allowed")
        assert "passwd" not in str(refused.value)
    for path in ("", "a\0b", "x" * 5000, str(inside / "missing"), str(inside / "loop")):
        with pytest.raises(ApiError) as refused:
            allowed_path(path, [inside])
        assert refused.value.status in (403, 422)
    with pytest.raises(ApiError, match="--allow"):
        allowed_path(str(inside), [])


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "secondpass", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_command_says_in_one_line_what_is_wrong(served, tmp_path):
    (tmp_path / "empty").write_text("\n")
    for arguments, words in (
        (["--port", str(served.port)], "is taken"),
        (["--port", "70000"], "0 to 65535"),
        (["--host", "0.0.0.0"], "no API key is set"),
        (["--allow", str(tmp_path / "none")], "is not there"),
        (["--api-key", str(tmp_path / "none")], "cannot read the API key"),
        (["--api-key", str(tmp_path / "empty")], "holds no API key"),
    ):
        done = serve("--rerank-only", *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr


def test_nothing_secret_is_said_or_logged(tmp_path):
    import os
    import signal

    (tmp_path / "key").write_text(KEY + "\n")
    command = [sys.executable, "-m", "secondpass", "serve", "--rerank-only", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--api-key", str(tmp_path / "key")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )
    said = process.stderr.readline()
    url = said.split()[2].rstrip(";")
    headers = {"Authorization": f"Bearer {KEY}"}
    assert httpx.post(f"{url}/v2/rerank", json=BODY, headers=headers, timeout=60).status_code == 200
    assert (
        httpx.post(f"{url}/v2/rerank?q=secret", json={**BODY, "top_n": "secret"}, headers=headers).status_code
        == 422
    )
    assert (
        httpx.get(f"{url}/secret", headers={"Authorization": "Bearer a-secret-that-is-wrong"}).status_code
        == 401
    )
    process.send_signal(signal.SIGINT)
    said += process.stderr.read()
    assert process.wait(30) == 0
    process.stderr.close()
    assert said.rstrip().endswith("stopped")
    assert "secret" not in said
    assert KEY not in said
    assert "/v2/rerank" in said
