"""Safetensors to ONNX: the same logits as transformers, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

import tiny_models
from secondpass import models
from secondpass.converting import onnx_file
from secondpass.errors import ModelError, ModelInvalidError
from secondpass.reranking import CrossEncoder

QUERY = "how do I sort a list"
PASSAGES = ["sorted() returns a new list", "the capital of France", "", "numbers and modules " * 8]
KINDS = ["bert", "xlm-roberta"]


@pytest.fixture(autouse=True)
def user_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: tiny_models.checkpoint(root / kind, kind, positions=128) for kind in KINDS}


def converted(folder):
    return onnx_file(models.resolve(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_model_is_valid_and_dynamic(checkpoints, kind):
    file = converted(checkpoints[kind])
    onnx.checker.check_model(str(file), full_check=True)
    graph = onnx.load(str(file), load_external_data=False).graph
    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if kind == "bert" else [])
    assert [each.name for each in graph.input] == names
    for each in graph.input:
        assert [dim.dim_param for dim in each.type.tensor_type.shape.dim] == ["batch", "sequence"]
    assert [each.name for each in graph.output] == ["logits"]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"num_hidden_layers": 1, "num_attention_heads": 1, "layer_norm_eps": 1e-3}),
        ("bert", {"hidden_size": 48, "num_attention_heads": 2, "type_vocab_size": 4}),
        ("xlm-roberta", {"num_hidden_layers": 4, "num_attention_heads": 8}),
        ("xlm-roberta", {"type_vocab_size": 2}),
    ],
)
def test_settings_of_the_config_are_followed(tmp_path, kind, settings):
    folder = tiny_models.checkpoint(tmp_path / "model", kind, positions=128, **settings)
    expected = tiny_models.reference(folder, QUERY, PASSAGES)
    np.testing.assert_allclose(CrossEncoder(folder).score(QUERY, PASSAGES), expected, atol=1e-4)


def test_half_precision_weights_and_old_names_are_read(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "old")
    file = str(folder / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {}
    for name, values in load_file(file).items():
        for new, older in old.items():
            name = name.replace(new, older)
        tensors[name] = values.astype(np.float16)
    save_file(tensors, file)
    expected = tiny_models.reference(checkpoints["bert"], QUERY, PASSAGES)
    np.testing.assert_allclose(CrossEncoder(folder).score(QUERY, PASSAGES), expected, atol=0.05)


def test_a_model_is_converted_once_and_again_when_it_changes(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "model")
    first = converted(folder)
    written = first.stat().st_mtime_ns
    assert converted(folder) == first
    assert first.stat().st_mtime_ns == written
    before = CrossEncoder(folder).score(QUERY, PASSAGES)
    tiny_models.change(folder, "classifier.bias", lambda values: values + 5)
    assert converted(folder) != first
    np.testing.assert_allclose(CrossEncoder(folder).score(QUERY, PASSAGES), before + 5, atol=1e-4)


def test_an_onnx_file_in_the_folder_is_taken_as_it_is(checkpoints, tmp_path, user_models):
    folder = tiny_models.export(checkpoints["bert"], tmp_path / "both")
    shutil.copy(checkpoints["bert"] / "model.safetensors", folder)
    assert converted(folder) == folder / "onnx" / "model.onnx"
    assert not user_models.exists()


def test_several_at_once_end_with_one_whole_model(checkpoints, user_models):
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(converted, [checkpoints["bert"]] * 8))
    assert len(files) == 1
    left = {each.name for each in (user_models / "converted").iterdir()}
    assert left == {files.pop().parent.name}


def test_a_half_written_model_is_never_taken_for_a_whole_one(checkpoints):
    file = converted(checkpoints["bert"])
    file.unlink()
    assert converted(checkpoints["bert"]) == file
    assert CrossEncoder(checkpoints["bert"]).score(QUERY, PASSAGES).shape == (len(PASSAGES),)


@pytest.mark.parametrize("harm", ["empty", "truncated", "noise"])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_weights_are_named_and_leave_nothing(checkpoints, tmp_path, user_models, capfd, kind, harm):
    folder = shutil.copytree(checkpoints[kind], tmp_path / "bad")
    tiny_models.damage(folder / "model.safetensors", harm)
    with pytest.raises(ModelInvalidError, match=r"model\.safetensors is damaged"):
        CrossEncoder(folder)
    assert list((user_models / "converted").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def with_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["DistilBertForSequenceClassification"]},
            "DistilBertFor.*BertForSequenceClassification",
        ),
        ({"architectures": None}, "no named architecture"),
        ({"hidden_act": "silu"}, "silu"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_hidden_layers": 3}, r"no tensor bert\.encoder\.layer\.2"),
        ({"num_attention_heads": None}, "config.json"),
        ({"num_attention_heads": "four"}, "config.json"),
        ({"num_attention_heads": 0}, "config.json"),
        ({"num_attention_heads": 5}, "config.json"),
    ],
)
def test_what_cannot_be_converted_is_said(checkpoints, tmp_path, changes, message):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "other")
    with_config(folder, **changes)
    with pytest.raises(ModelInvalidError, match=message):
        CrossEncoder(folder)


def test_a_missing_tensor_is_named(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "lacking")
    file = str(folder / "model.safetensors")
    tensors = load_file(file)
    del tensors["classifier.weight"]
    save_file(tensors, file)
    with pytest.raises(ModelInvalidError, match=r"no tensor classifier\.weight"):
        CrossEncoder(folder)


def test_a_folder_that_cannot_be_written(checkpoints, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="SECONDPASS_MODELS"):
        CrossEncoder(checkpoints["bert"])


def test_neither_torch_nor_remote_code(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "model")
    with_config(folder, auto_map={"AutoModelForSequenceClassification": "modeling.Evil"})
    (folder / "modeling.py").write_text("raise SystemExit('remote code was run')")
    code = (
        "import sys; from secondpass import CrossEncoder; "
        f"print(CrossEncoder({str(folder)!r}).score('sort', ['a list']).shape, "
        "[name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "(1,) []"
