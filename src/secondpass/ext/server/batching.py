"""Micro-batches across requests: pairs of many clients scored together, each client in its turn.

Every worker thread stays on one core and takes, whenever it is free, the pairs that have waited longest, one
client after the other, up to a few milliseconds of work. So a large request never holds up a small one for
longer than a micro-batch, a request alone is spread over all cores, and what nobody waits for any more is
dropped before it is scored.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter

from ...cores import one_core
from ...scores import Given, ask, check_finite
from ...types import Reranker, SupportsMany
from .errors import ApiError, overloaded
from .metrics import Metrics

__all__ = ["Batcher"]

MICRO_BATCH_MS = 30.0
"""What a micro-batch is meant to take: no newcomer waits longer for a worker, but for a very long passage."""
ALONE_MS = 60.0
"""The same where nobody else waits: each micro-batch reads the query anew, so fewer are quicker."""
_LEAST_MS = 3.0
"""A passage or two; sharing less among the workers would cost more than it gives."""
_LONGEST = 65_536
"""Characters of a passage that count for its cost: a re-ranker reads a bounded number of windows."""
_FIXED = 100
"""What a pair costs whatever its length, in characters: the query is read with each."""
_MS_A_CHARACTER = 0.01
"""What is assumed of a re-ranker that has read nothing yet."""


@dataclass(slots=True, eq=False)
class _Job:
    """The pairs of one request.

    Attributes:
        given: what was made of each text, once it was read.
        taken: how many texts workers have taken.
        left: how many are not read yet.
        done: the answer; cancelled where nobody waits for it.
    """

    reranker: Reranker
    query: str
    texts: Sequence[str]
    client: str
    done: asyncio.Future[None]
    given: list[Given | None]
    taken: int = 0
    left: int = 0


@dataclass(slots=True)
class _Piece:
    """Some texts of a job, for one worker."""

    job: _Job
    start: int
    end: int
    given: list[Given] = field(default_factory=list)
    error: Exception | None = None

    @property
    def texts(self) -> list[str]:
        return list(self.job.texts[self.start : self.end])


class Batcher:
    """Scores the pairs of concurrent requests.

    Args:
        workers: threads, each on one core.
        most_pairs: that may wait; a request beyond them is refused.
        wait_ms: how long a worker waits for more pairs when there are few and others are at work.
        metrics: what is told of each micro-batch.
    """

    def __init__(self, workers: int, most_pairs: int, wait_ms: float, metrics: Metrics) -> None:
        self._workers = workers
        self._most_pairs = most_pairs
        self._wait = wait_ms / 1000
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="secondpass-score")
        self._clients: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._waiting_pairs = 0
        self._busy = 0
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pace: dict[str, float] = {}
        self._closed = False

    @property
    def waiting_pairs(self) -> int:
        """How many pairs no worker has taken yet."""
        return self._waiting_pairs

    async def score(self, reranker: Reranker, query: str, texts: Sequence[str], client: str) -> list[Given]:
        """Return what the re-ranker makes of each text, in order.

        A cancelled call takes back what no worker has taken yet.

        Args:
            reranker: reads the pairs.
            query: of all of them.
            texts: at least one.
            client: who asks; clients take turns.

        Raises:
            ApiError: 429 where too many pairs wait, 503 where the server stops.
            SecondpassError: what the re-ranker says to them, e.g. to a query that is too long.
        """
        if self._closed:
            raise ApiError(503, "stopping", "the server is stopping; ask again when it is back", 1)
        if self._waiting_pairs and self._waiting_pairs + len(texts) > self._most_pairs:
            raise overloaded(f"{self._waiting_pairs} pairs wait to be scored", self._retry_after())
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        job = _Job(
            reranker,
            query,
            texts,
            client,
            asyncio.get_running_loop().create_future(),
            [None] * len(texts),
            left=len(texts),
        )
        self._clients.setdefault(client, deque()).append(job)
        self._count(len(texts))
        self._ready.set()
        try:
            await job.done
        finally:
            if job.taken < len(texts):
                self._drop(job)
        return [each for each in job.given if each is not None]

    async def close(self) -> None:
        """Take nothing more, and end what is left."""
        self._closed = True
        for jobs in list(self._clients.values()):
            for job in list(jobs):
                self._fail(
                    job, ApiError(503, "stopping", "the server is stopping; ask again when it is back", 1)
                )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def _work(self) -> None:
        """Be one worker."""
        loop = asyncio.get_running_loop()
        while True:
            await self._ready.wait()
            if self._busy and self._wait and self._expected() < MICRO_BATCH_MS:
                await asyncio.sleep(self._wait)  # others keep the cores busy: let a fuller batch gather
            pieces = self._pick()
            if not pieces:
                self._ready.clear()
                continue
            self._busy += 1
            try:
                spent = await loop.run_in_executor(self._threads, _read, pieces)
            finally:
                self._busy -= 1
            self._learn(pieces, spent)
            self._deliver(pieces)

    def _pick(self) -> list[_Piece]:
        """Take the next micro-batch: some texts of each client in turn."""
        idle = max(1, self._workers - self._busy)
        alone = sum(map(len, self._clients.values())) == 1
        room = min(ALONE_MS if alone else MICRO_BATCH_MS, max(_LEAST_MS, self._expected() / idle))
        pieces: list[_Piece] = []
        while self._clients and (room > 0 or not pieces):
            client, jobs = next(iter(self._clients.items()))
            job = jobs.popleft()
            pace = self._pace_of(job.reranker)
            start = job.taken
            # the share of one turn is a part of the room, so that a micro-batch mixes clients
            turn = room / min(4, len(self._clients) + len(jobs))
            while job.taken < len(job.texts) and (turn > 0 or job.taken == start):
                cost = _cost(job.texts[job.taken]) * pace
                turn, room = turn - cost, room - cost
                job.taken += 1
            pieces.append(_Piece(job, start, job.taken))
            self._count(start - job.taken)
            if job.taken < len(job.texts):
                jobs.append(job)
            self._clients.move_to_end(client)
            if not jobs:
                del self._clients[client]
        return pieces

    def _expected(self) -> float:
        """Return how many milliseconds of one core what waits may take, looking no further than needed."""
        total, enough = 0.0, self._workers * ALONE_MS
        for jobs in self._clients.values():
            for job in jobs:
                pace = self._pace_of(job.reranker)
                for place in range(job.taken, len(job.texts)):
                    total += _cost(job.texts[place]) * pace
                    if total > enough:
                        return total
        return total

    def _learn(self, pieces: list[_Piece], spent_ms: float) -> None:
        names = {piece.job.reranker.name for piece in pieces}
        costs = sum(_cost(text) for piece in pieces for text in piece.texts)
        if len(names) == 1 and spent_ms > 0:
            (name,) = names
            self._pace[name] = (self._pace.get(name, spent_ms / costs) + spent_ms / costs) / 2

    def _deliver(self, pieces: list[_Piece]) -> None:
        self._metrics.batch_pairs.observe(sum(piece.end - piece.start for piece in pieces))
        self._metrics.batch_requests.observe(len({id(piece.job) for piece in pieces}))
        for piece in pieces:
            job = piece.job
            if job.done.done():
                continue
            if piece.error is not None:
                self._fail(job, piece.error)
                continue
            job.given[piece.start : piece.end] = piece.given
            job.left -= piece.end - piece.start
            self._metrics.pairs.labels(job.reranker.name).inc(piece.end - piece.start)
            if not job.left:
                job.done.set_result(None)

    def _fail(self, job: _Job, error: Exception) -> None:
        if not job.done.done():
            job.done.set_exception(error)
        self._drop(job)

    def _drop(self, job: _Job) -> None:
        """Take back what no worker has taken."""
        self._count(job.taken - len(job.texts))
        job.taken = len(job.texts)
        jobs = self._clients.get(job.client)
        if jobs is not None and job in jobs:
            jobs.remove(job)
            if not jobs:
                del self._clients[job.client]

    def _count(self, pairs: int) -> None:
        self._waiting_pairs += pairs
        self._metrics.waiting_pairs.set(self._waiting_pairs)

    def _pace_of(self, reranker: Reranker) -> float:
        return self._pace.get(reranker.name, _MS_A_CHARACTER)

    def _retry_after(self) -> int:
        pace = max(self._pace.values(), default=_MS_A_CHARACTER)
        return min(60, max(1, ceil(self._waiting_pairs * 500 * pace / self._workers / 1000)))


def _cost(text: str) -> int:
    return min(len(text), _LONGEST) + _FIXED


def _read(pieces: list[_Piece]) -> float:
    """Read the pieces on this thread, on one core; return the milliseconds. An error stays with its piece."""
    start = perf_counter()
    wanted: dict[int, list[_Piece]] = {}
    for piece in pieces:
        if not piece.job.done.done():
            wanted.setdefault(id(piece.job.reranker), []).append(piece)
    with one_core():
        for together in wanted.values():
            if len(together) == 1 or not _read_together(together):
                for piece in together:
                    _read_alone(piece)
    return (perf_counter() - start) * 1000


def _read_together(pieces: list[_Piece]) -> bool:
    """Read pieces of one re-ranker in shared batches; False where it cannot, or refuses one of them."""
    reranker = pieces[0].job.reranker
    if not isinstance(reranker, SupportsMany):
        return False
    try:
        given = reranker.read_many([(piece.job.query, piece.texts) for piece in pieces])
        for piece, own in zip(pieces, given, strict=True):
            check_finite(reranker, own, [str(place) for place in range(piece.start, piece.end)])
    except Exception:  # noqa: BLE001  each is read alone then, and an error finds its piece
        return False
    for piece, own in zip(pieces, given, strict=True):
        piece.given = list(own)
    return True


def _read_alone(piece: _Piece) -> None:
    job = piece.job
    if job.done.done():
        return
    try:
        piece.given = ask(job.reranker, job.query, piece.texts)
        check_finite(job.reranker, piece.given, [str(place) for place in range(piece.start, piece.end)])
    except Exception as exc:  # noqa: BLE001  it is raised where the request waits
        piece.error = exc
