from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest

from secondpass import Document, Engine, Hit, Index, Passage, SearchResult, load_reranker
from secondpass.engine.reading import Limits, Pace
from secondpass.engine.twins import carried_over, first_of_each
from secondpass.errors import InputError, ModelInvalidError, SearchCancelledError, SecondpassError
from secondpass.scores import CachedReranker, ScoreCache
from secondpass.testing import HashEmbedder
from secondpass.types import Reading


class Shelf:
    """A stage 1 in memory: texts in a fixed order."""

    def __init__(self, texts: Sequence[str], spent: float = 0.0) -> None:
        self.passages = [
            Passage(f"{number:04x}", "doc", text, 0, len(text)) for number, text in enumerate(texts)
        ]
        self.spent = spent

    def embed_query(self, query: str) -> np.ndarray:
        sleep(self.spent)
        return np.ones(4, dtype=np.float32) / 2

    def candidates(self, query, vector, k, stage1, where) -> list[Hit]:
        return [
            Hit(passage, 1 - rank / 1000, rank, distance=rank / 1000)
            for rank, passage in enumerate(self.passages[:k], start=1)
        ]


class Slow:
    """Takes its time for each passage; the last candidate is the best."""

    name = "slow"

    def __init__(self, spent: float = 0.0) -> None:
        self.spent = spent
        self.calls: list[list[str]] = []
        self.began: list[float] = []

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        self.calls.append(list(passages))
        self.began.append(perf_counter())
        sleep(self.spent * len(passages))
        return np.array([float(passage.split()[-1]) for passage in passages], dtype=np.float32)


class SlowReader(Slow):
    name = "slow-reader"
    logits = True
    fingerprint = "slow-reader 1"

    def read(self, query: str, passages: Sequence[str]) -> list[Reading]:
        scores = self.score(query, passages).tolist()
        return [Reading(score, 1, 2, 0, len(text)) for score, text in zip(scores, passages, strict=True)]


NUMBERED = [f"text {number}" for number in range(40)]


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.text for hit in hits]


def check_partition(result: SearchResult) -> None:
    """Every candidate once, read ones by score, unread ones behind in stage 1's order."""
    assert sorted(texts(result.ranked)) == sorted(texts(result.candidates))
    assert result.scored + result.copied + result.unread == len(result.candidates)
    assert [hit.rank for hit in result.ranked] == list(range(1, len(result.ranked) + 1))
    read = [hit for hit in result.ranked if not hit.unread]
    unread = result.ranked[len(read) :]
    assert all(hit.unread for hit in unread)
    assert [hit.score for hit in read] == sorted((hit.score for hit in read), reverse=True)
    ranks = [hit.candidate.rank for hit in unread if hit.candidate]
    assert ranks == sorted(ranks)
    assert len(ranks) == len(unread)
    assert all(hit.score == -np.inf and hit.probability is hit.reading is None for hit in unread)
    assert result.hits == result.ranked[: result.k]


# Deadline


def test_a_deadline_leaves_the_rest_unread_in_stage_1s_order() -> None:
    slow = SlowReader(0.03)
    start = perf_counter()
    result = Engine(Shelf(NUMBERED), slow, candidates=40).search("q", k=10, deadline_ms=400)
    check_partition(result)
    assert 2 <= result.scored < 40
    assert result.unread == 40 - result.scored
    read = [text for call in slow.calls for text in call]
    assert read == NUMBERED[: result.scored]
    assert texts(result.ranked)[: result.scored] == read[::-1]
    assert texts(result.ranked)[result.scored :] == NUMBERED[result.scored :]
    assert all(began < start + 0.4 for began in slow.began)
    assert len(slow.calls) > 1
    assert result.truncated == result.scored


def test_all_is_read_where_the_deadline_is_far() -> None:
    shelf = Shelf(NUMBERED)
    early, late = (
        Engine(shelf, Slow(), candidates=40).search("q", deadline_ms=each) for each in (None, 60_000)
    )
    check_partition(late)
    assert (late.scored, late.unread) == (40, 0)
    assert late.ranked == early.ranked


def test_a_deadline_that_stage_1_has_used_up_leaves_its_order() -> None:
    slow = Slow()
    result = Engine(Shelf(NUMBERED, spent=0.02), slow, candidates=40).search("q", k=3, deadline_ms=5)
    check_partition(result)
    assert slow.calls == []
    assert (result.scored, result.unread, result.reranker) == (0, 40, "slow")
    assert texts(result.hits) == NUMBERED[:3]
    zero = Engine(Shelf(NUMBERED), slow, candidates=40).search("q", deadline_ms=0)
    assert (zero.scored, texts(zero.hits)) == (0, NUMBERED[:3])


def test_a_slow_re_ranker_is_tried_again_while_time_is_left() -> None:
    """A guess from a slow first call must not keep it from being read ever after."""
    slow = Slow(0.2)
    engine = Engine(Shelf(NUMBERED), slow, candidates=40)
    assert engine.search("q", deadline_ms=300).scored >= 2
    slow.spent = 0.0
    assert engine.search("q", deadline_ms=300).scored >= 2
    assert engine.search("q", deadline_ms=60_000).scored == 40


def test_deadlines_are_numbers_from_0() -> None:
    engine = Engine(Shelf(NUMBERED), Slow())
    for wrong in (-1, float("nan"), float("inf"), "100", True):
        with pytest.raises(InputError, match="deadline_ms must be a number of milliseconds"):
            engine.search("q", deadline_ms=wrong)  # type: ignore[arg-type]


def test_without_stage_2_a_deadline_changes_nothing() -> None:
    result = Engine(Shelf(NUMBERED)).search("q", deadline_ms=0)
    assert (texts(result.hits), result.unread, result.reranker) == (NUMBERED[:3], 0, "none")


def test_compare_gives_each_re_ranker_the_time_that_stage_1_leaves() -> None:
    slow, quick = Slow(0.03), SlowReader()
    compared = Engine(Shelf(NUMBERED), candidates=40).compare("q", [slow, quick], k=3, deadline_ms=400)
    first, second = (each.result for each in compared.passes)
    check_partition(first)
    assert first.unread > 0
    assert second.unread == 0
    assert compared.passes[1].moves == ("new",) * 3


@pytest.fixture(scope="module")
def shelf_on_disk(tmp_path_factory: pytest.TempPathFactory):
    with Index.open(tmp_path_factory.mktemp("index"), embedder=HashEmbedder()) as index:
        words = ["queue", "lock", "thread", "future", "pool", "task", "result", "wait", "cancel", "timeout"]
        rng = random.Random(7)
        index.add(Document(f"{n}", " ".join(rng.choices(words, k=60)) + f" {n}") for n in range(60))
        yield index


def test_real_re_rankers_give_the_same_scores_in_micro_batches(shelf_on_disk: Index) -> None:
    for name in ("minilm-l6", "late-interaction"):
        reranker = load_reranker(name)
        engine = Engine(shelf_on_disk, reranker, candidates=30)
        whole = engine.search("how do I cancel a future?", k=30)
        parts = engine.search("how do I cancel a future?", k=30, deadline_ms=3_600_000, cancel=lambda: False)
        assert (whole.scored, parts.scored) == (30, 30)
        one, other = ({hit.passage.id: hit for hit in result.ranked} for result in (whole, parts))
        assert all(abs(one[key].score - other[key].score) < 1e-4 for key in one)
        some = engine.search("how do I cancel a future?", k=30, deadline_ms=15)
        check_partition(some)
        assert all(abs(hit.score - one[hit.passage.id].score) < 1e-4 for hit in some.ranked if not hit.unread)


# Micro-batches


def _pace(cost_ms: float) -> Pace:
    pace = Pace()
    pace.learn("r", ["x" * 400], cost_ms)
    return pace


EQUAL = ["y" * 400] * 100


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (1_001_000, 50),  # half of the time left, at 10,000 ms each
        (100_000, 4),
        (25_000, 2),
        (15_000, 0),  # two would end too late
        (-1, 0),
    ],
)
def test_a_micro_batch_takes_half_of_the_time_left_in_steps_of_the_cores(left: float, expected: int) -> None:
    limits = Limits(perf_counter() + left / 1000)
    assert _pace(10_000).micro_batch("r", EQUAL, 2, limits) == expected


def test_an_unknown_re_ranker_begins_with_the_least() -> None:
    assert Pace().micro_batch("r", EQUAL, 4, Limits(perf_counter() + 1000)) == 4
    assert Pace().micro_batch("r", EQUAL[:3], 4, Limits(perf_counter() + 1000)) == 3


def test_for_a_cancellation_alone_a_micro_batch_is_short() -> None:
    assert _pace(9).micro_batch("r", EQUAL, 2, Limits(None, lambda: False)) == 10
    assert _pace(1000).micro_batch("r", EQUAL, 2, Limits(None, lambda: False)) == 2
    assert _pace(0.001).micro_batch("r", EQUAL, 2, Limits(None, lambda: False)) == 100


def test_long_passages_cost_more_up_to_what_is_read() -> None:
    pace = _pace(500)
    assert pace.expect("r", ["x" * 900]) == pytest.approx(1000)
    assert pace.expect("r", ["x" * 10**6]) == pace.expect("r", ["x" * 65_536])
    assert pace.expect("another", ["x"]) == 0


# Cancellation


def test_a_cancelled_search_ends_before_the_next_micro_batch() -> None:
    gone, slow = threading.Event(), Slow(0.02)
    engine = Engine(Shelf(NUMBERED), slow, candidates=40)
    outcome: list[BaseException | SearchResult] = []

    def client() -> None:
        try:
            outcome.append(engine.search("q", cancel=gone))
        except SecondpassError as exc:
            outcome.append(exc)

    thread = threading.Thread(target=client)
    thread.start()
    while not slow.calls:
        time.sleep(0.001)
    gone.set()
    calls = len(slow.calls)
    thread.join()
    assert isinstance(outcome[0], SearchCancelledError)
    assert len(slow.calls) <= calls + 1
    assert sum(map(len, slow.calls)) < 40


def test_a_search_can_be_cancelled_before_it_embeds_and_before_it_searches() -> None:
    slow = Slow()
    with pytest.raises(SearchCancelledError, match="cancelled by its caller"):
        Engine(Shelf(NUMBERED), slow).search("q", cancel=lambda: True)
    answers = iter([False, True])
    with pytest.raises(SearchCancelledError):
        Engine(Shelf(NUMBERED), slow).compare("q", k=3, cancel=lambda: next(answers))
    assert slow.calls == []
    event = threading.Event()
    assert Engine(Shelf(NUMBERED), slow).search("q", cancel=event).scored == 20
    with pytest.raises(InputError, match="cancel must be"):
        Engine(Shelf(NUMBERED), slow).search("q", cancel=5)  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_ends_a_long_search(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "secondpass"]
    folder = str(tmp_path / "index")
    (tmp_path / "texts").mkdir()
    rng = random.Random(7)
    words = ["queue", "lock", "thread", "future", "pool", "task", "result", "wait", "cancel", "timeout"]
    for number in range(16):
        (tmp_path / "texts" / f"{number}.txt").write_text(" ".join(rng.choices(words, k=30_000)))
    common = ["--index", folder, "-q"]
    subprocess.run(
        [*program, "index", str(tmp_path / "texts"), "--size", "100000", *common],
        check=True,
        capture_output=True,
    )
    search = [*program, "search", "how to cancel", "--candidates", "80", "--stage1", "lexical", *common]
    with subprocess.Popen(search, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        cache = tmp_path / "index" / "cache" / "scores.db"
        while not cache.exists() and process.poll() is None:  # from here on candidates are read
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


# Scores kept


def test_kept_scores_are_not_computed_again(tmp_path: Path) -> None:
    slow = SlowReader()
    with ScoreCache(tmp_path / "scores.db") as cache:
        engine = Engine(Shelf(NUMBERED), slow, cache=cache)
        first = engine.search("q")
        again = engine.search("q")
        more = engine.search("q", candidates=25)
        assert (first.cached, again.cached, more.cached) == (0, 20, 20)
        assert (first.scored, again.scored, more.scored) == (20, 20, 25)
        assert again.ranked == first.ranked
        assert again.truncated == first.truncated == 20
        assert [len(call) for call in slow.calls] == [20, 5]
        assert slow.calls[1] == NUMBERED[20:25]
        compared = engine.compare("q", k=3)
        assert compared.passes[0].result.cached == 20
        given = Engine(Shelf(NUMBERED), CachedReranker(slow, cache)).search("q")
        assert (given.cached, given.ranked) == (20, first.ranked)
        foreign = Slow()
        plain = Engine(Shelf(NUMBERED), foreign, cache=cache)
        assert [plain.search("q").cached, plain.search("q").cached] == [0, 20]
    with pytest.raises(InputError, match="cache must be a ScoreCache"):
        Engine(Shelf(NUMBERED), slow, cache=tmp_path)  # type: ignore[arg-type]


def test_what_is_known_counts_as_read_even_after_the_deadline(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "scores.db") as cache:
        engine = Engine(Shelf(NUMBERED), SlowReader(), cache=cache)
        engine.search("q", candidates=10)
        result = engine.search("q", k=12, candidates=40, deadline_ms=0)
        check_partition(result)
        assert (result.scored, result.cached, result.unread) == (10, 10, 30)
        assert texts(result.hits) == [*NUMBERED[9::-1], *NUMBERED[10:12]]


def test_each_micro_batch_is_kept_as_it_comes(tmp_path: Path) -> None:
    slow = SlowReader(0.03)
    with ScoreCache(tmp_path / "scores.db") as cache:
        engine = Engine(Shelf(NUMBERED), slow, candidates=40, cache=cache)
        first = engine.search("q", deadline_ms=300)
        second = engine.search("q", deadline_ms=300)
        assert second.cached == first.scored
        assert second.scored > first.scored


def test_a_broken_re_ranker_is_told_with_a_cache_too() -> None:
    class Broken(Slow):
        def score(self, query: str, passages: Sequence[str]) -> object:
            return 3

    with pytest.raises(ModelInvalidError, match="must give one number for each passage"):
        Engine(Shelf(NUMBERED), Broken(), cache=ScoreCache()).search("q")  # type: ignore[arg-type]


# Candidates that say the same


def test_equal_but_for_spaces_is_read_once() -> None:
    shelf = Shelf(["one two 1", "another 5", "one  two\n1 ", "\tone two 1", "one Two 1"])
    slow = SlowReader()
    result = Engine(shelf, slow).search("q", k=5)
    check_partition(result)
    assert slow.calls == [["one two 1", "another 5", "one Two 1"]]
    assert (result.scored, result.copied) == (3, 2)
    assert [hit.copied_from for hit in result.ranked] == [None, None, "0000", "0000", None]
    assert [hit.passage.id for hit in result.ranked] == ["0001", "0000", "0002", "0003", "0004"]
    assert [hit.probability for hit in result.ranked][1:] == [result.ranked[1].probability] * 4
    copied = result.ranked[2]
    assert copied.reading is not None
    assert (copied.reading.start, copied.reading.end) == (0, len("one  two\n1 "))
    assert result.truncated == 3


def test_a_twin_of_an_unread_one_is_unread() -> None:
    shelf = Shelf([*NUMBERED, *(f"{text} " for text in NUMBERED)])
    result = Engine(shelf, Slow(0.03), candidates=80).search("q", k=80, deadline_ms=300)
    check_partition(result)
    assert result.copied == result.scored


def test_spans_move_to_the_same_words() -> None:
    first, text = "alpha beta gamma delta", " alpha\n\nbeta   gamma delta\n"
    reading = Reading(1.5, 2, 4, first.index("beta"), first.index(" delta"))
    moved = carried_over(reading, first, text)
    assert text[moved.start : moved.end] == "beta   gamma"
    assert (moved.score, moved.tokens_seen, moved.tokens_total) == (1.5, 2, 4)
    head = carried_over(Reading(1.5, 2, 4, 0, 10), first, text)
    tail = carried_over(Reading(1.5, 2, 4, 11, len(first)), first, text)
    assert text[head.start : head.end] == " alpha\n\nbeta"
    assert text[tail.start : tail.end] == "gamma delta\n"
    assert carried_over(reading, first, first) is reading


def test_only_spaces_and_line_breaks_may_differ() -> None:
    texts_ = ["a b", " a\r\n\tb ", "a b.", "A b", "ab", "a\u00a0b", "a b", "", "\n", "a 1", "a 2"]
    assert first_of_each(texts_) == [0, 0, 2, 3, 4, 5, 0, 7, 7, 9, 10]


def test_a_twin_scores_as_if_it_had_been_read() -> None:
    text = "A lock can be held by one thread at a time.  Waiting for it ends after the timeout."
    spaced = "  A lock can be held\n\nby one thread at a time. Waiting for it\tends after   the timeout.\n"
    for name in ("minilm-l6", "late-interaction"):
        one, other = load_reranker(name).read("how long does a thread wait?", [text, spaced])
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert carried_over(one, text, spaced) == replace(other, score=one.score)
