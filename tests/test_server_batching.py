"""Micro-batches across requests, bounded queues, clients that go away, and stopping."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")

from secondpass import load_reranker
from secondpass.cores import for_each, one_core, usable_cores
from secondpass.errors import QueryError
from secondpass.ext.server import Limits, ServerSettings
from secondpass.ext.server.batching import Batcher
from secondpass.ext.server.errors import ApiError
from secondpass.ext.server.metrics import Metrics
from secondpass.ext.server.work import WorkPool
from serving import serving

TEXTS = [
    f"Passage {number} tells of caches that keep answers, of rivers and of bread." for number in range(24)
]


class Gated:
    """A re-ranker that reads when it is let, and notes in which order it was asked."""

    name = "gated"

    def __init__(self):
        self.open = threading.Event()
        self.begun = threading.Event()
        self.asked: list[tuple[str, int]] = []

    def score(self, query, passages):
        self.begun.set()
        assert self.open.wait(30)
        self.asked.append((query, len(passages)))
        if query == "bad":
            raise QueryError("that query cannot be read")
        return np.array([float(len(text)) for text in passages], dtype=np.float32)


def batcher(workers=1, most_pairs=1000, metrics=None):
    return Batcher(workers, most_pairs, 0.0, metrics or Metrics())


def until(condition):
    async def wait():
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.005)

    return wait()


def test_scores_are_those_of_the_library_to_the_bit():
    reranker = load_reranker()
    queries = [f"what keeps answers, asked for the {number}th time" for number in range(6)]
    alone = {query: reranker.score(query, TEXTS).tolist() for query in queries}

    async def together():
        own = batcher(workers=2)
        found = await asyncio.gather(*(own.score(reranker, query, TEXTS, query) for query in queries))
        await own.close()
        return found

    for query, given in zip(queries, asyncio.run(together()), strict=True):
        assert [each.score for each in given] == alone[query]


def test_requests_share_micro_batches_and_a_large_one_holds_up_nobody():
    reranker, metrics = Gated(), Metrics()

    async def play():
        own = batcher(metrics=metrics)
        large = asyncio.create_task(own.score(reranker, "large", ["x" * 500] * 200, "one"))
        await until(reranker.begun.is_set)
        small = [
            asyncio.create_task(own.score(reranker, f"small {n}", ["y"], f"client {n}")) for n in range(3)
        ]
        await until(lambda: own.waiting_pairs >= 3)
        reranker.open.set()
        await asyncio.gather(*small)
        assert not large.done()
        assert len(await large) == 200
        await own.close()

    asyncio.run(play())
    places = [place for place, (query, _) in enumerate(reranker.asked) if query.startswith("small")]
    assert max(places) < len(reranker.asked) - 1
    shared = metrics.registry.get_sample_value("secondpass_batch_requests_sum")
    batches = metrics.registry.get_sample_value("secondpass_batch_requests_count")
    assert shared > batches  # some micro-batch held pairs of several requests


def test_one_request_alone_is_spread_over_the_workers():
    class Threads:
        name = "threads"

        def __init__(self):
            self.both = threading.Barrier(2)

        def score(self, query, passages):
            self.both.wait(30)  # passes only where two threads read at once
            return np.zeros(len(passages), dtype=np.float32)

    async def play():
        own = batcher(workers=2)
        own._pace["threads"] = 0.01  # as if it had been seen to take 6 ms for each of these
        await own.score(Threads(), "q", ["x" * 500] * 2, "one")
        await own.close()

    asyncio.run(play())


def test_an_error_stays_with_its_request():
    reranker = Gated()
    reranker.open.set()

    async def play():
        own = batcher()
        given = await asyncio.gather(
            own.score(reranker, "good", ["abc", "a"], "one"),
            own.score(reranker, "bad", ["abc"], "two"),
            own.score(reranker, "fine", ["ab"], "three"),
            return_exceptions=True,
        )
        await own.close()
        return given

    good, bad, fine = asyncio.run(play())
    assert (good, fine) == ([3.0, 1.0], [2.0])
    assert isinstance(bad, QueryError)


def test_queries_share_kernel_calls_and_a_refused_one_spoils_no_other():
    reranker = load_reranker()
    queries = [f"what keeps answers, asked for the {number}th time" for number in range(8)]
    queries[3] = "word " * 600  # leaves no room for a passage

    async def together():
        metrics = Metrics()
        own = batcher(metrics=metrics)
        asked = (own.score(reranker, query, TEXTS[:1], query) for query in queries)
        found = await asyncio.gather(*asked, return_exceptions=True)
        await own.close()
        samples = metrics.batch_requests.collect()[0].samples
        return found, {each.name: each.value for each in samples}

    found, told = asyncio.run(together())
    assert told["secondpass_batch_requests_count"] < len(queries)
    for query, given in zip(queries, found, strict=True):
        if query == queries[3]:
            assert isinstance(given, QueryError)
        else:
            assert [each.score for each in given] == reranker.score(query, TEXTS[:1]).tolist()


def test_too_many_pairs_are_refused_and_taken_back_ones_make_room():
    reranker = Gated()

    async def play():
        own = batcher(most_pairs=10)
        first = asyncio.create_task(own.score(reranker, "first", ["x" * 9000], "one"))
        await until(reranker.begun.is_set)
        second = asyncio.create_task(own.score(reranker, "second", ["y"] * 8, "two"))
        await until(lambda: own.waiting_pairs == 8)
        with pytest.raises(ApiError) as refused:
            await own.score(reranker, "third", ["z"] * 3, "three")
        assert (refused.value.status, refused.value.code) == (429, "overloaded")
        assert int(refused.value.headers["Retry-After"]) >= 1
        second.cancel()
        await until(lambda: own.waiting_pairs == 0)
        third = asyncio.create_task(own.score(reranker, "third", ["z"] * 3, "three"))
        await until(lambda: own.waiting_pairs == 3)
        reranker.open.set()
        await asyncio.gather(first, third)
        await own.close()
        with pytest.raises(ApiError) as stopping:
            await own.score(reranker, "late", ["z"], "three")
        assert stopping.value.status == 503

    asyncio.run(play())
    assert [query for query, _ in reranker.asked] == ["first", "third"]


def test_the_pool_bounds_what_waits_and_ends_what_nobody_wants():
    gate, cancel = threading.Event(), threading.Event()

    async def play():
        pool = WorkPool(workers=1, queue=1, seconds=30)
        running = asyncio.create_task(pool.run(gate.wait, 30, cancel=cancel))
        await until(lambda: pool.running == 1)
        waiting = asyncio.create_task(pool.run(len, "abc"))
        await until(lambda: pool.waiting == 1)
        with pytest.raises(ApiError) as refused:
            await pool.run(len, "abc")
        assert (refused.value.status, refused.value.retry_after) == (429, 1)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert cancel.is_set()
        assert pool.running == 1  # the thread goes on until its function ends
        gate.set()
        assert await waiting == 3
        with pytest.raises(ApiError) as slow:
            await pool.run(time.sleep, 0.5, seconds=0.02)
        assert slow.value.code == "too_slow"
        await pool.close()
        with pytest.raises(ApiError) as stopping:
            await pool.run(len, "abc")
        assert stopping.value.status == 503

    asyncio.run(play())


def test_overload_is_answered_with_when_to_come_back():
    limits = replace(Limits(), pairs=40, requests=6)
    with serving(ServerSettings(limits=limits)) as server:
        body = {"query": "what keeps answers", "documents": [text * 20 for text in TEXTS]}

        def ask(_):
            answer = httpx.post(f"{server.url}/v2/rerank", json=body, timeout=120)
            return answer.status_code, answer.headers.get("Retry-After")

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(24)))
        assert {status for status, _ in answers} == {200, 429}
        assert all(int(after) >= 1 for status, after in answers if status == 429)
        assert server.state.batcher.waiting_pairs == 0
        assert httpx.post(f"{server.url}/v2/rerank", json=body, timeout=120).status_code == 200


def test_a_client_that_goes_away_ends_its_work():
    with serving() as server:
        reranker = Gated()
        server.state.rerankers.add(reranker)
        body = (
            b'{"model": "gated", "query": "q", "documents": ['
            + b",".join([b'"%s"' % (b"x" * 4000)] * 200)
            + b"]}"
        )
        head = "POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert reranker.begun.wait(30)
            assert server.state.batcher.waiting_pairs > 0
        deadline = time.monotonic() + 30
        while server.state.batcher.waiting_pairs and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.state.batcher.waiting_pairs == 0
        reranker.open.set()
        answer = httpx.post(
            f"{server.url}/v2/rerank", json={"model": "gated", "query": "q", "documents": ["d"]}, timeout=60
        )
        assert answer.status_code == 200
        assert sum(count for _, count in reranker.asked) < 200


def test_stopping_finishes_what_is_in_flight():
    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "serve", "--rerank-only", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    url = process.stderr.readline().split()[2].rstrip(";")
    body = {"query": "what keeps answers", "documents": [text * 20 for text in TEXTS] * 3}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{url}/v2/rerank", json=body, timeout=120)
        while (
            "secondpass_requests_in_flight 2.0" not in httpx.get(f"{url}/metrics").text and not answer.done()
        ):
            time.sleep(0.01)
        assert not answer.done()
        process.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
        assert len(answer.result().json()["results"]) == len(body["documents"])
    said = process.stderr.read()
    assert process.wait(60) == 0
    process.stderr.close()
    assert said.rstrip().endswith("stopped")


def test_one_core_keeps_work_on_its_thread():
    seen = set()
    with one_core():
        assert usable_cores() == 1
        for_each(lambda _: seen.add(threading.get_ident()), range(8))
        with one_core():
            pass
        assert usable_cores() == 1
    assert seen == {threading.get_ident()}
