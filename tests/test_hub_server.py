"""Models by name: the real download code against a local server that speaks the hub's API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hub_server
import tiny_architectures
import tiny_models
from secondpass import processors

pytestmark = pytest.mark.slow

BERT, ROBERTA, PLAIN, JINA = "tiny/bert", "tiny/roberta", "tiny/plain", "tiny/jina"
ENCODER = "intfloat/multilingual-e5-small"
"""A public name, so that its prefixes are known; what is served under it is tiny and random."""
HERE = processors.eight_bit_names()[0]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    root = tmp_path_factory.mktemp("repositories")
    bert = tiny_architectures.ranker(root / "plain", "bert")
    with_onnx = tiny_models.export(bert, root / "bert")
    tiny_architectures.eight_bit(with_onnx / "onnx" / "model.onnx", with_onnx / HERE)
    other = "onnx/model_qint8_arm64.onnx" if "arm64" not in HERE else "onnx/model_quint8_avx2.onnx"
    shutil.copy(with_onnx / HERE, with_onnx / other)
    (with_onnx / "modeling.py").write_text("raise SystemExit('not wanted')")
    roberta = tiny_architectures.ranker(root / "roberta", "xlm-roberta")
    return {
        BERT: with_onnx,
        ROBERTA: roberta,
        PLAIN: bert,
        JINA: tiny_architectures.jina(root / "jina", bert),
        ENCODER: tiny_architectures.encoder(root / "encoder", "xlm-roberta"),
    }


def environment(tmp_path: Path, endpoint: str, **more: str) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUGGING", "SECONDPASS_"))
    }
    return {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "SECONDPASS_MODELS": str(tmp_path / "models"),
        **more,
    }


GUARD = (
    "import socket, sys\n"
    "def refuse(event, _):\n"
    "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
    "        sys.exit(f'the network was touched: {event}')\n"
    "sys.addaudithook(refuse)\n"
)


def command(*arguments: str, guard: bool = False) -> list[str]:
    code = f"import sys\nfrom secondpass.cli import main\nsys.exit(main({list(arguments)!r}))"
    return [sys.executable, "-c", GUARD * guard + code]


def run(
    tmp_path: Path, endpoint: str, *arguments: str, guard: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, guard=guard),
        env=environment(tmp_path, endpoint, **more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def pulled(tmp_path: Path, hub: hub_server.Hub, name: str, *flags: str, **more: str) -> dict[str, object]:
    done = run(tmp_path, hub.url, "models", "pull", name, "--json", *flags, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refused(tmp_path: Path, hub: hub_server.Hub, name: str, *flags: str, **more: str) -> str:
    done = run(tmp_path, hub.url, "models", "pull", name, *flags, **more)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def parts(tmp_path: Path) -> list[Path]:
    return list(tmp_path.rglob("blobs/*.part"))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_pull_verify_list_and_search_without_a_network(repositories, tmp_path):
    with hub_server.serving(repositories) as hub:
        answer = pulled(tmp_path, hub, BERT, HF_TOKEN="hf_secret")
        assert Path(answer["path"]).is_relative_to(tmp_path / "hf" / "hub")
        assert (answer["kind"], answer["origin"]) == ("reranker", "hub")
        assert answer["weights"] == str(Path(answer["path"]) / HERE)
        fetched = {
            path.partition(BERT)[2].lstrip("/") for _, path, _ in hub.fetched(BERT) if "api" not in path
        }
        names = {each.partition(f"resolve/{hub_server.SHA}/")[2] or each for each in fetched}
        assert names == {"config.json", "tokenizer.json", HERE}
        assert "Bearer hf_secret" in hub.tokens["hub"]
        assert hub.tokens["cdn"] == {""}, "the token must not leave the hub"
        before = len(hub.asked)
        again = pulled(tmp_path, hub, BERT)
        assert (again["origin"], again["weights"]) == ("hub cache", answer["weights"])
        assert len(hub.asked) == before
    gone = hub.url
    done = run(tmp_path, gone, "models", "verify", BERT, "--json", guard=True)
    assert (done.returncode, done.stderr) == (0, "")
    (verified,) = json.loads(done.stdout)["verified"]
    assert verified["ok"]
    assert verified["files"] == 3
    assert verified["values"] == 12
    assert verified["difference"] <= verified["tolerance"]
    listed = json.loads(run(tmp_path, gone, "models", "list", "--json", guard=True).stdout)["models"]
    assert {"minilm-l6", "jina-reranker-v1-tiny-en", "multilingual-e5-small"} <= {
        row["name"] for row in listed
    }
    assert {row["name"]: row["speed"] is not None for row in listed}[BERT]
    assert all(row["window"] and row["layers"] and row["languages"] for row in listed if row["size_mb"])
    (tmp_path / "note.txt").write_text("sorted() returns a new list\n\nParis is the capital of France\n")
    index = str(tmp_path / "index")
    assert (
        run(tmp_path, gone, "index", str(tmp_path / "note.txt"), "--index", index, guard=True).returncode == 0
    )
    found = run(tmp_path, gone, "search", "sort", "--index", index, "--reranker", BERT, "--json", guard=True)
    assert found.returncode == 0, found.stderr


def test_fp32_takes_the_exact_file_and_adds_it_where_8_bits_are_here(repositories, tmp_path):
    with hub_server.serving(repositories) as hub:
        pulled(tmp_path, hub, BERT)
        answer = pulled(tmp_path, hub, BERT, "--precision", "fp32")
        assert answer["weights"] == str(Path(answer["path"]) / "onnx" / "model.onnx")
    code = (
        "from secondpass.reranking import load_reranker\n"
        f"print(*load_reranker({BERT!r}, precision='fp32').score('sort a list', ['a list', 'a new list']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, closed_port()),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = tiny_models.reference(repositories[PLAIN], "sort a list", ["a list", "a new list"])
    np.testing.assert_allclose([float(each) for each in done.stdout.split()], expected, atol=1e-4)


def test_safetensors_are_converted_and_an_embedder_indexes(repositories, tmp_path):
    with hub_server.serving(repositories) as hub:
        assert pulled(tmp_path, hub, ROBERTA)["weights"].endswith("/model.safetensors")
        assert pulled(tmp_path, hub, "multilingual-e5-small")["kind"] == "embedder"
    assert list((tmp_path / "models" / "converted").glob("*/model.onnx"))
    (tmp_path / "note.txt").write_text("sorted() returns a new list\n")
    flags = (str(tmp_path / "note.txt"), "--index", str(tmp_path / "index"))
    done = run(
        tmp_path, hub.url, "index", *flags, "--embedder", "multilingual-e5-small", "--json", guard=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    status = run(tmp_path, hub.url, "status", *flags[1:], "--json", guard=True)
    assert "multilingual-e5-small" in status.stdout
    other = run(tmp_path, hub.url, "index", *flags, "--embedder", "all-MiniLM-L6-v2", guard=True)
    assert other.returncode == 1
    assert "built with the embedder 'multilingual-e5-small'" in " ".join(other.stderr.split())


def test_code_of_a_repository_is_refused_before_weights_are_fetched(repositories, tmp_path):
    with hub_server.serving(repositories) as hub:
        assert "never runs such code" in refused(tmp_path, hub, JINA)
        assert not hub.fetched("model.safetensors")


def test_a_broken_connection_is_taken_up_where_it_broke(repositories, tmp_path):
    with hub_server.serving(repositories, pieces=[5000, 3000]) as hub:
        pulled(tmp_path, hub, BERT)
    ranges = [wanted for _, path, wanted in hub.asked if path == f"/{BERT}/{HERE}"]
    assert ranges == ["", "bytes=5000-", "bytes=8000-"]
    assert not parts(tmp_path)


def test_a_server_without_ranges_begins_again(repositories, tmp_path):
    with hub_server.serving(repositories, pieces=[5000], ranges=False) as hub:
        pulled(tmp_path, hub, BERT)
    assert len([path for _, path, _ in hub.fetched(HERE) if path == f"/{BERT}/{HERE}"]) == 2


def test_a_killed_pull_goes_on_where_it_was(repositories, tmp_path):
    with hub_server.serving(repositories, pieces=[20_000], stall=60) as hub:
        process = subprocess.Popen(
            command("models", "pull", BERT),
            env=environment(tmp_path, hub.url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in parts(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        (part,) = parts(tmp_path)
        here = part.stat().st_size
        assert here > 0
        hub.stall = 0
        pulled(tmp_path, hub, BERT)
        assert hub.fetched(f"/{BERT}/{HERE}")[-1][2] == f"bytes={here}-"
    assert not parts(tmp_path)


def test_a_download_that_never_ends_stops_and_keeps_what_came(repositories, tmp_path):
    with hub_server.serving(repositories, pieces=[4000, 0, 0, 0, 0, 0]) as hub:
        message = refused(tmp_path, hub, BERT)
        assert "broke off at 4,000 of" in message
        assert "run it again to go on" in message
        assert len([path for _, path, _ in hub.fetched(HERE) if path == f"/{BERT}/{HERE}"]) == 5
        assert [part.stat().st_size for part in parts(tmp_path)] == [4000]
        hub.pieces.clear()
        pulled(tmp_path, hub, BERT)


@pytest.mark.parametrize("file", [HERE, "tokenizer.json"])
def test_what_was_changed_on_the_way_is_refused(repositories, tmp_path, file):
    with hub_server.serving(repositories, tamper=file) as hub:
        message = refused(tmp_path, hub, BERT)
        assert "did not arrive as the hub describes it" in message
        assert not parts(tmp_path)
        hub.tamper = ""
        pulled(tmp_path, hub, BERT)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "no public model 'tiny/bert'"),
        (401, "", "refuses access to tiny/bert: log in"),
        (403, "", "refuses access to tiny/bert: log in"),
        (403, "GatedRepo", "gated"),
        (503, "", "could not give tiny/bert"),
    ],
)
def test_a_hub_that_refuses(repositories, tmp_path, status, code, message):
    with hub_server.serving(repositories, status=status, error_code=code) as hub:
        told = refused(tmp_path, hub, BERT)
    assert message in told
    assert not parts(tmp_path)


def test_a_hub_that_does_not_answer(repositories, tmp_path):
    with hub_server.serving(repositories, wait=30.0) as hub:
        message = refused(tmp_path, hub, BERT, HF_HUB_ETAG_TIMEOUT="1", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert "could not give tiny/bert" in message


def test_weights_that_stop_coming(repositories, tmp_path):
    with hub_server.serving(repositories, pieces=[1000, 0, 0, 0, 0, 0], stall=30.0) as hub:
        message = refused(tmp_path, hub, BERT, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert "broke off at 1,000 of" in message


def test_no_hub_and_offline(tmp_path):
    hub = hub_server.Hub({}, url=closed_port())
    assert "could not give tiny/bert" in refused(tmp_path, hub, BERT)
    done = run(tmp_path, hub.url, "models", "pull", BERT, guard=True, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in " ".join(done.stderr.split())


def test_a_disk_that_cannot_be_written(repositories, tmp_path):
    (tmp_path / "hf").write_text("a file where a folder should be")
    with hub_server.serving(repositories) as hub:
        message = refused(tmp_path, hub, BERT)
    assert "HF_HOME" in message


def test_verify_notices_a_changed_file(repositories, tmp_path):
    with hub_server.serving(repositories) as hub:
        path = Path(pulled(tmp_path, hub, BERT)["path"])
    file = (path / "tokenizer.json").resolve()
    file.write_text(file.read_text().replace("##", "#", 1))
    done = run(tmp_path, hub.url, "models", "verify", BERT, guard=True)
    assert done.returncode == 1
    assert "tokenizer.json is not the file that was fetched" in " ".join(done.stderr.split())
    done = run(tmp_path, hub.url, "models", "verify", "--json", guard=True)
    checked = {each["name"]: each["ok"] for each in json.loads(done.stdout)["verified"]}
    names = ("minilm-l6", "late-interaction", "late-interaction-1bit", "all-MiniLM-L6-v2")
    shipped = dict.fromkeys(names, True)
    assert (done.returncode, checked) == (1, {**shipped, BERT: False})
