"""Numbers for Prometheus: requests, times, what waits, how full micro-batches are; no text in any label."""

from __future__ import annotations

from time import perf_counter

from fastapi import APIRouter
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Measured", "Metrics"]

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of one application, in a registry of their own.

    Attributes:
        requests: by method, route and status.
        seconds: from the first byte to the last, by route.
        in_flight: requests that are being served.
        waiting_pairs: query-passage pairs that wait to be scored.
        batch_pairs: pairs of a micro-batch.
        batch_requests: requests that shared it.
        pairs: scored, by re-ranker.
    """

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            "secondpass_requests", "Requests answered.", ["method", "route", "status"], registry=own
        )
        self.seconds = Histogram(
            "secondpass_request_seconds", "Time of a request.", ["route"], buckets=_SECONDS, registry=own
        )
        self.in_flight = Gauge("secondpass_requests_in_flight", "Requests being served.", registry=own)
        self.waiting_pairs = Gauge("secondpass_waiting_pairs", "Pairs that wait to be scored.", registry=own)
        self.batch_pairs = Histogram(
            "secondpass_batch_pairs", "Pairs of a micro-batch.", buckets=_PAIRS, registry=own
        )
        self.batch_requests = Histogram(
            "secondpass_batch_requests", "Requests in a micro-batch.", buckets=_PAIRS, registry=own
        )
        self.pairs = Counter("secondpass_pairs", "Pairs scored.", ["reranker"], registry=own)

    def router(self) -> APIRouter:
        """Return the route that a Prometheus server reads."""
        routes = APIRouter(tags=["health"])

        @routes.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
        async def metrics() -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return routes


class Measured:
    """ASGI middleware that counts and times what passes."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = perf_counter(), 0

        async def outward(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, outward)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # 499: the client had gone before there was an answer
            self.metrics.requests.labels(method, route, str(status or 499)).inc()
            self.metrics.seconds.labels(route).observe(perf_counter() - start)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
