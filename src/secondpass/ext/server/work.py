"""Work off the event loop: a few threads, a bounded queue in front of them, cancelled when nobody waits."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from .errors import ApiError, overloaded
from .telemetry import traced

__all__ = ["WorkPool"]

T = TypeVar("T")


class WorkPool:
    """Runs functions on worker threads, in the order in which they come.

    Args:
        workers: threads.
        queue: how many functions may wait for one.
        seconds: that a function may take with its waiting, where the caller says no other number.
    """

    def __init__(self, workers: int, queue: int, seconds: float) -> None:
        self.workers = workers
        self.queue = queue
        self.seconds = seconds
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="secondpass-work")
        self._free = asyncio.Semaphore(workers)
        self._waiting = 0
        self._running = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many functions wait for a worker."""
        return self._waiting

    @property
    def running(self) -> int:
        """How many run."""
        return self._running

    async def run(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        cancel: threading.Event | None = None,
        seconds: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Return ``function(*args, **kwargs)``, worked out on a thread.

        When the request is cancelled (its client is gone, the server stops) or the time is over, ``cancel``
        is set and the caller gets its error at once; a function that does not look at the event runs on and
        keeps its worker until it ends. Give the function the same event, or one that looks at it.

        Args:
            function: what to run; one that waits in the queue is not begun any more once cancelled.
            args: for the function.
            cancel: set when nobody wants the answer any more. It is *not* passed on.
            seconds: most time, the waiting included.
            kwargs: for the function.

        Raises:
            ApiError: 429 where too much waits, 503 where the server stops, 504 where the time is over.
        """
        allowed = self.seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(allowed) as clock:
                return await self._run(traced(_name(function), partial(function, *args, **kwargs)))
        except BaseException as exc:
            if cancel is not None:
                cancel.set()
            if isinstance(exc, TimeoutError) and clock.expired():
                message = f"no answer within {allowed:g} s; ask for less at once"
                raise ApiError(504, "too_slow", message, retry_after=1) from exc
            raise

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise ApiError(503, "stopping", "the server is stopping; ask again when it is back", 1)
        if self._free.locked() and self._waiting >= self.queue:
            raise overloaded(f"{self._waiting} requests wait")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        if self._closed:
            self._free.release()
            raise ApiError(503, "stopping", "the server is stopping; ask again when it is back", 1)
        self._running += 1
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, contextvars.copy_context().run, work
        )
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._running -= 1
        self._free.release()
        if not future.cancelled():
            future.exception()  # nobody may be left to look at it

    async def close(self) -> None:
        """Take no more work and wait until what runs has ended."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)


def _name(function: Callable[..., Any]) -> str:
    """Return what a span of this work is called."""
    return f"work {getattr(function, '__name__', type(function).__name__).strip('_')}"
