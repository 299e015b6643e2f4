"""Clients for load on a server: keep-alive connections as light as can be, since they share its cores."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Asking:
    """One request: what kind it is, and its bytes."""

    kind: str
    wire: bytes

    @classmethod
    def post(cls, kind: str, path: str, body: Any) -> Asking:
        """Return a POST of JSON."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        return cls(kind, head.encode() + content)

    @classmethod
    def get(cls, kind: str, path: str) -> Asking:
        """Return a GET."""
        return cls(kind, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: its status (0 where the connection broke), its body, and the milliseconds it took."""

    kind: str
    status: int
    body: bytes
    milliseconds: float
    retry_after: str = ""


@dataclass
class Load:
    """What some clients were told; ``seconds`` is wall time from the first request to the last answer."""

    seconds: float = 0.0
    told: list[Told] = field(default_factory=list)

    @property
    def answered(self) -> list[Told]:
        """Those with status 200."""
        return [each for each in self.told if each.status == 200]

    def statuses(self) -> dict[str, int]:
        """Return how many answers had which status."""
        found: dict[str, int] = {}
        for each in self.told:
            found[str(each.status)] = found.get(str(each.status), 0) + 1
        return dict(sorted(found.items()))


class Connection:
    """One keep-alive connection; opened again where the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, asking: Asking) -> Told:
        """Send a request and return the answer."""
        start = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(HOST, self._port)
            reader, writer = self._streams
            writer.write(asking.wire)
            await writer.drain()
            status, headers, body = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return Told(asking.kind, 0, b"", (time.perf_counter() - start) * 1000)
        if headers.get("connection") == "close":
            await self.close()
        spent = (time.perf_counter() - start) * 1000
        return Told(asking.kind, status, body, spent, headers.get("retry-after", ""))

    async def close(self) -> None:
        """Close it; more than once does no harm."""
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                return


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split(" ")[1]), headers, body


def ask_once(port: int, asking: Asking) -> Told:
    """Ask on a connection of its own and return the answer."""

    async def ask() -> Told:
        connection = Connection(port)
        try:
            return await connection.ask(asking)
        finally:
            await connection.close()

    return asyncio.run(ask())


def put(
    port: int,
    clients: int,
    seconds: float,
    asking: Callable[[int, int], Asking],
    on_told: Callable[[Told], None] | None = None,
) -> Load:
    """Have clients ask one after the other for some time, without pause; ``Retry-After`` is kept to.

    Args:
        port: of the server, on this machine.
        clients: each with a connection of its own.
        seconds: after which no further request is begun.
        asking: from a client's number and its count of requests to the next one.
        on_told: sees each answer; without it the answers are kept.
    """
    return asyncio.run(_put(port, clients, seconds, asking, on_told))


async def _put(
    port: int,
    clients: int,
    seconds: float,
    asking: Callable[[int, int], Asking],
    on_told: Callable[[Told], None] | None,
) -> Load:
    load = Load()
    start = time.perf_counter()
    end = start + seconds

    async def one(number: int) -> None:
        connection, count = Connection(port), 0
        while time.perf_counter() < end:
            told = await connection.ask(asking(number, count))
            if on_told is not None:
                on_told(told)
            load.told.append(Told(told.kind, told.status, b"" if on_told else told.body, told.milliseconds))
            count += 1
            if told.status in (429, 503):
                await asyncio.sleep(min(float(told.retry_after or 1), 2.0))
        await connection.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    load.seconds = time.perf_counter() - start
    return load


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, ready: str, log: Path, **environment: str) -> Iterator[int]:
    """Run a server as a process of its own; gives its process id once ``ready`` answers 200."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment}
        )
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended:\n{log.read_text(errors='replace')[-3000:]}")
            if ask_once(port, Asking.get("ready", ready)).status == 200:
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{command[0]} is not ready after two minutes")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve_command(port: int, *arguments: object) -> list[str]:
    """Return how ``secondpass serve`` is started on a port."""
    return [sys.executable, "-m", "secondpass", "serve", "--port", str(port), *map(str, arguments)]


def memory_mb(process: int) -> float:
    """Return the resident memory of a process and its children, in MB of 10^6 bytes."""
    total = 0
    for each in _family(process):
        status = Path(f"/proc/{each}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0]) * 1024
    return round(total / 1e6, 1)


def _family(process: int) -> list[int]:
    found = [process]
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += _family(int(child))
    return found
