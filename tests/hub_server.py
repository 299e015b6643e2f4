"""A local server that speaks the hub's API: repositories with files in git and in LFS, and a CDN behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "5" * 40
LFS_SUFFIXES = (".onnx", ".safetensors", ".bin")


@dataclass
class Hub:
    """Repositories and how the server treats those who ask.

    Attributes:
        repositories: ``owner/name`` to a folder.
        asked: method, path and range of each request, in order.
        tokens: what stood in Authorization, by ``hub`` and ``cdn``.
        status: answered to everything instead, with ``error_code``.
        pieces: how many bytes the CDN sends of each answer, one number an answer; then all of it.
        stall: seconds that the CDN waits after those bytes, before it closes.
        tamper: name of a file of which other bytes are sent.
        ranges: whether the CDN knows ranges.
    """

    repositories: dict[str, Path]
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: dict[str, set[str]] = field(default_factory=lambda: {"hub": set(), "cdn": set()})
    status: int = 0
    error_code: str = ""
    pieces: list[int] = field(default_factory=list)
    stall: float = 0.0
    wait: float = 0.0
    tamper: str = ""
    ranges: bool = True
    url: str = ""
    cdn_url: str = ""

    def files(self, repository: str) -> dict[str, Path]:
        root = self.repositories[repository]
        return {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}

    def fetched(self, what: str) -> list[tuple[str, str, str]]:
        return [each for each in self.asked if each[0] == "GET" and what in each[1]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(content: bytes) -> bytes:
    """What git itself holds of a file in LFS."""
    lines = [
        "version https://git-lfs.github.com/spec/v1",
        f"oid sha256:{sha256(content)}",
        f"size {len(content)}",
    ]
    return "\n".join([*lines, ""]).encode()


def described(name: str, content: bytes) -> dict[str, object]:
    """A file as the API describes it."""
    if not name.endswith(LFS_SUFFIXES):
        return {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    lfs = {"sha256": sha256(content), "size": len(content), "pointerSize": len(pointer(content))}
    return {"rfilename": name, "size": len(content), "blobId": git_sha1(pointer(content)), "lfs": lfs}


class Handler(BaseHTTPRequestHandler):
    """One connection; ``hub`` and ``role`` come with the class that ``serving`` makes."""

    hub: Hub
    role: str

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        self.hub.tokens[self.role].add(self.headers.get("Authorization", ""))
        time.sleep(self.hub.wait)
        if self.hub.status:
            self.answer(self.hub.status, b"{}", {"X-Error-Code": self.hub.error_code})
        elif self.role == "cdn":
            self.serve_content(path.removeprefix("/"))
        elif path.startswith("/api/models/"):
            self.serve_api(path.removeprefix("/api/models/"))
        else:
            self.serve_file(path.removeprefix("/"))

    def serve_api(self, path: str) -> None:
        repository = "/".join(path.split("/")[:2])
        rest = path.removeprefix(repository)
        if repository not in self.hub.repositories:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        files = {name: file.read_bytes() for name, file in self.hub.files(repository).items()}
        if rest in ("", "/revision/main", f"/revision/{SHA}"):
            siblings = [described(name, content) for name, content in files.items()]
            self.answer(200, json.dumps({"id": repository, "sha": SHA, "siblings": siblings}).encode())
        elif rest.startswith("/tree/"):
            tree = []
            for name, content in files.items():
                facts = described(name, content)
                lfs = facts.get("lfs")
                entry = {"type": "file", "path": name, "size": len(content), "oid": facts["blobId"]}
                if isinstance(lfs, dict):
                    entry["lfs"] = {**lfs, "oid": lfs["sha256"]}
                tree.append(entry)
            self.answer(200, json.dumps(tree).encode())
        else:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def serve_file(self, path: str) -> None:
        repository = "/".join(path.split("/")[:2])
        name = path.removeprefix(f"{repository}/").partition("/")[2].partition("/")[2]
        if repository not in self.hub.repositories or name not in self.hub.files(repository):
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = self.hub.files(repository)[name].read_bytes()
        facts = described(name, content)
        if "lfs" not in facts:
            if self.hub.tamper == name:
                content = content.replace(b"1", b"2")
            self.answer(200, content, {"ETag": f'"{facts["blobId"]}"'})
            return
        linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
        linked["Location"] = f"{self.hub.cdn_url}/{repository}/{name}"
        self.answer(302, b"", linked)

    def serve_content(self, path: str) -> None:
        repository = "/".join(path.split("/")[:2])
        name = path.removeprefix(f"{repository}/")
        content = self.hub.files(repository)[name].read_bytes()
        etag = {"ETag": f'"{sha256(content)}"', "Accept-Ranges": "bytes"}
        if self.hub.tamper == name:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if not self.hub.ranges:
            start = 0
        end = f"bytes {start}-{len(content) - 1}/{len(content)}"
        extra = {**etag, "Content-Range": end} if start else etag
        self.answer(206 if start else 200, content[start:], extra, paced=self.command == "GET")

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, paced: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "X-Repo-Commit": SHA,
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "GET":
            return
        with contextlib.suppress(ConnectionError):
            if paced and self.hub.pieces:
                self.wfile.write(body[: self.hub.pieces.pop(0)])
                self.wfile.flush()
                time.sleep(self.hub.stall)
                self.close_connection = True
            else:
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextlib.contextmanager
def serving(repositories: dict[str, Path], **settings: object) -> Iterator[Hub]:
    """Run a hub and its CDN on two ports of this machine."""
    hub = Hub(repositories, **settings)  # type: ignore[arg-type]
    servers = []
    for role in ("hub", "cdn"):
        handler = type(f"{role.title()}Handler", (Handler,), {"hub": hub, "role": role})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
    hub.url, hub.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server, _ in servers)
    try:
        yield hub
    finally:
        for server, thread in servers:
            server.shutdown()
            thread.join()
            server.server_close()
