"""Running the server: over stdin and stdout for a host that starts it, or over HTTP on this machine."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

from ...errors import InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["HttpAddress", "http_app", "run_http", "run_stdio"]

LOOPBACK = "127.0.0.1"
PATH = "/mcp"
LARGEST_BODY = 256 * 2**10
"""Bytes; a query is at most some thousand characters."""
CONNECTIONS = 64
"""At once; the next one is answered 503."""


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the server listens: always this machine, at a port."""

    port: int

    @property
    def url(self) -> str:
        """What a host is given."""
        return f"http://{LOOPBACK}:{self.port}{PATH}"


def run_stdio(server: Server[Any]) -> None:
    """Serve one host over stdin and stdout, until stdin ends.

    Meanwhile file descriptor 1 is stderr, so that nothing but messages reaches the host.
    """
    # The thread that waits for stdin cannot be woken; nothing has to be tidied up that a kill would harm.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


def http_app(server: Server[Any], port: int) -> Starlette:
    """Return the ASGI application; it answers only to the names of this machine, at this port.

    A page in a browser that reaches the port under another name (DNS rebinding), or from another origin, is
    turned away. No session is kept: each request stands for itself.
    """
    names = [f"{LOOPBACK}:{port}", f"localhost:{port}"]
    return server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=LARGEST_BODY,
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=names,
            allowed_origins=[f"http://{name}" for name in names],
        ),
    )


def run_http(server: Server[Any], port: int, ready: Callable[[HttpAddress], None]) -> None:
    """Serve over streamable HTTP on 127.0.0.1 until SIGINT or SIGTERM; what is in flight is finished.

    Args:
        server: from ``create_server``.
        port: 0 takes a free one.
        ready: called with the address once connections are taken.

    Raises:
        InputError: the port is taken or may not be used.
    """
    import uvicorn

    with _bound(port) as listening:
        address = HttpAddress(listening.getsockname()[1])
        config = uvicorn.Config(
            http_app(server, address.port),
            log_config=None,
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=10,
        )
        ready(address)
        uvicorn.Server(config).run(sockets=[listening])


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(CONNECTIONS)
    except (OSError, OverflowError) as exc:
        listening.close()
        why = exc.strerror if isinstance(exc, OSError) else "ports end at 65535"
        raise InputError(f"cannot listen on {LOOPBACK}:{port}: {why}; choose another with --port") from exc
    return listening
