"""What the routes of one server share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from .metrics import Metrics
from .settings import ServerSettings
from .work import WorkPool

__all__ = ["State"]


@dataclass(slots=True)
class State:
    """Everything that lives as long as the application; also ``app.state.secondpass``.

    Attributes:
        settings: what was asked for.
        work: runs what would block the event loop.
        metrics: numbers for Prometheus.
        parts: what a feature's module keeps, by its name; opened in the ``lifespan`` of its router.
        stopping: set when the server begins to stop; streams and long polls end on it.
    """

    settings: ServerSettings
    work: WorkPool
    metrics: Metrics = field(default_factory=Metrics)
    parts: dict[str, Any] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
