"""OpenTelemetry spans, where its API is installed: one for each request, and one for each piece of work.

Without the package nothing is traced and nothing else changes. Attributes are counts, names and times; no
text that somebody sent is among them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ... import __version__
from ...errors import SettingsError

__all__ = ["INSTALLED", "Traced", "export_spans", "span", "traced"]

T = TypeVar("T")


def _installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:  # not even the namespace
        return False


INSTALLED = _installed()
"""Whether spans can be made at all."""


def _tracer() -> Any:
    """Return the tracer; asked anew each time, since a provider may be set after the first import."""
    from opentelemetry import trace

    return trace.get_tracer("secondpass", __version__)


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Trace what is done inside; an exception marks the span with its class, not with its message."""
    if not INSTALLED:
        yield
        return
    from opentelemetry.trace import StatusCode

    with _tracer().start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as exc:
            current.set_attribute("error.type", type(exc).__qualname__)
            current.set_status(StatusCode.ERROR)
            raise


def traced(name: str, work: Callable[[], T]) -> Callable[[], T]:
    """Return the work with a span around it, begun where (and on whichever thread) it is run."""
    if not INSTALLED:
        return work

    def run() -> T:
        with span(name):
            return work()

    return run


class Traced:
    """ASGI middleware: a SERVER span for each request, child of the caller's (``traceparent``)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not INSTALLED:
            await self.app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        headers: Mapping[str, str] = {
            key: value for key, value in Headers(scope=scope).items() if key in _TRACE
        }
        with _tracer().start_as_current_span(
            scope["method"],
            context=extract(headers),
            kind=SpanKind.SERVER,
            attributes=_of_request(scope),
            record_exception=False,
            set_status_on_exception=False,
        ) as current:

            async def outward(message: Message) -> None:
                if message["type"] == "http.response.start":
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        current.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self.app(scope, receive, outward)
            except BaseException as exc:
                current.set_attribute("error.type", type(exc).__qualname__)
                current.set_status(StatusCode.ERROR)
                raise
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    current.update_name(f"{scope['method']} {route}")
                    current.set_attribute("http.route", route)


_TRACE = frozenset({"traceparent", "tracestate"})


def _of_request(scope: Scope) -> dict[str, str | int]:
    """Return what is known of a request before it is routed, by OpenTelemetry's names for it."""
    return {
        "http.request.method": scope["method"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "secondpass.request_id": str(scope.get("state", {}).get("request_id", "")),
    }


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def export_spans(environment: Mapping[str, str] | None = None) -> Callable[[], None]:
    """Send spans where the usual variables say; do nothing where none is set.

    ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``_TRACES_ENDPOINT``) names a collector; ``OTEL_TRACES_EXPORTER`` is
    ``otlp``, ``console`` (stderr) or ``none``. A provider that is set already, say by
    ``opentelemetry-instrument``, is left alone.

    Returns:
        What is to be called at the end, so that no span is lost.

    Raises:
        SettingsError: what was asked for needs a package that is not installed, or does not exist.
    """
    given = os.environ if environment is None else environment
    endpoint = any(given.get(name) for name in _ENDPOINTS)
    kind = given.get("OTEL_TRACES_EXPORTER", "otlp" if endpoint else "none").strip().lower()
    if kind in ("none", "") or given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return lambda: None
    if kind not in ("otlp", "console"):
        raise SettingsError(f"OTEL_TRACES_EXPORTER must be otlp, console or none, got {kind!r}")
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(kind, given)
    except ImportError as exc:
        raise SettingsError(
            "the environment asks for OpenTelemetry spans, which needs: pip install opentelemetry-sdk "
            "opentelemetry-exporter-otlp; or unset OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from exc
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return lambda: None
    named = Resource.create({"service.name": given.get("OTEL_SERVICE_NAME", "secondpass")})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _exporter(kind: str, given: Mapping[str, str]) -> Any:
    if kind == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda each: each.to_json(indent=None) + "\n")
    if given.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

    return OverGrpc()
