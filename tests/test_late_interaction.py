"""Late interaction against a plain computation of what its docstring says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from secondpass import models
from secondpass.embedding import MiniLMEmbedder
from secondpass.errors import InputError, QueryError
from secondpass.reranking import AUTO_RERANKER, LateInteraction, load_reranker
from secondpass.types import Reranker, SupportsReadings

QUERY = "how do I sort a list in Python?"
PASSAGES = [
    "sorted() returns a new list; list.sort() works in place and is stable.",
    "The capital of France is Paris.",
    "",
    "日本 \x00 \ud800 ünï",
    "Binary search needs a list in order.",
]


@pytest.fixture(scope="module")
def ranker():
    return LateInteraction()


@pytest.fixture(scope="module")
def states():
    """Token states of a text, computed one by one without any of our code but the folder."""
    folder = models.resolve("late-interaction")
    session = onnxruntime.InferenceSession(str(folder.weights()), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))

    def of(text: str) -> np.ndarray:
        ids = np.array([tokenizer.encode(text.replace("\ud800", "\ufffd")).ids])
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return session.run(None, feeds)[0][0].astype(np.float64)

    return of


def plain_score(query: np.ndarray, passage: np.ndarray) -> float:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    best = [max(cosine(word, token) for token in passage) for word in query[1:-1]]
    return cosine(query.mean(axis=0), passage.mean(axis=0)) + sum(best) / len(best)


@pytest.mark.parametrize(("precision", "within"), [("fp32", 1e-5), ("int8", 0.02)])
def test_a_score_is_cosine_plus_maxsim(states, precision, within):
    scores = LateInteraction(precision=precision).score(QUERY, PASSAGES)
    expected = [plain_score(states(QUERY), states(passage)) for passage in PASSAGES]
    np.testing.assert_allclose(scores, expected, atol=within)
    assert scores.dtype == np.float32
    assert scores.argmax() == 0
    assert (np.abs(scores) <= 2).all()


def test_a_text_against_itself_scores_two(ranker):
    assert ranker.score(QUERY, [QUERY])[0] == pytest.approx(2, abs=1e-5)


def test_a_score_does_not_depend_on_the_other_candidates(ranker):
    passages = [" ".join(PASSAGES[:count]) for count in range(len(PASSAGES))] * 4 + ["sort " * 700]
    alone = np.concatenate([ranker.score(QUERY, [passage]) for passage in passages])
    np.testing.assert_allclose(ranker.score(QUERY, passages), alone, atol=1e-5)
    np.testing.assert_allclose(ranker.score(QUERY, passages[::-1])[::-1], alone, atol=1e-5)


def test_it_is_a_reranker_without_probabilities(ranker):
    assert isinstance(ranker, Reranker)
    assert isinstance(ranker, SupportsReadings)
    assert ranker.logits is False
    assert ranker.name == "late-interaction"
    assert isinstance(load_reranker("Late-Interaction"), LateInteraction)
    assert load_reranker().name == load_reranker("auto").name == AUTO_RERANKER


def test_it_shares_the_embedders_weights_in_memory(ranker):
    embedder = MiniLMEmbedder()
    embedder.embed_queries([QUERY])
    assert embedder._encoder is ranker._encoder
    assert embedder._tokenizer is ranker._tokenizer


def test_the_best_window_of_a_long_passage_wins(ranker):
    answer = PASSAGES[0]
    filler = "The river flows past the old mill and the quiet fields. " * 60
    passage = f"{filler}{answer} {filler}"
    reading, plain, short = ranker.read(QUERY, [passage, filler, answer])
    assert plain.score < reading.score < short.score
    assert reading.start < passage.index(answer)
    assert passage.index(answer) + len(answer) < reading.end < len(passage)
    assert reading.tokens_seen == reading.tokens_total > 1000
    assert reading.score == pytest.approx(
        ranker.score(QUERY, [passage[reading.start : reading.end]])[0], abs=1e-4
    )
    assert (short.start, short.end, short.tokens_seen) == (0, len(answer), short.tokens_total)


def test_the_work_for_a_passage_is_bounded_and_says_so():
    ranker = LateInteraction(max_windows=2)
    (reading,) = ranker.read(QUERY, ["The river flows. " * 500 + PASSAGES[0]])
    assert reading.tokens_seen < 512 < reading.tokens_total
    with pytest.raises(InputError, match="max_windows"):
        LateInteraction(max_windows=0)


def test_no_part_of_a_query_is_cut(ranker):
    padding = "tell me about the river and the mill " * 60
    passages = [PASSAGES[0], PASSAGES[1]]
    plain = ranker.score(padding, passages)
    asked = ranker.score(padding + QUERY, passages)
    assert asked[0] - asked[1] > plain[0] - plain[1]
    with pytest.raises(QueryError, match="2048"):
        ranker.score("word " * 2100, passages)


def test_no_candidates_no_call(ranker):
    assert ranker.score(QUERY, []).shape == (0,)
    assert ranker.read(QUERY, []) == []


@pytest.mark.parametrize("query", ["", " \n", None, 3, b"bytes", "\u200b", "w" * 20_001])
def test_refuses_what_is_no_query(ranker, query):
    with pytest.raises(QueryError):
        ranker.score(query, PASSAGES)


@pytest.mark.parametrize("passages", ["one string", ["ok", None], [b"bytes"], None])
def test_refuses_what_are_no_passages(ranker, passages):
    with pytest.raises(InputError):
        ranker.score(QUERY, passages)


@pytest.mark.shared
@pytest.mark.slow
def test_it_beats_cosine_on_questions_over_paragraphs():
    """Every 30th question of XQuAD: dense top 20 re-ranked, nDCG@10."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "collections" / "xquad-en"
    if not folder.is_dir():
        pytest.skip("the test collections are not here")
    corpus = {row["_id"]: row["text"] for row in rows(folder / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in rows(folder / "queries.jsonl")}
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    ids, embedder, ranker = list(corpus), MiniLMEmbedder(), LateInteraction()
    vectors = embedder.embed_passages([corpus[each] for each in ids])
    gains = []
    for query, judged in list(qrels.items())[::30]:
        cosines = vectors @ embedder.embed_queries([queries[query]])[0]
        top = np.argsort(-cosines)[:20]
        scores = ranker.score(queries[query], [corpus[ids[place]] for place in top])
        again = top[np.argsort(-scores)]
        gains.append(
            ndcg(judged, [ids[place] for place in again]) - ndcg(judged, [ids[place] for place in top])
        )
    assert len(gains) > 30
    assert np.mean(gains) > 0.01


def rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def ndcg(judged: dict[str, int], ranking: list[str]) -> float:
    discounts = 1 / np.log2(np.arange(10) + 2)
    gains = np.array([judged.get(document, 0) for document in ranking[:10]])
    ideal = np.sort([*judged.values(), *[0] * 10])[::-1][:10]
    return float(gains @ discounts / (ideal @ discounts))
