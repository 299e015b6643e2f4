"""Running the application on a port: taken before anything slow is opened, left when all is answered."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from ...errors import InputError, SettingsError
from .settings import ServerSettings

__all__ = ["address_of", "listen", "run"]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; port 0 takes a free one.

    Raises:
        InputError: the port is taken or not allowed.
        SettingsError: there is no such address here.
    """
    if not 0 <= port <= 65_535:  # the system would take it modulo 65,536
        raise SettingsError(f"a port is 0 to 65535, got {port}; 0 takes a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError, UnicodeError) as exc:
        raise SettingsError(f"{host} port {port} is no address to listen on ({exc})") from exc
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # only now does a port that another one listens on show itself
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is taken, perhaps by another secondpass serve; take another one: "
                "--port 0 finds a free one"
            ) from exc
        if exc.errno == errno.EACCES:
            raise InputError(f"port {port} is not for ordinary users; take one from 1024 up") from exc
        raise SettingsError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL under which a socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  shown, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: FastAPI, listener: socket.socket, settings: ServerSettings, on_start: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is in flight; a second SIGINT does not wait for it.

    Raises:
        SecondpassError: what the application needs cannot be opened.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever is nearest asked; a header that says otherwise can be made up
        ws="none",
        timeout_graceful_shutdown=max(1, round(settings.limits.shutdown_seconds)),
    )
    server = _Server(config, on_start)
    said = logging.getLogger("uvicorn.error")
    quiet = said.level
    said.setLevel(logging.CRITICAL + 1)  # a failure to start is raised below, in one sentence
    server.started_saying = lambda: said.setLevel(max(quiet, logging.WARNING))
    before = _ignored(signal.SIGTERM)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        failure = app.state.secondpass.parts.get("failure")
        if failure is None:
            raise
        raise failure from None
    except KeyboardInterrupt:
        pass  # asked for: everything was finished and closed before it came here
    finally:
        said.setLevel(quiet)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        listener.close()


class _Server(uvicorn.Server):
    """Says when it has started."""

    started_saying: Callable[[], None]

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.started_saying()
        self._on_start()


def _ignored(number: signal.Signals) -> signal._HANDLER:
    """Have a signal that the server has obeyed not kill the process as well; return what was there."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(number, lambda *_: None)
