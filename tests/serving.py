"""A real server on a loopback port, in a thread of this process or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from secondpass.ext.server import ServerSettings, create_app
from secondpass.ext.server.running import address_of, listen
from secondpass.ext.server.state import State


@dataclass
class Served:
    url: str
    port: int
    app: FastAPI
    state: State
    stop: threading.Event


@contextmanager
def serving(settings: ServerSettings | None = None, app: FastAPI | None = None) -> Iterator[Served]:
    settings = settings or ServerSettings()
    app = app or create_app(settings)
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    stop = threading.Event()
    try:
        until = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
        assert server.started
        url = address_of(listener)
        yield Served(url, int(url.rpartition(":")[2]), app, app.state.secondpass, stop)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def command(
    folder: Path | None, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``secondpass`` in a folder, with no settings but those given."""
    return subprocess.run(
        [sys.executable, "-m", "secondpass", *map(str, arguments)],
        cwd=folder,
        env=_environment(variables),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@contextmanager
def process(
    *arguments: str | Path, folder: Path | None = None, **variables: str
) -> Iterator[tuple[str, list[str]]]:
    """Run ``secondpass serve`` on a free port; give its address and what it says on stderr, as it comes."""
    server = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "serve", *map(str, arguments), "--port", "0"],
        cwd=folder,
        env=_environment(variables),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert server.stderr is not None
    lines = [server.stderr.readline()]
    assert lines[0].startswith("secondpass at http"), lines[0] + server.stderr.read()
    reading = threading.Thread(target=lambda stream: lines.extend(stream), args=(server.stderr,))
    reading.start()
    try:
        yield lines[0].split()[2].rstrip(";"), lines
    finally:
        server.terminate()
        assert server.wait(60) == 0
        reading.join(60)
        server.stderr.close()


def _environment(variables: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECONDPASS_")}
    return {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONIOENCODING": "utf-8",
        **variables,
    }
