"""What the routes of one server share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from .batching import Batcher
from .metrics import Metrics
from .rerankers import Rerankers
from .settings import ServerSettings
from .work import WorkPool

__all__ = ["State"]


@dataclass(slots=True)
class State:
    """Everything that lives as long as the application; also ``app.state.secondpass``.

    Attributes:
        settings: what was asked for.
        work: runs what would block the event loop.
        rerankers: by name.
        batcher: scores query-passage pairs of many requests together.
        metrics: numbers for Prometheus.
        parts: what a feature's module keeps, by its name; opened in the ``lifespan`` of its router.
        stopping: set when the server begins to stop; streams and long polls end on it.
    """

    settings: ServerSettings
    work: WorkPool
    rerankers: Rerankers
    batcher: Batcher
    metrics: Metrics
    parts: dict[str, Any] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
