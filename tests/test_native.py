"""Our own kernels against plain arithmetic, against transformers, and against the runtime they replace."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import tiny_models
from secondpass import CrossEncoder, LateInteraction, MiniLMEmbedder, native
from secondpass.batching import Row
from secondpass.checkpoints import fits
from secondpass.native import Layer, Linear, Norm, best_cosines

pytestmark = pytest.mark.skipif(not native.available(), reason="this processor has no AVX-512 VNNI")

WIDTH, INNER, HEADS = 64, 128, 2
QUERY = "how do I sort a list of numbers in python"
WIDE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}


def linear(rng, inputs, outputs):
    weight = rng.integers(-127, 128, (inputs, outputs)).astype(np.int8)
    return Linear(weight, rng.uniform(0.5, 1.5, outputs) / 127 / inputs**0.5, rng.normal(0, 0.1, outputs))


@pytest.fixture(scope="module")
def layer():
    """A random layer, and the maps and norms it was made of."""
    rng = np.random.default_rng(5)
    maps = {name: linear(rng, WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
    maps |= {"up": linear(rng, WIDTH, INNER), "down": linear(rng, INNER, WIDTH)}
    norms = tuple(Norm(rng.uniform(0.5, 1.5, WIDTH), rng.normal(0, 0.1, WIDTH)) for _ in range(2))
    return Layer(maps, norms, HEADS, 1e-12), maps, norms


def quantised(x):
    """A token's values on its own 255 steps, as exact numbers."""
    low, step = x.min(axis=1, keepdims=True), np.ptp(x, axis=1, keepdims=True) / 255
    return np.rint((x - low) / step) * step + low


def plain_layer(states, maps, norms, others=None):
    """The layer on one text in float64, its inputs quantised as the kernels do."""
    from scipy.special import erf, softmax

    def apply(name, x):
        return quantised(x) @ (maps[name].weight * maps[name].scale.astype(np.float64)) + maps[name].bias

    def norm(x, which):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True)) * norms[which].weight + norms[which].bias

    query = apply("query", states)
    key, value = (
        apply(name, states) if others is None else np.concatenate([apply(name, states), apply(name, others)])
        for name in ("key", "value")
    )
    size = WIDTH // HEADS
    heads = [slice(head * size, (head + 1) * size) for head in range(HEADS)]
    read = np.concatenate(
        [softmax(query[:, h] @ key[:, h].T / size**0.5, axis=1) @ value[:, h] for h in heads], axis=1
    )
    states = norm(states + apply("out", read), 0)
    wide = apply("up", states)
    return norm(states + apply("down", wide * (1 + erf(wide / 2**0.5)) / 2), 1)


def packed(texts):
    starts = np.cumsum([0, *(len(text) for text in texts)]).astype(np.int32)
    return np.concatenate(texts).astype(np.float32), starts


@pytest.mark.parametrize("lengths", [[1], [6], [7, 1, 64], [65, 130], [3, 97, 200, 12]])
def test_a_layer_is_what_its_formula_says(layer, lengths):
    run, maps, norms = layer
    rng = np.random.default_rng(sum(lengths))
    texts = [rng.normal(size=(length, WIDTH)) for length in lengths]
    states, starts = packed(texts)
    run(states, starts)
    expected = np.concatenate([plain_layer(text, maps, norms) for text in texts])
    # a value that falls between two steps may be rounded either way: then one step of difference
    assert np.abs(states - expected).mean() < 2e-4
    assert np.abs(states - expected).max() < 0.05


def test_a_text_can_read_another_one(layer):
    run, maps, norms = layer
    rng = np.random.default_rng(1)
    texts, others = ([rng.normal(size=(n, WIDTH)) for n in lengths] for lengths in ([3, 12, 1], [40, 1, 70]))
    states, starts = packed(texts)
    run.reading(states, starts, *packed(others))
    expected = [plain_layer(text, maps, norms, other) for text, other in zip(texts, others, strict=True)]
    assert np.abs(states - np.concatenate(expected)).mean() < 2e-4
    assert np.abs(states - np.concatenate(expected)).max() < 0.05


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_a_text_gives_the_same_bits_in_any_company(layer, lengths, seed):
    rng = np.random.default_rng(seed)
    texts = [rng.normal(size=(length, WIDTH)).astype(np.float32) for length in lengths]
    states, starts = packed(texts)
    layer[0](states, starts)
    for place, text in enumerate(texts):
        alone, own = packed([text])
        layer[0](alone, own)
        np.testing.assert_array_equal(states[starts[place] : starts[place + 1]], alone)


def test_equal_values_and_zeros_have_no_range_to_cut(layer):
    states = np.full((3, WIDTH), 0.5, dtype=np.float32)
    states[1] = 0
    layer[0](states, np.array([0, 3], dtype=np.int32))
    assert np.isfinite(states).all()
    alone = np.full((1, WIDTH), 0.5, dtype=np.float32)
    expected = plain_layer_of_constant(layer, alone)
    layer[0](alone, np.array([0, 1], dtype=np.int32))
    np.testing.assert_allclose(alone, expected, atol=0.05)


def plain_layer_of_constant(layer, states):
    noise = np.linspace(-1e-9, 1e-9, WIDTH)  # so that the plain formula has a range as well
    return plain_layer(states.astype(np.float64) + noise, *layer[1:])


def test_what_does_not_fit_is_refused_and_not_read(layer):
    run = layer[0]
    states = np.zeros((4, WIDTH), dtype=np.float32)
    for starts in ([0, 5], [0, 3], [1, 4], [0, 4, 4], [0, 2, 1, 4], [0], []):
        with pytest.raises(ValueError, match="starts"):
            run(states, np.array(starts, dtype=np.int32))
    two = np.array([0, 2, 4], dtype=np.int32)
    with pytest.raises(ValueError, match="others"):
        run.reading(states, two, states.copy(), np.array([0, 4], dtype=np.int32))
    with pytest.raises(ValueError, match="divides"):
        Linear(np.zeros((64, 60), np.int8), np.ones(60), np.zeros(60)).packed()
    with pytest.raises(ValueError, match="fit together"):
        Layer({**layer[1], "down": layer[1]["out"]}, layer[2], HEADS, 1e-12)
    with pytest.raises((TypeError, BufferError)):
        run(states.T[::2], two)


def test_best_cosines_are_those_of_numpy(monkeypatch):
    rng = np.random.default_rng(2)
    states, starts = packed([rng.normal(size=(n, 48)) for n in (1, 7, 33)])
    words = rng.normal(size=(5, 48)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    sums, best = best_cosines(states, starts, words)
    monkeypatch.setenv("SECONDPASS_NATIVE", "0")
    expected_sums, expected_best = best_cosines(states, starts, words)
    np.testing.assert_allclose(sums, expected_sums, atol=1e-4)
    np.testing.assert_allclose(best, expected_best, atol=1e-5)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Random checkpoints; biases and norms too, since an exporter merges equal ones under one name."""
    root = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(3)
    for kind in ("bert", "xlm-roberta"):
        file = tiny_models.checkpoint(root / kind, kind, positions=130, **WIDE) / "model.safetensors"
        tensors = load_file(file)
        for values in tensors.values():
            if values.ndim == 1:
                values += rng.normal(0, 0.1, values.shape).astype(np.float32)
        save_file(tensors, file, {"format": "pt"})
    return {kind: root / kind for kind in ("bert", "xlm-roberta")}


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_public_checkpoints_give_the_logits_of_transformers(checkpoints, tmp_path, kind, form):
    folder = (
        checkpoints[kind] if form == "safetensors" else tiny_models.export(checkpoints[kind], tmp_path / kind)
    )
    ranker = CrossEncoder(folder)
    assert type(ranker._scorer).__name__ == "_BertScorer"
    passages = [" ".join(tiny_models.CORPUS[4:])[:length] for length in range(20, 120, 10)]
    expected = tiny_models.reference(checkpoints[kind], QUERY, passages)
    scores = ranker.score(QUERY, passages)
    assert np.ptp(expected) > 0.05
    # 64 random columns round coarsely; a wrong weight or position would leave no likeness at all
    assert np.corrcoef(scores, expected)[0, 1] > 0.97
    assert np.abs(scores - expected).mean() < 0.1 * np.ptp(expected)
    exact = CrossEncoder(folder, precision="fp32").score(QUERY, passages)
    np.testing.assert_allclose(exact, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_a_score_does_not_depend_on_the_other_candidates_at_all(checkpoints, kind):
    ranker = CrossEncoder(checkpoints[kind])
    passages = [" ".join(tiny_models.CORPUS[4:])[: 9 * count] for count in range(1, 30)]
    alone = np.concatenate([ranker.score(QUERY, [passage]) for passage in passages])
    np.testing.assert_array_equal(ranker.score(QUERY, passages), alone)
    np.testing.assert_array_equal(ranker.score(QUERY, passages[::-1])[::-1], alone)


def test_the_shipped_reranker_gives_the_same_bits_in_any_company():
    ranker = CrossEncoder("minilm-l6")
    passages = [*tiny_models.CORPUS, "sort " * 300, "x", "sorted() returns a new list"]
    alone = np.concatenate([ranker.score(QUERY, [passage]) for passage in passages])
    np.testing.assert_array_equal(ranker.score(QUERY, passages), alone)
    np.testing.assert_array_equal(ranker.score(QUERY, passages[::-1])[::-1], alone)


def test_the_shipped_reranker_agrees_with_its_onnx_graph():
    passages = [text[start : start + 400] for text in tiny_models.CORPUS[:4] for start in range(0, 4000, 400)]
    passages = [passage for passage in passages if passage]
    ours, graph = (
        CrossEncoder("minilm-l6", precision=each).score(QUERY, passages) for each in ("int8", "fp32")
    )
    assert np.corrcoef(ours, graph)[0, 1] > 0.99
    assert np.abs(ours - graph).mean() < 0.2


def test_architectures_that_the_kernels_cannot_run_take_the_runtime(checkpoints, tmp_path):
    narrow = CrossEncoder(tiny_models.checkpoint(tmp_path / "narrow", "bert"))
    assert type(narrow._scorer).__name__ == "_GraphScorer"
    for change in (
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"model_type": "electra"},
    ):
        assert not fits({"model_type": "bert", **WIDE, **change})
    assert fits({"model_type": "bert", **WIDE})


def test_a_token_outside_the_vocabulary_is_an_error(checkpoints):
    from secondpass.errors import ModelInvalidError

    scorer = CrossEncoder(checkpoints["bert"])._scorer
    with pytest.raises(ModelInvalidError, match="outside the model's tables"):
        scorer.logits([Row([2, 10**6, 3], [0, 0, 1])])


@pytest.mark.parametrize("how", ["switched off", "not built"])
def test_without_the_kernels_the_runtime_does_the_same(how):
    texts = tiny_models.CORPUS[4:]
    block = "sys.modules['secondpass._kernels'] = None\n" if how == "not built" else ""
    script = (
        f"import sys\n{block}"
        "from secondpass import CrossEncoder, LateInteraction, MiniLMEmbedder, native\n"
        f"query, texts = {QUERY!r}, {texts!r}\n"
        "assert not native.available()\n"
        "print(CrossEncoder('minilm-l6').score(query, texts).tolist())\n"
        "print(LateInteraction().score(query, texts).tolist())\n"
        "embedder = MiniLMEmbedder()\n"
        "print((embedder.embed_passages(texts) @ embedder.embed_queries([query]).T).tolist())\n"
    )
    environment = {**os.environ, **({"SECONDPASS_NATIVE": "0"} if how == "switched off" else {})}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    theirs = [np.array(eval(line)).reshape(-1) for line in done.stdout.splitlines()]
    embedder = MiniLMEmbedder()
    ours = [
        CrossEncoder("minilm-l6").score(QUERY, texts),
        LateInteraction().score(QUERY, texts),
        (embedder.embed_passages(texts) @ embedder.embed_queries([QUERY]).T).reshape(-1),
    ]
    for one, other, within in zip(ours, theirs, (0.3, 0.02, 0.01), strict=True):
        np.testing.assert_allclose(one, other, atol=within)
