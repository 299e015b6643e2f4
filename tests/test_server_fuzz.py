"""The API against what nobody foresaw: requests made from its own description, and malformed bodies."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from secondpass.ext.server import ServerSettings
from secondpass.index import Index
from secondpass.types import Document
from serving import serving

FEW = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BODIES = 5000
PATHS = (
    "/v1/search",
    "/v1/compare",
    "/v1/judgments",
    "/v1/embeddings",
    "/v1/answer",
    "/v1/documents",
    "/v2/rerank",
    "/v1/rerank",
    "/rerank",
)
FIELDS = (
    *("query", "k", "candidates", "reranker", "rerankers", "stage1", "where", "deadline_ms", "stream"),
    *("passage_id", "relevant", "input", "encoding_format", "dimensions", "documents", "texts", "top_n"),
    *("paths", "model", "return_documents", "truncate", "rank_fields", "id", "text", "metadata"),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "index"
    with Index.open(folder) as index:
        index.add([Document("deposit", "The deposit is returned after two weeks."), Document("empty", "x")])
    with serving(ServerSettings(index=folder, reranker="minilm-l6")) as server:
        yield server


def test_every_route_answers_as_the_openapi_document_says(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    asked = 0

    def check(case):
        nonlocal asked
        asked += 1
        case.call_and_validate(checks=checks)

    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                cases = operation.as_strategy(generation_mode=mode)
                FEW(given(cases)(check))()
            except Unsatisfiable:  # a route without parameters cannot be asked wrongly
                assert mode is GenerationMode.NEGATIVE, operation.label
    assert len(operations) >= 15
    assert asked >= 10 * len(operations)


def _value(rng, depth=0):
    """Return a JSON value of any kind, now and then one that is nearly right."""
    kinds = [
        lambda: rng.choice([None, True, False, 0, -1, 3, 2**31, 2**63, 10**30, 1e308, -0.0]),
        lambda: rng.choice(["", " ", "deposit", "\x00", "\ud800", "é" * 40, "none", "auto", "../../x"]),
        lambda: "".join(chr(rng.randrange(32, 0xD7FF)) for _ in range(rng.randrange(30))),
        lambda: float("nan") if rng.random() < 0.5 else float("inf"),
    ]
    if depth < 3:
        kinds.append(lambda: [_value(rng, depth + 1) for _ in range(rng.randrange(4))])
        kinds.append(lambda: {rng.choice(FIELDS): _value(rng, depth + 1) for _ in range(rng.randrange(4))})
    return rng.choice(kinds)()


def _object(rng):
    body = {rng.choice(FIELDS): _value(rng) for _ in range(rng.randrange(1, 7))}
    if rng.random() < 0.5:
        body["query"] = rng.choice(["deposit", "two weeks", "\ud800", "a\x00b"])
    if rng.random() < 0.3:
        body[rng.choice(["documents", "texts", "input"])] = rng.choice([["a"], ["a", ""], [{"text": "a"}]])
    return body


def _broken(rng, raw):
    """Return bytes with some lost, doubled or changed."""
    cut = rng.randrange(len(raw) + 1)
    return rng.choice(
        [
            raw[:cut],
            raw + raw,
            raw[:cut] + bytes(rng.randrange(256) for _ in range(5)) + raw[cut:],
            b"[" * rng.randrange(1, 3000),
            b'{"query":' * rng.randrange(1, 2000),
            bytes(rng.randrange(256) for _ in range(rng.randrange(60))),
        ]
    )


def _request(rng):
    raw = json.dumps(_object(rng)).encode()
    if rng.random() < 0.4:
        raw = _broken(rng, raw)
    kind = rng.choice(["application/json"] * 8 + ["text/plain", "multipart/form-data; boundary=x", ""])
    return rng.choice(PATHS), raw, {"Content-Type": kind} if kind else {}


def _resident():
    """Return the bytes of memory that this process, the server's, holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_malformed_bodies_are_refused_and_leave_nothing_behind(served):
    rng = random.Random(20_240_229)
    requests = [_request(rng) for _ in range(BODIES)]
    seen: dict[int, int] = {}
    failed = []
    with httpx.Client(base_url=served.url, timeout=30) as client, ThreadPoolExecutor(4) as pool:

        def send(request):
            path, raw, headers = request
            return request, client.post(path, content=raw, headers=headers)

        def run(part):
            for request, told in pool.map(send, part):
                seen[told.status_code] = seen.get(told.status_code, 0) + 1
                if told.status_code >= 500:
                    failed.append((told.status_code, told.text[:200], request))

        run(requests[: BODIES // 2])  # models are opened and buffers have grown
        before = _resident()
        run(requests[BODIES // 2 :])
        grown = _resident() - before
        assert client.get("/healthz").status_code == 200
    assert not failed, (len(failed), failed[:3])
    assert sum(seen.values()) == BODIES
    assert {200, 400, 422} <= seen.keys()
    assert grown < 32 * 2**20, f"{grown / 2**20:.1f} MiB more after {BODIES // 2} requests; {seen}"
