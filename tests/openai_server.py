"""A real HTTP server on loopback that speaks OpenAI's streaming chat completions, and fails at it if told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class OpenAiServer(ThreadingHTTPServer):
    """Answers ``chat/completions`` with ``pieces``; ``failing`` says how it goes wrong, if it does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pieces = ["Bread is baked ", "on Mondays [", "1]."]
        self.failing = ""
        self.models = ["small-model"]
        self.key = ""
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.gone = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: OpenAiServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._refused() or self.path != "/v1/models":
            return self._say(404, {"error": {"message": "not found"}})
        return self._say(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return None
        if self.path != "/v1/chat/completions":
            return self._say(404, {"error": {"message": "not found"}})
        self.server.requests.append(request)
        if request["model"] not in self.server.models:
            return self._say(404, {"error": {"message": f"model {request['model']!r} not found"}})
        if self.server.failing == "max_tokens" and "max_tokens" in request:
            told = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return self._say(400, {"error": {"message": told}})
        if self.server.failing == "html":
            return self._page()
        return self._stream(request)

    def _refused(self) -> bool:
        self.server.keys.append(self.headers.get("Authorization", ""))
        if self.server.key and self.server.keys[-1] != f"Bearer {self.server.key}":
            self._say(401, {"error": {"message": "Incorrect API key provided"}})
            return True
        return False

    def _say(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _page(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html><body>It works!</body></html>")

    def _stream(self, request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for at, piece in enumerate(self.server.pieces):
                if self.server.failing == "break" and at == 2:
                    self.connection.close()
                    return
                if self.server.failing == "error" and at == 2:
                    self._event({"error": {"message": "out of memory"}})
                    return
                self._event(_chunk({"content": piece}, None))
            if self.server.failing != "silent end":
                self._event(_chunk({}, "length" if self.server.failing == "length" else "stop"))
            if request.get("stream_options"):
                self._event({**_chunk({}, None), "choices": [], "usage": _USAGE})
            self._write(b"data: [DONE]\n\n")
            self._write(b"")
        except OSError:
            self.server.gone.set()

    def _event(self, body: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(body)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


_USAGE = {"prompt_tokens": 211, "completion_tokens": 7, "total_tokens": 218}


def _chunk(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "small-model",
        "choices": [choice],
    }


@contextmanager
def running() -> Iterator[OpenAiServer]:
    """Serve in a thread."""
    with OpenAiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
