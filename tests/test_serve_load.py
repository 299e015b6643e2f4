"""A server under the load of many clients, for some seconds: right answers, no errors, steady memory."""

from __future__ import annotations

import importlib
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("fastapi")

from secondpass import Document, Index, load_reranker

ROOT = Path(__file__).parent.parent
CLIENTS = 32
WORDS = "ferry ticket harbour mill flour hive willow oven bread library card deposit saw ladder rope".split()  # noqa: SIM905


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


http_load, serve_load = script("http_load"), script("serve_load")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]


@pytest.fixture(scope="module")
def passages() -> list[str]:
    generator = random.Random(5)
    return [" ".join(generator.choices(WORDS, k=generator.randint(4, 30))) for _ in range(120)]


@pytest.fixture(scope="module")
def folder(passages: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("load") / "index"
    with Index.open(target) as index:
        index.add([Document(f"{place}", text) for place, text in enumerate(passages)])
    return target


def test_many_clients_get_right_answers_and_memory_stays(
    folder: Path, passages: list[str], tmp_path: Path
) -> None:
    mix = serve_load.Mix([f"where is the {word}?" for word in WORDS], passages)
    reranker = load_reranker()
    wanted = {number: reranker.score(mix.question(number), mix.some(number, 5)) for number in range(8)}

    def numbered(client: int, count: int) -> Any:
        number = (client + count) % 8
        return http_load.Asking(str(number), mix.rerank(number, 5).wire)

    port = http_load.free_port()
    command = http_load.serve_command(port, "--index", folder, "--no-cache", "--quiet")
    with http_load.serving(command, port, "/metrics", tmp_path / "serve.log") as process:
        mix.searches = serve_load.offers(port, "/v1/search")
        found = serve_load.under_load(process, port, mix, CLIENTS, 8.0)
        told = http_load.put(port, CLIENTS, 2.0, numbered).told
    assert set(found["statuses"]) <= {"200", "429", "503"}
    assert found["errors"] == []
    assert found["statuses"]["200"] > CLIENTS
    assert found["memory_mb"]["growth"] <= serve_load.MEMORY_LIMIT
    assert {each.status for each in told} <= {200, 429, 503}
    answers = [each for each in told if each.status == 200]
    assert len(answers) >= CLIENTS
    for each in answers:
        given = {hit["index"]: hit["score"] for hit in json.loads(each.body)}
        assert [given[place] for place in range(5)] == pytest.approx(wanted[int(each.kind)], abs=0.05)
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
