"""Late interaction over signs: the arithmetic, what is kept beside an index, and what is not trusted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondpass import Engine, Index, load_reranker, native
from secondpass.errors import InputError, QueryError, StorageError
from secondpass.reranking import BinaryInteraction, LateInteraction
from secondpass.reranking.sign_states import COSINE, packed, signs_of, turned, unpacked
from secondpass.reranking.state_store import STATES_FILE, StateStore, key_of
from secondpass.testing import RerankerContract

QUERY = "when do I get the deposit back?"
PASSAGES = [
    "The deposit is returned within a month of handing over the keys.",
    "Keys are kept in the office.",
    "",
    "Ünïcode 日本 \x00 and the \ud800 end of it",
    "The rent is due on the first. " * 60 + "The deposit comes back in May.",
]


@pytest.fixture(scope="module")
def ranker():
    return load_reranker("late-interaction-1bit")


@pytest.fixture
def folder(tmp_path):
    """An index of a few passages."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number, text in enumerate([PASSAGES[0], PASSAGES[1], PASSAGES[4]]):
        (notes / f"{number}.txt").write_text(text)
    with Index.open(tmp_path / "index") as index:
        index.add(notes)
    return tmp_path / "index"


class TestContract(RerankerContract):
    def make_reranker(self):
        return BinaryInteraction()


# ---- arithmetic ----


def test_the_rotation_is_one_and_stays_what_it_is():
    matrix = turned(np.eye(384, dtype=np.float32))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(384), atol=1e-6)
    digest = hashlib.sha256(np.rint(matrix * 2**12).astype("<i2").tobytes()).hexdigest()
    assert (
        digest == "4b792463461546f9370fd72dd52476bbbeac433d47ea4f3318059f09b83b3941"
    )  # kept states mean nothing to another one


def test_a_state_gives_the_same_whatever_is_beside_it():
    states = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    alone = np.concatenate([turned(states[place : place + 1]) for place in range(50)])
    assert (turned(states) == alone).all()


def test_signs_tell_cosines():
    generator = np.random.default_rng(1)
    states = generator.normal(size=(2000, 384)).astype(np.float32)
    words = states[:8] + generator.normal(size=(8, 384)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    starts = np.arange(2001, dtype=np.int32)
    told = COSINE * native.best_signs(signs_of(states), starts, turned(words))
    true = states @ words.T / np.linalg.norm(states, axis=1, keepdims=True)
    assert abs((told - true).mean()) < 0.002
    assert (told - true).std() < 0.05


def test_the_kernel_and_numpy_agree(monkeypatch):
    generator = np.random.default_rng(2)
    bits = generator.integers(0, 256, size=(23, 48)).astype(np.uint8)
    starts = np.array([0, 1, 4, 9, 22, 23], dtype=np.int32)
    words = generator.normal(size=(5, 384)).astype(np.float32)
    here = native.best_signs(bits, starts, words)
    monkeypatch.setenv("SECONDPASS_NATIVE", "0")
    np.testing.assert_allclose(here, native.best_signs(bits, starts, words), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(not native.available(), reason="the kernels do not run on this processor")
@pytest.mark.parametrize(
    ("bits", "starts", "words", "best", "width"),
    [
        (48, [0, 2], 384, 1, 384),  # one token too few
        (96, [0, 3], 384, 1, 384),
        (96, [1, 2], 384, 1, 384),
        (96, [0, 2], 380, 1, 384),
        (96, [0, 2], 384, 2, 384),
        (96, [0, 2], 384, 1, 383),
        (96, [0, 2], 384, 1, -16),
        (0, [0], 384, 1, 384),
    ],
)
def test_the_kernel_refuses_shapes_that_do_not_fit(bits, starts, words, best, width):
    with pytest.raises(ValueError, match="signs"):
        native._kernels.signs(
            np.zeros(bits, np.uint8),
            np.array(starts, np.int32),
            np.zeros(words, np.float32),
            np.zeros(best, np.float32),
            width,
        )


def test_scores_lie_near_those_of_exact_states(ranker):
    found = ranker.score(QUERY, PASSAGES)
    exact = LateInteraction().score(QUERY, PASSAGES)
    assert np.argmax(found) == np.argmax(exact) == 0
    assert np.corrcoef(found, exact)[0, 1] > 0.99
    assert found.dtype == np.float32


def test_a_long_passage_counts_by_its_best_window(ranker):
    reading = ranker.read(QUERY, [PASSAGES[4]])[0]
    assert PASSAGES[4][reading.start : reading.end].endswith("comes back in May.")
    assert reading.start > 0
    assert reading.tokens_seen == reading.tokens_total > 256


def test_bad_input(ranker):
    with pytest.raises(QueryError):
        ranker.score(" ", PASSAGES)
    with pytest.raises(InputError):
        ranker.score(QUERY, "text")
    with pytest.raises(InputError, match="max_windows"):
        BinaryInteraction(max_windows=0)
    with pytest.raises(InputError, match="cpu only"):
        load_reranker("late-interaction-1bit", device="cuda")


# ---- what is kept ----


def test_kept_states_give_the_same_readings(ranker, folder):
    kept = BinaryInteraction()
    done = kept.precompute(folder, PASSAGES, len(PASSAGES))
    assert (done.texts, done.added) == (5, 5)
    assert done.size_bytes == (folder / STATES_FILE).stat().st_size
    kept.beside(folder)
    assert kept.read(QUERY, PASSAGES) == ranker.read(QUERY, PASSAGES)


def test_passages_are_looked_up_not_read(ranker, folder):
    """Another text's states are kept under a passage's key, and its score is told."""
    kept = BinaryInteraction()
    kept.precompute(folder, PASSAGES)
    store = StateStore(folder, kept.fingerprint, create=True)
    store.put([(key_of(PASSAGES[1]), store.get([key_of(PASSAGES[0])])[key_of(PASSAGES[0])])])
    store.close()
    kept.beside(folder)
    scores = kept.score(QUERY, PASSAGES)
    assert scores[1] == scores[0] == ranker.score(QUERY, PASSAGES[:1])[0]


def test_an_engine_looks_beside_its_index(folder):
    ranker = BinaryInteraction()
    with Index.open(folder) as index:
        engine = Engine(index, ranker)
        before = engine.search(QUERY, 3)
        ranker.precompute(folder, index.texts())  # another process does it while the engine is open
        place = before.hits[0].passage.text
        store = StateStore(folder, ranker.fingerprint, create=True)
        other = before.hits[1].passage.text
        store.put([(key_of(place), store.get([key_of(other)])[key_of(other)])])
        store.close()
        after = engine.search(QUERY, 3)
    assert after.hits[0].score == before.hits[1].score


def test_texts_of_an_index_are_each_told_once(folder):
    with Index.open(folder) as index:
        texts = list(index.texts())
        assert len(texts) == len(set(texts)) == index.status().texts


def test_only_what_is_new_is_read_and_what_is_gone_is_forgotten(folder):
    ranker = BinaryInteraction()
    assert ranker.precompute(folder, PASSAGES[:3]).added == 3
    told = []
    done = ranker.precompute(folder, PASSAGES[1:], 4, lambda *step: told.append(step))
    assert (done.texts, done.added) == (4, 2)
    assert told == [(4, 4)]
    store = StateStore(folder, ranker.fingerprint)
    assert len(store) == 4
    assert not store.get([key_of(PASSAGES[0])])
    store.close()


def test_states_of_another_model_are_not_used(folder, ranker):
    other = BinaryInteraction(max_windows=1)
    other.precompute(folder, PASSAGES)
    mine = BinaryInteraction()
    mine.beside(folder)
    assert mine.read(QUERY, PASSAGES) == ranker.read(QUERY, PASSAGES)
    assert mine.precompute(folder, PASSAGES).added == 5


@pytest.mark.parametrize("kind", ["noise", "torn", "other", "cut states"])
def test_a_damaged_file_costs_time_not_answers(folder, ranker, kind):
    kept = BinaryInteraction()
    kept.precompute(folder, PASSAGES)
    path = folder / STATES_FILE
    if kind == "noise":
        path.write_bytes(os.urandom(20_000))
    elif kind == "torn":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "other":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE diary (entry TEXT)")
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE states SET states = substr(states, 1, 300)")
    after = BinaryInteraction()
    after.beside(folder)
    assert after.read(QUERY, PASSAGES) == ranker.read(QUERY, PASSAGES)
    if kind == "cut states":
        return
    with pytest.raises(StorageError, match=STATES_FILE):
        after.precompute(folder, PASSAGES)
    if kind == "other":
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM diary").fetchone() == (0,)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bytes_that_were_cut_or_changed_in_length_are_refused(data, kept_bytes):
    cut = data.draw(st.integers(0, len(kept_bytes) - 1))
    with pytest.raises(ValueError, match=r"states|window"):
        unpacked(kept_bytes[:cut])
    with pytest.raises(ValueError, match=r"states|window"):
        unpacked(kept_bytes + b"x")


@pytest.fixture(scope="module")
def kept_bytes(ranker):
    found = ranker._made([PASSAGES[4]])[0]
    again = unpacked(packed(found))
    assert again.spans == found.spans
    assert len(again.windows) > 1
    for one, other in zip(again.windows, found.windows, strict=True):
        assert (one.signs == other.signs).all()
        assert (one.mean == other.mean).all()
    return packed(found)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    texts = [f"Passage {number} tells of caches, rivers and bread. " * 6 for number in range(4000)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, pathlib; from secondpass.reranking import BinaryInteraction as B;"
        "B().precompute(pathlib.Path('.'), json.loads(pathlib.Path('texts.json').read_text()), 1,"
        " lambda done, total: print(done, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    ranker = BinaryInteraction()
    store = StateStore(tmp_path, ranker.fingerprint)
    known = len(store)
    store.close()
    assert 500 <= known < len(texts)
    assert ranker.precompute(tmp_path, texts[: known + 10]).added <= 10


# ---- command line ----


def secondpass(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secondpass", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_index_precompute(tmp_path):
    (tmp_path / "a.txt").write_text(PASSAGES[0])
    first = secondpass("index", "a.txt", "--precompute", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "1 text read ahead" in first.stdout
    (tmp_path / "b.txt").write_text(PASSAGES[1])
    told = json.loads(secondpass("index", "b.txt", "--json", cwd=tmp_path).stdout)["precomputed"]
    assert (told["texts"], told["added"]) == (2, 1)  # a later run keeps them up without being told to
    found = secondpass(
        "search", QUERY, "--reranker", "late-interaction-1bit", "--no-cache", "--json", cwd=tmp_path
    )
    assert found.returncode == 0, found.stderr
    hits = json.loads(found.stdout)["hits"]
    expected = BinaryInteraction().score(QUERY, PASSAGES[:1])[0]
    assert hits[0]["passage"]["source"].endswith("a.txt")
    assert hits[0]["score"] == pytest.approx(float(expected), abs=1e-5)


def test_index_without_precompute_keeps_nothing(tmp_path):
    (tmp_path / "a.txt").write_text(PASSAGES[0])
    told = json.loads(secondpass("index", "a.txt", "--json", cwd=tmp_path).stdout)
    assert told["precomputed"] is None
    assert not (tmp_path / ".secondpass" / STATES_FILE).exists()
