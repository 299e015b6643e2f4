"""A real server on a loopback port, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
