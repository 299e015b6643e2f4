"""Cross-encoders against transformers' own logits, their windows, and what they refuse."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

import tiny_models
from secondpass.errors import InputError, ModelInvalidError, QueryError
from secondpass.inference import open_graph
from secondpass.reranking import CrossEncoder, load_reranker
from secondpass.reranking.windows import window_spans
from secondpass.tokenizing import pair_frame
from secondpass.types import Reranker, SupportsMany, SupportsReadings

QUERY = "how do I sort a list of numbers"
PASSAGES = [
    "sorted() returns a new list",
    "the capital of France is Paris, and people live there",
    "",
    "warnings and modules, numbers! ünï 日本 \x00 \ud800 end",
    "list.sort() works in place.\r\nIt is stable.",
]
KINDS = ["bert", "xlm-roberta"]


@pytest.fixture(scope="module", autouse=True)
def user_models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECONDPASS_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: tiny_models.checkpoint(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def exported(checkpoints, tmp_path_factory):
    """The same models as ONNX folders, exported by torch."""
    root = tmp_path_factory.mktemp("exported")
    return {kind: tiny_models.export(checkpoints[kind], root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def logits(checkpoints):
    clean = [text.replace("\ud800", "\ufffd") for text in PASSAGES]
    return {kind: tiny_models.reference(checkpoints[kind], QUERY, clean) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_transformers(checkpoints, exported, logits, kind):
    assert np.ptp(logits[kind]) > 0.1
    for folder in (checkpoints[kind], exported[kind]):
        scores = CrossEncoder(folder).score(QUERY, PASSAGES)
        assert scores.shape == (len(PASSAGES),)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, logits[kind], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_feeds_only_what_the_graph_declares(exported, kind):
    inputs = open_graph(exported[kind] / "onnx" / "model.onnx").inputs
    assert ("token_type_ids" in inputs) == (kind == "bert")


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_the_other_candidates(checkpoints, kind):
    ranker = CrossEncoder(checkpoints[kind])
    passages = [" ".join(PASSAGES[:count]) for count in range(len(PASSAGES))] * 7 + [" ".join(PASSAGES * 9)]
    together = ranker.score(QUERY, passages)
    alone = np.concatenate([ranker.score(QUERY, [passage]) for passage in passages])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[::-1], ranker.score(QUERY, passages[::-1]), atol=1e-5)


def test_it_is_a_reranker_that_reads(checkpoints):
    ranker = load_reranker(checkpoints["bert"])
    assert isinstance(ranker, Reranker)
    assert isinstance(ranker, SupportsReadings)
    assert ranker.logits is True
    assert ranker.name == "bert"


@pytest.mark.parametrize("template", ["bert", "xlm-roberta", "ours"])
@settings(deadline=None)
@given(query=st.text(max_size=40), passage=st.text(max_size=80))
def test_pairs_are_framed_as_the_tokenizer_does(checkpoints, template, query, passage):
    folder = checkpoints["bert" if template == "ours" else template]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if template == "ours":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 [CLS]:1 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    query, passage = (text.encode("utf-8", "replace").decode() for text in (query, passage))
    whole = tokenizer.encode(query, passage)
    row = pair_frame(tokenizer).around(
        *(tokenizer.encode(text, add_special_tokens=False).ids for text in (query, passage))
    )
    assert row.ids == whole.ids
    assert row.types == whole.type_ids


@settings(deadline=None)
@given(tokens=st.integers(0, 3000), room=st.integers(1, 300), most=st.integers(1, 40))
def test_windows_cover_a_passage_without_a_gap(tokens, room, most):
    spans = window_spans(tokens, room, most)
    assert 1 <= len(spans) <= most
    assert spans[0][0] == 0
    assert all(end - start <= room for start, end in spans)
    for (start, end), (next_start, next_end) in itertools.pairwise(spans):
        assert start < next_start <= end < next_end
    if len(spans) < most:
        assert spans[-1][1] == tokens


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_window_of_a_long_passage_wins(checkpoints, kind):
    ranker = CrossEncoder(checkpoints[kind])
    passage = "  " + " ".join(tiny_models.CORPUS)[:3000] + "\r\n"
    (reading,) = ranker.read(QUERY, [passage])
    tokenizer = Tokenizer.from_file(str(checkpoints[kind] / "tokenizer.json"))
    whole = tokenizer.encode(passage, add_special_tokens=False)
    frame = pair_frame(tokenizer)
    query = tokenizer.encode(QUERY, add_special_tokens=False)
    room = ranker.max_length - frame.size - len(query)
    spans = window_spans(len(whole), room)
    assert len(spans) > 3
    by_hand = {}
    for start, end in spans:
        row = frame.around(query.ids, whole.ids[start:end])
        (by_hand[start, end],) = tiny_models.logits_of(checkpoints[kind], row.ids, row.types).tolist()
    best = max(by_hand, key=by_hand.__getitem__)
    assert reading.score == pytest.approx(by_hand[best], abs=1e-4)
    assert reading.tokens_seen == reading.tokens_total == len(whole)
    first, last = best
    assert reading.start == (whole.offsets[first][0] if first else 0)
    assert reading.end == (whole.offsets[last - 1][1] if last < len(whole) else len(passage))


def test_the_work_for_a_passage_is_bounded_and_says_so(checkpoints):
    ranker = CrossEncoder(checkpoints["bert"], max_windows=2)
    passage = "sort a list of numbers " * 5000
    (reading,) = ranker.read(QUERY, [passage])
    (again,) = ranker.read(QUERY, [passage[: len(passage) // 2]])
    assert 0 < reading.tokens_seen < 2 * ranker.max_length
    assert reading.tokens_total == 2 * again.tokens_total > 20_000
    assert reading.score == again.score


def test_tokens_of_a_very_long_passage_are_counted_across_blocks(checkpoints):
    ranker = CrossEncoder(checkpoints["bert"], max_windows=4000)
    tokenizer = Tokenizer.from_file(str(checkpoints["bert"] / "tokenizer.json"))
    passage = ("sort lists of " + "x" * 50 + " in Python, ") * 1100
    assert len(passage) > 65_536
    whole = tokenizer.encode(passage, add_special_tokens=False)
    (reading,) = ranker.read(QUERY, [passage])
    assert reading.tokens_total == reading.tokens_seen == len(whole)
    edges = set(whole.offsets)
    assert any(start == reading.start for start, _ in edges)
    assert any(end == reading.end for _, end in edges)


def test_no_candidates_no_call(checkpoints):
    ranker = CrossEncoder(checkpoints["bert"])
    assert ranker.score(QUERY, []).shape == (0,)
    assert ranker.score(QUERY, []).dtype == np.float32
    assert ranker.read(QUERY, []) == []


def test_a_query_is_never_cut(checkpoints):
    ranker = CrossEncoder(checkpoints["bert"])
    fits = "sort " * 20
    assert np.isfinite(ranker.score(fits, PASSAGES)).all()
    with pytest.raises(QueryError, match=r"the query has 60 tokens, but bert reads 64 at once"):
        ranker.score("list " * 60, PASSAGES)
    with pytest.raises(QueryError, match="20000"):
        ranker.score("list " * 5000, PASSAGES)


@pytest.mark.parametrize("query", ["", "  \n", None, b"bytes", 3])
def test_refuses_what_is_no_query(checkpoints, query):
    with pytest.raises(QueryError):
        CrossEncoder(checkpoints["bert"]).score(query, PASSAGES)


@pytest.mark.parametrize("passages", ["one string", ["ok", None], [b"bytes"], None, {"a": 1}])
def test_refuses_what_are_no_passages(checkpoints, passages):
    with pytest.raises(InputError):
        CrossEncoder(checkpoints["bert"]).score(QUERY, passages)


@pytest.mark.parametrize("limits", [{"max_length": 65}, {"max_length": 2}, {"max_windows": 0}])
def test_refuses_limits_out_of_range(checkpoints, limits):
    with pytest.raises(InputError):
        CrossEncoder(checkpoints["bert"], **limits)


def test_the_window_is_the_smallest_of_what_the_model_says(checkpoints, tmp_path):
    assert CrossEncoder(checkpoints["bert"]).max_length == 64
    assert CrossEncoder(checkpoints["xlm-roberta"]).max_length == 62  # positions start behind the padding's
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "limited")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 40}')
    assert CrossEncoder(folder).max_length == 40
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert CrossEncoder(folder).max_length == 64


def test_more_than_one_logit_is_refused(tmp_path):
    folder = tiny_models.checkpoint(tmp_path / "three", "bert", labels=3)
    with pytest.raises(ModelInvalidError, match="3"):
        CrossEncoder(folder)
    onnx = tiny_models.export(folder, tmp_path / "onnx")
    with pytest.raises(ModelInvalidError, match="3 values"):
        CrossEncoder(onnx).score(QUERY, PASSAGES)


def test_a_logit_that_is_no_number_is_refused(tmp_path):
    folder = tiny_models.checkpoint(tmp_path / "nan", "bert")
    tiny_models.change(folder, "classifier.bias", lambda values: values * np.nan)
    with pytest.raises(ModelInvalidError, match="not finite"):
        CrossEncoder(folder).score(QUERY, PASSAGES)


def test_a_tokenizer_of_another_model_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported["bert"], tmp_path / "mixed")
    tiny_models.wordpiece(folder, vocab_size=600)
    with pytest.raises(ModelInvalidError, match="tokenizer"):
        CrossEncoder(folder).score(QUERY, [" ".join(tiny_models.CORPUS)])


def test_a_vocabulary_alone_makes_the_tokenizer_of_bert(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "vocab")
    words = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text(
        "\n".join(sorted(words, key=words.__getitem__)) + "\n", encoding="utf-8"
    )
    expected = CrossEncoder(checkpoints["bert"]).score(QUERY, PASSAGES)
    np.testing.assert_array_equal(CrossEncoder(folder).score(QUERY, PASSAGES), expected)


FILES = ["config.json", "tokenizer.json", "onnx/model.onnx"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", ["missing", "empty", "truncated", "noise"])
def test_each_bad_file_is_named(exported, tmp_path, capfd, file, harm):
    folder = shutil.copytree(exported["bert"], tmp_path / "bad")
    tiny_models.damage(folder / file, harm)
    with pytest.raises(ModelInvalidError, match=Path(file).name):
        CrossEncoder(folder)
    assert capfd.readouterr() == ("", "")


def test_config_that_is_no_object(exported, tmp_path):
    folder = shutil.copytree(exported["bert"], tmp_path / "bad")
    (folder / "config.json").write_text(json.dumps([1, 2]))
    with pytest.raises(ModelInvalidError, match=r"config\.json"):
        CrossEncoder(folder)


def test_none_is_not_a_reranker():
    with pytest.raises(InputError, match=r"Engine\(index, None\)"):
        load_reranker("none")


def test_many_passages_are_tokenised_ahead_in_slices_and_stay_in_order(checkpoints):
    ranker = CrossEncoder(checkpoints["bert"])
    passages = [f"{number} {tiny_models.CORPUS[4 + number % 3]}" for number in range(1300)]
    scores = ranker.score(QUERY, passages)
    assert scores.shape == (1300,)
    for start in range(0, 1300, 217):
        np.testing.assert_allclose(
            scores[start : start + 5], ranker.score(QUERY, passages[start : start + 5]), atol=1e-5
        )
    with pytest.raises(QueryError):
        ranker.score("why " * 5000, passages)


MANY = [
    (QUERY, PASSAGES),
    ("who lives in Paris", PASSAGES[1:2]),
    (QUERY, [" ".join(PASSAGES) * 40, PASSAGES[0]]),
    ("warnings", []),
]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_pairs_of_many_queries_are_read_as_those_of_one(precision):
    reranker = CrossEncoder("minilm-l6", precision=precision)
    assert isinstance(reranker, SupportsMany)
    assert reranker.read_many(MANY) == [reranker.read(query, passages) for query, passages in MANY]
    assert reranker.read_many([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_any_model_reads_many_queries_at_once(kind, exported):
    reranker = CrossEncoder(exported[kind])
    for (query, passages), found in zip(MANY, reranker.read_many(MANY), strict=True):
        alone = reranker.read(query, passages)
        assert [each.tokens_seen for each in found] == [each.tokens_seen for each in alone]
        np.testing.assert_allclose([e.score for e in found], [e.score for e in alone], atol=1e-4)


def test_one_bad_query_among_many_is_an_error():
    with pytest.raises(QueryError):
        CrossEncoder("minilm-l6").read_many([MANY[0], ("  ", ["a passage"])])
