"""A server whose index other processes write, swap, break and mend while clients ask without pause."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi")

from serving import command, process

FACTS = {
    "deposit": "The deposit is returned two weeks after the keys were handed back.",
    "kitchen": "The kitchen is cleaned on Fridays.",
    "bicycles": "Bicycles stand in the yard.",
}
QUERY = "When is the deposit returned?"


def cli(*arguments: str | Path) -> str:
    done = command(None, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(folder: Path, facts: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in facts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


class Clients:
    """Threads that search and read a passage in turn, without pause, and keep what was not answered 200."""

    def __init__(self, url: str, passage: str, count: int = 4) -> None:
        self.url, self.passage = url, passage
        self.answered, self.wrong = [0] * count, []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.stop.is_set():
                # Each its own query, and a new one each time, so that passages are read and scores kept.
                query = f"{QUERY} {number} {self.answered[number]}"
                stage1 = ("dense", "hybrid", "lexical")[self.answered[number] % 3]
                body = {"query": query, "stage1": stage1, "candidates": 4}
                for told in (
                    client.post("/v1/search", json=body),
                    client.get(f"/v1/passages/{self.passage}"),
                ):
                    if told.status_code != 200:
                        self.wrong.append((told.status_code, told.text))
                self.answered[number] += 1

    def __enter__(self) -> Clients:
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for each in self.threads:
            each.join(60)

    def more(self) -> None:
        """Wait until every thread has had two more rounds of answers."""
        before = list(self.answered)
        until = time.monotonic() + 60
        while any(now < then + 2 for now, then in zip(self.answered, before, strict=True)):
            assert time.monotonic() < until, (self.answered, self.wrong[:3])
            assert not self.wrong, self.wrong[:3]
            time.sleep(0.01)


def search(url: str, query: str) -> list[str]:
    told = httpx.post(f"{url}/v1/search", json={"query": query, "k": 3}, timeout=60)
    assert told.status_code == 200, told.text
    return [hit["passage"]["text"] for hit in told.json()["hits"]]


def passage_of(url: str, query: str) -> str:
    told = httpx.post(f"{url}/v1/search", json={"query": query, "k": 1}, timeout=60).json()
    return str(told["hits"][0]["passage"]["id"])


def eventually(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return written(tmp_path / "files", FACTS)


@pytest.fixture
def index(tmp_path: Path, files: Path) -> Path:
    cli("index", files, "--index", tmp_path / "index")
    return tmp_path / "index"


def test_no_request_is_dropped_while_another_process_adds_deletes_and_swaps(
    tmp_path: Path, files: Path, index: Path
) -> None:
    with process(index) as (url, _), Clients(url, passage_of(url, QUERY)) as clients:
        clients.more()

        written(files, {f"shelf{number}": f"Shelf {number} holds records." for number in range(40)})
        written(files, {"boiler": "The boiler is read in March by the plumber."})
        cli("index", files, "--index", index)
        assert search(url, "Who reads the boiler?")[0].startswith("The boiler")
        clients.more()

        (files / "bicycles.txt").unlink()
        cli("index", files, "--index", index, "--prune")
        assert FACTS["bicycles"] not in search(url, "Where do bicycles stand?")
        clients.more()

        written(files, {"roof": "The roof was mended by a tiler in May."})
        for turn in range(3):
            other = tmp_path / f"other{turn}"
            written(files, {"turn": f"The caretaker is called number {turn}."})
            cli("index", files, "--index", other)
            index.rename(tmp_path / f"before{turn}")
            clients.more()  # the folder is away
            assert FACTS["deposit"] in search(url, QUERY)
            assert not index.exists()
            other.rename(index)
            assert (
                search(url, "What is the caretaker called?")[0] == f"The caretaker is called number {turn}."
            )
            clients.more()
            if turn:
                shutil.rmtree(tmp_path / f"before{turn}")
        assert search(url, "Who mended the roof?")[0].startswith("The roof")
        clients.more()
    assert clients.wrong == []
    cli("index", files, "--index", tmp_path / "before0")  # what was moved away is whole
    assert json.loads(cli("status", "--index", tmp_path / "before0", "--json"))["documents"] == 45


def test_an_index_that_is_deleted_and_built_anew_in_its_place(files: Path, index: Path) -> None:
    with process(index, "--reranker", "none") as (url, _):
        assert FACTS["deposit"] in search(url, QUERY)
        shutil.rmtree(index)
        assert FACTS["deposit"] in search(url, QUERY)
        written(files, {"attic": "The attic is dry."})
        cli("index", files, "--index", index)
        assert search(url, "Is the attic dry?")[0] == "The attic is dry."


def test_an_index_that_comes_after_the_server(tmp_path: Path, files: Path) -> None:
    index = tmp_path / "late"
    with process(index, "--reranker", "none") as (url, _):
        told = httpx.post(f"{url}/v1/search", json={"query": QUERY}, timeout=60)
        assert (told.status_code, told.json()["error"]["code"]) == (503, "index_missing")
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert not index.exists()
        cli("index", files, "--index", index)
        assert FACTS["deposit"] in search(url, QUERY)
        assert httpx.get(f"{url}/readyz").status_code == 200


@pytest.mark.parametrize("how", ["no database", "torn", "page"])
def test_a_damaged_index_does_not_take_the_place_of_a_sound_one(
    tmp_path: Path, files: Path, index: Path, how: str
) -> None:
    other = tmp_path / "other"
    written(files, {"attic": "The attic is dry."})
    cli("index", files, "--index", other)
    database = other / "index.db"
    whole = database.read_bytes()
    if how == "no database":
        database.write_bytes(b"not a database" * 1000)
    elif how == "torn":
        database.write_bytes(whole[:5000])
    else:
        database.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with process(index, "--reranker", "none") as (url, lines):
        assert FACTS["deposit"] in search(url, QUERY)
        index.rename(tmp_path / "before")
        other.rename(index)
        with Clients(url, passage_of(url, QUERY)) as clients:
            clients.more()
        assert clients.wrong == []
        eventually(lambda: any("replaced by one that cannot be used" in line for line in lines))
        assert sum("replaced by one that cannot be used" in line for line in lines) == 1
        assert "The attic is dry." not in search(url, "Is the attic dry?")

        (index / "index.db.whole").write_bytes(whole)
        (index / "index.db.whole").replace(index / "index.db")  # mended
        assert search(url, "Is the attic dry?")[0] == "The attic is dry."


def test_an_index_that_is_damaged_from_the_start_is_told(index: Path) -> None:
    (index / "index.db").write_bytes(b"not a database" * 1000)
    with process(index, "--reranker", "none") as (url, _):
        told = httpx.post(f"{url}/v1/search", json={"query": QUERY}, timeout=60)
        assert (told.status_code, told.json()["error"]["code"]) == (503, "index_unusable")
        assert str(index) not in told.text


def test_what_is_written_over_http_while_the_folder_is_away_goes_into_the_one_that_comes(
    tmp_path: Path, files: Path, index: Path
) -> None:
    cli("index", files, "--index", tmp_path / "other")
    body = {"documents": [{"id": "attic", "text": "The attic is dry."}]}
    with process(index, "--reranker", "none") as (url, _):
        passage = passage_of(url, QUERY)
        index.rename(tmp_path / "before")
        job = httpx.post(f"{url}/v1/documents", json=body, timeout=60).json()["job"]
        marked = {"query": QUERY, "passage_id": passage, "relevant": True}
        told = httpx.post(f"{url}/v1/judgments", json=marked, timeout=60)
        assert (told.status_code, told.json()["error"]["code"]) == (503, "index_away")
        assert told.headers["Retry-After"]
        (tmp_path / "other").rename(index)
        eventually(lambda: httpx.get(f"{url}/v1/jobs/{job}").json()["state"] == "done")
        assert search(url, "Is the attic dry?")[0] == "The attic is dry."
        assert search(url, QUERY)[0] == FACTS["deposit"]
        assert httpx.post(f"{url}/v1/judgments", json=marked, timeout=60).status_code == 200
