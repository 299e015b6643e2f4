"""Names to folders: the order of places, checks, and a hub spoken to only when asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tiny_models
from secondpass import models
from secondpass.catalogue import KNOWN
from secondpass.errors import InputError, ModelInvalidError, ModelNotFoundError
from secondpass.reranking import CrossEncoder

HUB_ID = "tiny-org/tiny-ranker"


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    root = tmp_path_factory.mktemp("rankers")
    return tiny_models.export(tiny_models.checkpoint(root / "safetensors", "bert"), root / "tiny")


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_every_name_is_known_once():
    names = [name for model in KNOWN for name in (model.name, model.hub_id, *model.aliases) if name]
    assert len({name.casefold() for name in names}) == len(names)
    embedders = {"all-MiniLM-L6-v2", "bge-small-en-v1.5", "multilingual-e5-small"}
    assert {model.name for model in models.known_models("embedder")} == embedders
    shipped = {model.name for model in models.known_models() if model.shipped}
    assert shipped == {"all-MiniLM-L6-v2", "late-interaction", "late-interaction-1bit", "minilm-l6"}
    assert all(model.size_mb > 0 and model.layers > 0 and model.license for model in KNOWN)


def test_weights_that_ship_are_the_pinned_ones():
    lines = models.CHECKSUMS.read_text(encoding="utf-8").splitlines()
    pinned = {file: sha256 for sha256, file in (line.split() for line in lines)}
    files = [file for file in models.WEIGHTS.rglob("*") if file.suffix in (".onnx", ".json", ".npz")]
    assert {file.relative_to(models.WEIGHTS).as_posix() for file in files} == set(pinned)
    for file, sha256 in pinned.items():
        assert hashlib.sha256((models.WEIGHTS / file).read_bytes()).hexdigest() == sha256


def test_a_shipped_model_comes_from_the_package():
    folder = models.resolve("all-MiniLM-L6-v2", "embedder")
    assert folder.origin == "package"
    assert folder.weights().stat().st_size == 22_928_619
    assert models.resolve("late-interaction").weights() == folder.weights()
    assert models.resolve("sentence-transformers/all-MiniLM-L6-v2", "embedder") == folder


@pytest.mark.parametrize("harm", ["missing", "empty", "truncated", "noise"])
def test_a_shipped_file_that_was_changed_is_refused(tmp_path, monkeypatch, harm):
    weights = shutil.copytree(models.WEIGHTS, tmp_path / "weights")
    monkeypatch.setattr(models, "WEIGHTS", weights)
    assert models.resolve("late-interaction").path == weights / "all-MiniLM-L6-v2"
    tiny_models.damage(weights / "all-MiniLM-L6-v2" / "tokenizer.json", harm)
    with pytest.raises(ModelInvalidError, match=r"tokenizer\.json.*reinstall"):
        models.resolve("late-interaction")


def test_a_checksum_is_taken_again_when_the_file_changes(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"right")
    sha256 = hashlib.sha256(b"right").hexdigest()
    models.verify(file, sha256)
    file.write_bytes(b"wrong")
    os.utime(file, ns=(1, 1))
    with pytest.raises(ModelInvalidError, match="sha256"):
        models.verify(file, sha256)


def test_a_folder_by_path(ranker, user_models, monkeypatch):
    assert models.resolve(ranker).origin == "folder"
    assert models.resolve(str(ranker)).path == ranker
    monkeypatch.chdir(ranker.parent)
    assert models.resolve("tiny") == models.ModelFolder("tiny", ranker, "folder")


def test_a_known_name_is_not_hijacked_by_a_folder_of_that_name(ranker, tmp_path, user_models, monkeypatch):
    shutil.copytree(ranker, tmp_path / "late-interaction")
    monkeypatch.chdir(tmp_path)
    assert models.resolve("late-interaction").origin == "package"
    assert models.resolve("./late-interaction").origin == "folder"
    assert models.resolve(Path("late-interaction")).origin == "folder"


@pytest.mark.parametrize("place", ["bge-reranker-base", "BAAI/bge-reranker-base"])
def test_the_users_model_folder(ranker, user_models, place):
    shutil.copytree(ranker, user_models / place)
    folder = models.resolve("bge-reranker-base")
    assert (folder.name, folder.origin) == ("bge-reranker-base", "user")
    assert models.resolve("BAAI/bge-reranker-base") == folder
    assert folder in models.installed()
    assert CrossEncoder("bge-reranker-base").name == "bge-reranker-base"


def test_installed_lists_own_models_and_nothing_incomplete(ranker, user_models):
    shutil.copytree(ranker, user_models / "mine")
    shutil.copytree(ranker, user_models / "someone" / "theirs")
    shutil.copytree(ranker, user_models / "converted" / "0123")
    broken = shutil.copytree(ranker, user_models / "broken")
    (broken / "tokenizer.json").unlink()
    names = {folder.name for folder in models.installed()}
    assert {"all-MiniLM-L6-v2", "late-interaction", "mine", "someone/theirs"} <= names
    assert not {"broken", "converted/0123", "0123"} & names
    with pytest.raises(ModelInvalidError, match=r"tokenizer\.json"):
        models.resolve("broken")


def test_without_a_setting_the_platforms_data_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("SECONDPASS_MODELS") if "SECONDPASS_MODELS" in os.environ else None
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models.user_models_dir().name == "models"
    assert "secondpass" in models.user_models_dir().parts


@pytest.mark.parametrize(
    "name", ["nonsense", "../secret", "a/b/c", "/no/such/folder", "a/..", "x" * 300, "nul\0"]
)
def test_a_name_nobody_knows(user_models, name):
    with pytest.raises(ModelNotFoundError, match="known are all-MiniLM-L6-v2"):
        models.resolve(name)


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_what_is_no_name(name):
    with pytest.raises(InputError):
        models.resolve(name)


def test_a_model_of_the_other_kind():
    with pytest.raises(InputError, match="embedder"):
        models.resolve("all-MiniLM-L6-v2", "reranker")
    with pytest.raises(InputError, match="reranker"):
        models.resolve("late-interaction", "embedder")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "onnx/model.onnx"])
def test_a_folder_that_lacks_a_file(ranker, tmp_path, file):
    folder = shutil.copytree(ranker, tmp_path / "lacking")
    (folder / file).unlink()
    with pytest.raises(ModelInvalidError, match=f"has no {file}"):
        models.resolve(folder)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as its client needs to fetch a snapshot."""

    folder: Path
    asked: list[str]
    sha = "a" * 40

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        files = sorted(file for file in self.folder.rglob("*") if file.is_file())
        names = {file.relative_to(self.folder).as_posix(): file for file in files}
        if path in (f"/api/models/{HUB_ID}", f"/api/models/{HUB_ID}/revision/main"):
            self.answer_json(
                {
                    "id": HUB_ID,
                    "sha": self.sha,
                    "siblings": [
                        {"rfilename": name, "size": file.stat().st_size, "blobId": self.etag(file)}
                        for name, file in names.items()
                    ],
                }
            )
        elif path == f"/api/models/{HUB_ID}/tree/{self.sha}":
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": self.etag(file)}
                for name, file in names.items()
            ]
            self.answer_json(tree)
        elif (name := path.removeprefix(f"/{HUB_ID}/resolve/{self.sha}/")) in names:
            self.answer(200, names[name].read_bytes(), ETag=f'"{self.etag(names[name])}"')
        else:
            self.answer(404, b"", **{"X-Error-Code": "RepoNotFound"})

    @staticmethod
    def etag(file: Path) -> str:
        content = file.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def answer_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode())

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": self.sha, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextlib.contextmanager
def hub_of(folder: Path):
    handler = type("TinyHub", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def ask(
    tmp_path: Path, endpoint: str, name: str = HUB_ID, guard: bool = False, code: str = "", **settings: object
):
    """Resolve a name in a new process, since the hub's client reads its settings once."""
    code = code or (
        "from secondpass import models\n"
        f"folder = models.resolve({name!r}, **{settings!r})\n"
        "print(json.dumps([folder.name, folder.origin, str(folder.path)]))"
    )
    lines = ["import json, socket, sys"]
    if guard:
        lines += [
            "def refuse(event, _):",
            "    if event in ('socket.connect', 'socket.getaddrinfo'):",
            "        sys.exit(f'the network was touched: {event}')",
            "sys.addaudithook(refuse)",
        ]
    lines += ["try:", *(f"    {line}" for line in code.splitlines())]
    lines += ["except Exception as exc:", "    print(json.dumps([type(exc).__name__, str(exc)]))"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("HF_", "HUGGING", "SECONDPASS_"))
            },
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "SECONDPASS_MODELS": str(tmp_path / "models"),
            **({"HF_HUB_OFFLINE": "1"} if "offline" in endpoint else {}),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [HUB_ID, "bge-reranker-base", "ms-marco-MiniLM-L-6-v2", "late-interaction"])
def test_no_network_unless_asked(tmp_path, name):
    answer = ask(tmp_path, closed_port(), name, guard=True)
    if name == "late-interaction":
        assert answer[1] == "package"
        return
    kind, message = answer
    assert kind == "ModelNotFoundError"
    assert str(tmp_path / "models") in message
    assert str(tmp_path / "hf") in message
    assert f"secondpass models pull {name}" in message


def test_shipped_models_do_not_import_the_hubs_client(tmp_path):
    code = (
        "from secondpass.reranking import load_reranker\n"
        "load_reranker().score('a query', ['a passage'])\n"
        "print(json.dumps(sorted({'huggingface_hub', 'torch', 'onnx', 'transformers'} & set(sys.modules))))"
    )
    assert ask(tmp_path, closed_port(), guard=True, code=code) == []


def test_download_then_offline_from_the_cache(ranker, tmp_path):
    folder = shutil.copytree(ranker, tmp_path / "served")
    for file in ("modeling.py", "pytorch_model.bin", "model.safetensors", "README.md"):
        (folder / file).write_text("not wanted")
    with hub_of(folder) as (endpoint, asked):
        name, origin, path = ask(tmp_path, endpoint, download=True)
        assert (name, origin) == (HUB_ID, "hub")
        fetched = {file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file()}
        assert fetched == {"config.json", "tokenizer.json", "onnx/model.onnx"}
        before = len(asked)
        assert ask(tmp_path, endpoint, guard=True) == [HUB_ID, "hub cache", path]
        assert ask(tmp_path, endpoint, guard=True, download=True) == [HUB_ID, "hub cache", path]
        assert len(asked) == before
    assert CrossEncoder(path).score("sort a list", ["a list"]).shape == (1,)


def test_download_takes_safetensors_where_there_is_no_onnx(ranker, tmp_path):
    with hub_of(ranker.parent / "safetensors") as (endpoint, _):
        _, _, path = ask(tmp_path, endpoint, download=True)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {
        file.name for file in Path(path).iterdir()
    }


def test_download_of_what_cannot_be_read(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "config.json").write_text("{}")
    with hub_of(tmp_path / "served") as (endpoint, _):
        kind, message = ask(tmp_path, endpoint, download=True)
        assert (kind, "neither onnx/model.onnx nor model.safetensors" in message) == (
            "ModelInvalidError",
            True,
        )
        kind, message = ask(tmp_path, endpoint, "tiny-org/absent", download=True)
        assert (kind, "no public model" in message) == ("ModelNotFoundError", True)


def test_download_without_a_hub_ends_with_a_clear_error(tmp_path):
    kind, message = ask(tmp_path, closed_port(), download=True)
    assert kind == "ModelNotFoundError"
    assert HUB_ID in message
    kind, message = ask(tmp_path, "http://offline.invalid", guard=True, download=True)
    assert (kind, "HF_HUB_OFFLINE" in message) == ("ModelNotFoundError", True)
