"""Documents over HTTP: as JSON, as files, by path, taken out; what is acknowledged survives a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from secondpass import Index
from secondpass.ext.server import ServerSettings
from serving import Served, serving

LEASE = "The deposit is returned within thirty days of the end of the lease."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    (folder / "allowed").mkdir()
    with serving(ServerSettings(index=folder / "index", allowed_folders=(folder / "allowed",))) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as found:
        yield found


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    while (told := client.get(f"/v1/jobs/{job}").json())["state"] in ("queued", "running"):
        time.sleep(0.02)
    return dict(told)


def added(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/documents", params={"wait": "true"}, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def first_hit(client: httpx.Client, query: str) -> dict[str, Any]:
    hits = client.post("/v1/search", json={"query": query, "k": 1}).json()["hits"]
    return dict(hits[0]["passage"])


def test_a_document_is_found_by_the_next_search_and_gone_after_it_is_deleted(client: httpx.Client) -> None:
    told = added(client, documents=[{"id": "a/b c.txt", "text": LEASE, "metadata": {"kind": "contract"}}])
    assert (told["state"], told["added"], told["done"], told["total"], told["failed"]) == (
        "done",
        1,
        1,
        1,
        [],
    )
    found = first_hit(client, "When is the deposit returned?")
    assert (found["document_id"], found["text"]) == ("a/b c.txt", LEASE)
    assert (
        added(client, documents=[{"id": "a/b c.txt", "text": LEASE, "metadata": {"kind": "contract"}}])[
            "unchanged"
        ]
        == 1
    )
    assert client.delete("/v1/documents/a/b%20c.txt").json() == {"deleted": "a/b c.txt"}
    gone = client.delete("/v1/documents/a/b%20c.txt")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "document_not_found")


def test_a_job_is_lined_up_and_can_be_asked_about(client: httpx.Client) -> None:
    answer = client.post("/v1/documents", json={"documents": [{"id": "one", "text": "A kettle of steel."}]})
    assert answer.status_code == 202
    told = ended(client, answer.json()["job"])
    assert (told["state"], told["added"]) == ("done", 1)
    unknown = client.get("/v1/jobs/nothing")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "job_not_found")


def test_files_are_read_by_their_ending_and_known_by_their_name(client: httpx.Client, folder: Path) -> None:
    files = [
        ("files", ("../../etc/notes.md", b"# Notes\n\nThe harbour master lives at number nine.\n")),
        (
            "files",
            (
                "C:\\papers\\rows.jsonl",
                b'{"text": "Ferries leave at seven."}\n{"text": "Tickets cost nine."}\n',
            ),
        ),
        ("files", ("empty.txt", b"")),
        ("files", ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00")),
    ]
    answer = client.post("/v1/documents", params={"wait": "true"}, files=files)
    told = answer.json()
    assert (told["state"], told["added"]) == ("done", 3)
    assert {each["source"] for each in told["failed"]} == {"empty.txt", "picture.png"}
    found = first_hit(client, "Where does the harbour master live?")
    assert (found["document_id"], found["source"]) == ("notes.md", "notes.md")
    assert first_hit(client, "When do ferries leave?")["document_id"] == "rows.jsonl#1"
    everything = json.dumps(client.get("/v1/documents").json()) + json.dumps(found)
    assert "secondpass-upload" not in everything
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob("secondpass-upload-*/*/notes.md"))


def test_paths_only_below_the_folders_that_are_allowed(client: httpx.Client, folder: Path) -> None:
    (folder / "allowed" / "tea.txt").write_text("Tea is kept in the blue tin.", encoding="utf-8")
    (folder / "secret.txt").write_text("The code is 1234.", encoding="utf-8")
    (folder / "allowed" / "link.txt").symlink_to(folder / "secret.txt")
    assert added(client, paths=[str(folder / "allowed" / "tea.txt")])["added"] == 1
    for path in (
        folder / "secret.txt",
        folder / "allowed" / ".." / "secret.txt",
        folder / "allowed" / "link.txt",
    ):
        answer = client.post("/v1/documents", json={"paths": [str(path)]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "path_not_allowed")
    assert all("1234" not in json.dumps(each) for each in client.get("/v1/documents").json()["documents"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"documents": []}', 422),
        (b'{"documents": [{"id": "", "text": "a"}]}', 422),
        (b'{"documents": [{"id": "a"}]}', 422),
        (b'{"documents": [{"id": "a", "text": 3}]}', 422),
        (b'{"documents": [{"id": "a", "text": "b", "metadata": {"c": []}}]}', 422),
        (b'{"documents": [{"id": "a", "text": "b"}, {"id": "a", "text": "c"}]}', 422),
        (b'{"documents": [{"id": "a", "text": "b"}], "paths": ["/x"]}', 422),
        (b'{"paths": ["/etc/passwd"]}', 403),
        (b'{"paths": ["\\u0000"]}', 422),
    ],
)
def test_bad_bodies_are_refused_and_change_nothing(client: httpx.Client, body: bytes, status: int) -> None:
    before = client.get("/v1/documents").json()
    answer = client.post("/v1/documents", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "request_id"}
    assert client.get("/v1/documents").json() == before


@pytest.mark.parametrize(
    "form",
    [
        {"files": [("other", ("a.txt", b"a"))]},
        {"files": [("files", ("..", b"a"))]},
        {"files": [("files", ("a.txt", b"a")), ("files", ("x/a.txt", b"b"))]},
        {"content": b"no form", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"no form", "headers": {"Content-Type": "multipart/form-data"}},
    ],
)
def test_bad_forms_are_refused(client: httpx.Client, form: dict[str, Any]) -> None:
    answer = client.post("/v1/documents", **form)
    assert answer.status_code in (400, 422), answer.text
    assert "error" in answer.json()


def test_a_failed_job_says_why(client: httpx.Client, served: Served, folder: Path) -> None:
    script = (
        "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "index" / "write.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        answer = client.post("/v1/documents", json={"documents": [{"id": "late", "text": "Too late."}]})
        told = ended(client, answer.json()["job"])
        again = client.post(
            "/v1/documents",
            params={"wait": "true"},
            json={"documents": [{"id": "late", "text": "Too late."}]},
        )
        holder.communicate("")
    assert told["state"] == "failed"
    assert "another process is writing" in told["failed"][0]["reason"]
    assert (again.status_code, again.json()["error"]["code"]) == (503, "index_locked")


def test_more_jobs_than_may_wait_are_refused_and_the_others_are_done(client: httpx.Client) -> None:
    texts = [f"Part {n}. " + "A long text about nothing much. " * 200 for n in range(40)]
    given = [
        {"documents": [{"id": f"many {n} {m}", "text": text + str(n)} for m, text in enumerate(texts)]}
        for n in range(14)
    ]
    answers = [client.post("/v1/documents", json=body) for body in given]
    refused = [each for each in answers if each.status_code == 429]
    taken = [each.json()["job"] for each in answers if each.status_code == 202]
    assert len(refused) + len(taken) == 14
    assert refused
    assert all("Retry-After" in each.headers for each in refused)
    assert all(ended(client, job)["state"] == "done" for job in taken)


def _start(index: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "secondpass", "serve", str(index), "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"secondpass at (http://\S+?);", line):
            return process, found[1]
    raise AssertionError("the server did not start")


def test_what_was_acknowledged_survives_kill_9_under_load(tmp_path: Path) -> None:
    acknowledged: set[str] = set()

    def client(url: str, name: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as asking:
            for number in range(1000):
                key = f"{name}-{number}"
                text = f"{key} stands here. " + " ".join(f"word{number * place}" for place in range(80))
                try:
                    answer = asking.post(
                        "/v1/documents",
                        params={"wait": "true"},
                        json={"documents": [{"id": key, "text": text}]},
                    )
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.add(key)

    for turn in range(3):
        process, url = _start(tmp_path / "index")
        before = len(acknowledged)
        threads = [threading.Thread(target=client, args=(url, f"{turn}-{each}")) for each in range(4)]
        for each in threads:
            each.start()
        until = time.monotonic() + 60
        while len(acknowledged) < before + 15 + 7 * turn and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        for each in threads:
            each.join(60)
        assert len(acknowledged) > before
    process, url = _start(tmp_path / "index")
    try:
        with httpx.Client(base_url=url, timeout=60) as asking:
            kept = {each["id"] for each in asking.get("/v1/documents").json()["documents"]}
            assert acknowledged <= kept
            asked = sorted(acknowledged)[-1]
            hits = asking.post("/v1/search", json={"query": f"{asked} stands", "stage1": "lexical"}).json()[
                "hits"
            ]
            assert hits
    finally:
        process.terminate()
        process.communicate(timeout=60)
    with Index.open(tmp_path / "index", create=False) as index:
        assert acknowledged <= {each.id for each in index.documents()}
