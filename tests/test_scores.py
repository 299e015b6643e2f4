from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from secondpass import load_reranker, models
from secondpass.errors import InputError, ModelInvalidError
from secondpass.reranking import CrossEncoder, LateInteraction
from secondpass.reranking.fingerprints import fingerprint
from secondpass.scores import SCORES_FILE, CachedReranker, ScoreCache
from secondpass.testing import RerankerContract
from secondpass.types import Reading, Reranker, SupportsReadings

LEAST = 2**18


class Counts:
    """Scores by length; remembers what it was asked."""

    def __init__(self, fingerprint: str | None = "counts 1") -> None:
        self.name = "counts"
        self.calls: list[list[str]] = []
        if fingerprint is not None:
            self.fingerprint = fingerprint

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.calls.append(list(passages))
        return np.array([len(query) + len(passage) / 7 for passage in passages], dtype=np.float32)


class Reads(Counts):
    logits = False

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        return [
            Reading(score, 1, len(text), 0, len(text))
            for score, text in zip(self.score(query, passages).tolist(), passages, strict=True)
        ]


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path):
    (tmp_path / "index").mkdir()
    with ScoreCache(None if request.param == "memory" else tmp_path / "index" / SCORES_FILE) as cache:
        yield cache


def test_what_was_put_comes_back_exactly(cache: ScoreCache) -> None:
    given = [Reading(-1.2345678, 3, 40, 2, 77), 0.1, Reading(1e-30, 0, 0, 0, 0)]
    cache.put("model", "query", ["a", "b", ""], given)
    assert cache.get("model", "query", ["", "c", "a", "b", "a"]) == [given[2], None, given[0], 0.1, given[0]]
    assert len(cache) == 3
    assert cache.size_bytes() > 0


def test_every_part_of_the_key_counts(cache: ScoreCache) -> None:
    cache.put("m", "q", ["ab"], [1.0])
    for model, query, text in [
        ("M", "q", "ab"),
        ("m", "Q", "ab"),
        ("m", "q", "aB"),
        ("mq", "", "ab"),
        ("m", "qa", "b"),
    ]:
        assert cache.get(model, query, [text]) == [None]
    assert cache.get("m", "q", []) == []


def test_odd_text_is_text(cache: ScoreCache) -> None:
    odd = ["\ud800", "\0", "漢字🎈", "x" * 100_000]
    cache.put("m", "\udfff", odd, [1.0, 2.0, 3.0, 4.0])
    assert cache.get("m", "\udfff", odd) == [1.0, 2.0, 3.0, 4.0]


def test_a_later_score_replaces_and_a_broken_one_is_not_kept(cache: ScoreCache) -> None:
    cache.put("m", "q", ["a"], [1.0])
    cache.put("m", "q", ["a", "b", "c"], [2.0, float("nan"), Reading(1.0, -1, 2, 0, 0)])
    assert cache.get("m", "q", ["a", "b", "c"]) == [2.0, None, None]


def test_scores_outlive_the_process_and_the_file_tells_no_text(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with ScoreCache(path) as cache:
        cache.put("m", "a secret question", ["a secret passage"], [0.5])
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with ScoreCache(path) as cache:
        assert cache.get("m", "a secret question", ["a secret passage"]) == [0.5]


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_the_bound_holds_and_what_is_used_stays(tmp_path: Path, where: str) -> None:
    path = tmp_path / "scores.db"
    with ScoreCache(path if where == "disk" else None, LEAST) as cache:
        texts = [f"text {number}" for number in range(12_000)]
        for start in range(0, len(texts), 100):
            part = texts[start : start + 100]
            cache.put("m", "q", part, [Reading(1.0, 1, 1, 0, 1)] * len(part))
            assert cache.get("m", "q", texts[:10]) == [Reading(1.0, 1, 1, 0, 1)] * 10, start
            assert cache.size_bytes() <= LEAST
        kept = len(cache)
        assert 10 <= kept < 5000
        newest = cache.get("m", "q", texts[-200:])
        assert None not in newest
        assert cache.get("m", "q", texts[10:300]) == [None] * 290
    if where == "disk":
        assert path.stat().st_size <= LEAST


def test_the_bound_must_be_sensible() -> None:
    with pytest.raises(InputError, match="max_bytes"):
        ScoreCache(None, 100)


def test_a_file_that_was_larger_shrinks_into_a_smaller_bound(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with ScoreCache(path) as cache:
        cache.put("m", "q", [str(number) for number in range(20_000)], [1.0] * 20_000)
    with ScoreCache(path, LEAST) as cache:
        for number in range(30):
            cache.put("m", "q", [f"new {number}"], [2.0])
        assert cache.size_bytes() <= LEAST
        assert cache.get("m", "q", ["new 29"]) == [2.0]


def _overwrite(path: Path, start: float, length: int) -> None:
    content = bytearray(path.read_bytes())
    begin = int(len(content) * start)
    content[begin : begin + length] = random.Random(7).randbytes(len(content[begin : begin + length]))
    path.write_bytes(content)


HARMS = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a database, by far not a database" * 30),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "head": lambda path: _overwrite(path, 0, 200),
    "middle": lambda path: _overwrite(path, 0.3, 40_000),
    "everywhere": lambda path: _overwrite(path, 0.02, 10**9),
    "another database": lambda path: (
        path.unlink(),
        sqlite3.connect(path).executescript("CREATE TABLE t (a);"),
    ),
    "another table": lambda path: sqlite3.connect(path).executescript(
        "DROP TABLE scores; CREATE TABLE scores (a);"
    ),
    "another format": lambda path: sqlite3.connect(path).executescript("PRAGMA user_version = 9"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_file_is_made_anew_and_never_lies(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "scores.db"
    texts = [str(number) for number in range(3000)]
    truth = [float(number) for number in range(3000)]
    with ScoreCache(path) as cache:
        cache.put("m", "q", texts, truth)
    HARMS[harm](path)
    with ScoreCache(path) as cache:
        found = cache.get("m", "q", texts)
        assert all(given in (None, right) for given, right in zip(found, truth, strict=True))
        cache.put("m", "q", texts, truth)
        cache.put("m", "q", ["more"], [7.5])
        assert cache.get("m", "q", [*texts, "more"]) == [*truth, 7.5]
    with ScoreCache(path) as cache:
        assert cache.get("m", "q", ["more"]) == [7.5]


def test_a_score_whose_bits_flipped_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with ScoreCache(path) as cache:
        cache.put("m", "q", ["a"], [1.0])
    with sqlite3.connect(path) as connection:
        packed = bytearray(connection.execute("SELECT given FROM scores").fetchone()[0])
        packed[6] ^= 1
        connection.execute("UPDATE scores SET given = ?", [bytes(packed)])
    connection.close()
    with ScoreCache(path) as cache:
        assert cache.get("m", "q", ["a"]) == [None]


def test_a_file_of_something_else_is_put_aside_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with ScoreCache(path) as cache:
        cache.put("m", "q", ["a"], [1.0])
    assert (tmp_path / "notes.txt.damaged").read_text() == "my notes"


def test_where_no_file_can_be_made_scores_are_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ScoreCache(tmp_path / "file" / "scores.db")
    cache.put("m", "q", ["a"], [1.0])
    assert cache.get("m", "q", ["a"]) == [1.0]


def test_a_full_disk_is_no_trouble(tmp_path: Path) -> None:
    """A file may grow to 64 KiB: SQLite cannot write the rest."""
    program = """
        import resource, signal, sys
        from secondpass.scores import ScoreCache
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        cache = ScoreCache(sys.argv[1])
        for number in range(60):
            texts = [f"{number} {place}" for place in range(100)]
            cache.put("m", "q", texts, [float(number)] * 100)
            assert cache.get("m", "q", texts) == [float(number)] * 100, number
        print("fine")
    """
    done = _python(program, tmp_path / "scores.db")
    assert (done.stdout.strip(), done.stderr) == ("fine", "")


def test_a_killed_writer_leaves_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    program = """
        import sys
        from secondpass.scores import ScoreCache
        cache = ScoreCache(sys.argv[1])
        for number in range(10**6):
            cache.put("m", "q", [f"{number} {place}" for place in range(50)], [float(number)] * 50)
            print(number, flush=True)
    """
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            last = -1
            while last < 20:
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        with ScoreCache(path) as cache:
            kept = cache.get("m", "q", [f"{number} 49" for number in range(last + 1)])
            assert kept == [float(number) for number in range(last + 1)]
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        connection.close()
    assert not list(tmp_path.glob("*.damaged"))


def test_many_processes_and_threads_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    program = """
        import sys, threading
        from secondpass.scores import ScoreCache, disk
        disk._WAIT_SECONDS = 60.0  # nobody gives up, however slow the disk is just now
        cache, wrong = ScoreCache(sys.argv[1]), []
        def work(seed):
            for number in range(40):
                texts = [f"{(number * 7 + place) % 500}" for place in range(20)]
                truth = [float(text) for text in texts]
                found = cache.get("m", "q", texts)
                wrong.extend(pair for pair in zip(found, truth) if pair[0] not in (None, pair[1]))
                cache.put("m", "q", texts, truth)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        print(len(wrong))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [process.communicate() for process in processes] == [("0\n", "")] * 3
    asked = [str(number) for number in range(39 * 7 + 20)]
    with ScoreCache(path) as cache:
        assert cache.get("m", "q", asked) == [float(text) for text in asked]
    assert not list(tmp_path.glob("*.damaged"))


def test_a_fork_opens_the_file_again(tmp_path: Path) -> None:
    program = """
        import os, sys
        from secondpass.scores import ScoreCache
        cache = ScoreCache(sys.argv[1])
        cache.put("m", "q", ["parent"], [1.0])
        child = os.fork()
        if not child:
            cache.put("m", "q", ["child"], [2.0])
            os._exit(0 if cache.get("m", "q", ["parent", "child"]) == [1.0, 2.0] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert cache.get("m", "q", ["parent", "child"]) == [1.0, 2.0]
    """
    done = _python(program, tmp_path / "scores.db")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_deleted_meanwhile_is_made_anew(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "scores.db") as cache:
        cache.put("m", "q", ["a"], [1.0])
        for file in tmp_path.iterdir():
            file.unlink()
        assert cache.get("m", "q", ["a"]) == [None]
        cache.put("m", "q", ["a"], [2.0])
        with ScoreCache(tmp_path / "scores.db") as other:
            assert other.get("m", "q", ["a"]) == [2.0]


def test_a_writer_that_holds_the_file_delays_nobody_for_long(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    with ScoreCache(path) as cache:
        cache.put("m", "q", ["a"], [1.0])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert cache.get("m", "q", ["a"]) == [1.0]
        cache.put("m", "q", ["b"], [2.0])
        assert cache.get("m", "q", ["b"]) == [2.0]  # in memory
        holder.execute("ROLLBACK")
        holder.close()
        cache.put("m", "q", ["c"], [3.0])
    with ScoreCache(path) as cache:
        assert cache.get("m", "q", ["a", "b", "c"]) == [1.0, None, 3.0]


def _python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# A re-ranker in front of another one


def test_only_what_is_missing_is_read_in_one_call_and_in_order(cache: ScoreCache) -> None:
    inner = Counts()
    reranker = CachedReranker(inner, cache)
    first = reranker.score("q", ["aaa", "b"])
    again = reranker.score("q", ["cc", "b", "dddd", "cc", "aaa"])
    assert inner.calls == [["aaa", "b"], ["cc", "dddd"]]
    assert np.array_equal(again, Counts().score("q", ["cc", "b", "dddd", "cc", "aaa"]))
    assert first.dtype == again.dtype == np.float32
    assert reranker.score("q", ["b"])[0] == first[1]
    assert len(inner.calls) == 2
    reranker.score("another", ["b"])
    assert inner.calls[2:] == [["b"]]


def test_it_is_what_the_inner_one_is(cache: ScoreCache) -> None:
    plain, reads = CachedReranker(Counts(), cache), CachedReranker(Reads("r"), cache)
    assert isinstance(plain, Reranker)
    assert not isinstance(plain, SupportsReadings)
    assert isinstance(reads, SupportsReadings)
    assert isinstance(reads, CachedReranker)
    assert (plain.name, reads.name, reads.logits) == ("counts", "counts", False)
    readings = reads.read("q", ["one", "three", "one"])
    assert readings == Reads().read("q", ["one", "three", "one"])
    assert reads.read("q", ["three"]) == readings[1:2]
    assert reads.inner.calls == [["one", "three"]]  # type: ignore[attr-defined]
    assert reads.score("q", ["one"])[0] == np.float32(readings[0].score)
    with pytest.raises(InputError, match="a re-ranker has a name"):
        CachedReranker(object(), cache)  # type: ignore[arg-type]


def test_scores_are_shared_by_fingerprint_only(cache: ScoreCache) -> None:
    CachedReranker(Counts("one"), cache).score("q", ["a"])
    same, other, nameless = Counts("one"), Counts("two"), Counts(None)
    for inner in (same, other):
        CachedReranker(inner, cache).score("q", ["a"])
    assert (same.calls, other.calls) == ([], [["a"]])
    kept = len(cache)
    own = CachedReranker(nameless, cache)
    own.score("q", ["a"])
    own.score("q", ["a"])
    CachedReranker(nameless, cache).score("q", ["a"])
    assert nameless.calls == [["a"], ["a"]]
    assert len(cache) == kept
    said = CachedReranker(nameless, cache, fingerprint="one")
    said.score("q", ["a"])
    assert len(nameless.calls) == 2


def test_errors_are_the_inner_ones_and_nothing_wrong_is_kept(cache: ScoreCache) -> None:
    class Short(Counts):
        def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
            return super().score(query, passages)[1:]

    with pytest.raises(ModelInvalidError, match="1 scores for 2"):
        CachedReranker(Short(), cache).score("q", ["a", "b"])
    assert len(cache) == 0
    real = CachedReranker(load_reranker("late-interaction"), cache)
    with pytest.raises(InputError):
        real.score("", ["a"])
    with pytest.raises(InputError):
        real.score("q", ["a", 3])  # type: ignore[list-item]


def test_threads_ask_at_once(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "scores.db") as cache:
        reranker = CachedReranker(Counts(), cache)
        texts = [str(number) for number in range(300)]
        truth = Counts().score("q", texts)
        wrong: list[int] = []

        def work(seed: int) -> None:
            order = random.Random(seed).sample(range(300), 300)
            for start in range(0, 300, 20):
                part = order[start : start + 20]
                if not np.array_equal(reranker.score("q", [texts[place] for place in part]), truth[part]):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.fixture(scope="module")
def shipped() -> LateInteraction:
    return LateInteraction()


class TestCachedReranker(RerankerContract):
    @pytest.fixture(autouse=True)
    def _cached(self, tmp_path: Path, shipped: LateInteraction):
        with ScoreCache(tmp_path / "scores.db") as cache:
            self.reranker = CachedReranker(shipped, cache)
            yield

    def make_reranker(self) -> Reranker:
        return self.reranker


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped cross-encoder, with the times of its files."""
    return Path(shutil.copytree(models.resolve("minilm-l6").path, tmp_path / "mine"))


def test_the_fingerprint_of_a_model_tells_its_limits(model: Path) -> None:
    first = CrossEncoder(model).fingerprint
    assert CrossEncoder(model).fingerprint == first
    others = [
        CrossEncoder(model, max_length=32).fingerprint,
        CrossEncoder(model, max_windows=2).fingerprint,
        LateInteraction().fingerprint,
        LateInteraction(max_windows=3).fingerprint,
    ]
    assert len({first, *others}) == 5


def test_the_fingerprint_of_a_model_tells_its_files(model: Path) -> None:
    folder = models.resolve(model)
    seen = {fingerprint(folder)}
    weights = folder.weights()
    status = weights.stat()
    weights.write_bytes(weights.read_bytes().translate(bytes(range(255, -1, -1))))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.add(fingerprint(folder))  # other numbers, the same size and time
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.add(fingerprint(folder))
    with (model / "tokenizer.json").open("a") as file:
        file.write(" ")
    seen.add(fingerprint(folder))
    (model / "model.safetensors").write_bytes(b"more weights")
    seen.add(fingerprint(folder))
    seen.add(fingerprint(folder, "fp32"))
    assert len(seen) == 6
    assert fingerprint(folder) in seen
