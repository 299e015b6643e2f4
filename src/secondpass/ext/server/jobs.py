"""Writing to the index: one job after the other, on one thread, acknowledged when it is committed."""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import SecondpassError
from .errors import ApiError, overloaded, translated

__all__ = ["Failure", "Job", "Writer"]

logger = logging.getLogger("secondpass.server")

MOST_WAITING = 8
"""Jobs that wait for the writer, their documents with them; more are answered 429."""
MOST_KEPT = 1000
"""Ended jobs that can still be asked about."""
_POLL = 0.03

Failure = dict[str, str]
"""``source`` and ``reason`` of what was not indexed."""


@dataclass(slots=True, eq=False)
class Job:
    """Something to write.

    Attributes:
        state: ``done`` only after all of it was committed.
        done, total: documents; total is 0 until it is known.
        failed: what could not be indexed; the rest was.
        error: what ended a failed job.
    """

    id: str
    work: Callable[[Job], None]
    state: Literal["queued", "running", "done", "failed"] = "queued"
    done: int = 0
    total: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: list[Failure] = field(default_factory=list)
    error: ApiError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed")

    def shape(self) -> dict[str, Any]:
        """Return what clients are told."""
        return {
            "id": self.id,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "added": self.added,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "failed": list(self.failed),
        }


class Writer:
    """Runs jobs in the order in which they come, one at a time."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, work: Callable[[Job], None]) -> Job:
        """Line a job up.

        Raises:
            ApiError: 429 where too many wait, 503 where the server stops.
        """
        with self._lock:
            if self._closed:
                raise ApiError(503, "stopping", "the server is stopping; send it again when it is back", 1)
            waiting = sum(job.state == "queued" for job in self._jobs.values())
            if waiting >= MOST_WAITING:
                raise overloaded(f"{waiting} jobs wait to be indexed", 2)
            job = Job(secrets.token_hex(8), work)
            self._jobs[job.id] = job
            self._forget()
            self._waiting.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="secondpass-writer")
                self._thread.start()
        return job

    def job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ApiError: 404; ended jobs are forgotten after a thousand others, and when the server stops.
        """
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise ApiError(404, "job_not_found", "no such job; ended ones are forgotten after a while")
        return found

    async def ended(self, job: Job) -> Job:
        """Return the job when it has ended."""
        while not job.ended:
            await asyncio.sleep(_POLL)
        return job

    def close(self) -> None:
        """Finish the job under way; those that wait fail, and say so."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._waiting.put(None)
        if thread is not None:
            thread.join()

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.ended]
        for job_id in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self._jobs[job_id]

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            with _told(job):
                if self._closed:
                    raise ApiError(
                        503, "stopping", "the server stopped before it came to this; send it again"
                    )
                job.state = "running"
                job.work(job)


@contextmanager
def _told(job: Job) -> Iterator[None]:
    """Have the job say how it ended."""
    try:
        yield
    except SecondpassError as exc:
        logger.warning("job %s failed: %s", job.id, type(exc).__name__)
        job.error = translated(exc)
    except Exception as exc:
        logger.exception("job %s failed", job.id)
        job.error = translated(exc)
    if job.error is not None:
        job.failed.append({"source": "", "reason": str(job.error)})
    job.state = "done" if job.error is None else "failed"
