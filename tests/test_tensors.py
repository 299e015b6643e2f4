"""Tensors read by our own readers against the formats' own libraries, and files that are no such thing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

import tiny_models
from secondpass import models
from secondpass.errors import ModelInvalidError
from secondpass.tensors import OnnxTensors, read_safetensors

KINDS = [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int32, np.int64]
TENSORS = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays.arrays(
        kind,
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements={"allow_nan": False} if np.issubdtype(kind, np.floating) else None,
    )
)


def onnx_file(path, tensors, nodes=()):
    graph = helper.make_graph(list(nodes), "g", [], [], tensors)
    onnx.save(helper.make_model(graph), path)
    return OnnxTensors(path)


@given(found=st.dictionaries(st.text("abc.", min_size=1, max_size=8), TENSORS, max_size=5))
def test_safetensors_come_back(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("s") / "model.safetensors"
    save_file(found, path)
    read = read_safetensors(path)
    assert read.keys() == found.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(read[name], values)


def test_bfloat16_comes_as_float32(tmp_path):
    import torch
    from safetensors.torch import save_file as save

    values = torch.randn(5, 3).bfloat16()
    save({"w": values}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        read_safetensors(tmp_path / "model.safetensors")["w"], values.float().numpy()
    )


@given(found=st.dictionaries(st.text("abc.", min_size=1, max_size=8), TENSORS, max_size=5))
def test_initializers_come_back(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("o") / "model.onnx"
    read = onnx_file(path, [numpy_helper.from_array(values, name) for name, values in found.items()]).named
    assert read.keys() == found.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(read[name], values)


def test_values_that_do_not_lie_in_the_raw_field(tmp_path):
    tensors = [
        helper.make_tensor("floats", TensorProto.FLOAT, [3], [0.5, -1.5, 2]),
        helper.make_tensor("bytes", TensorProto.INT8, [3], [-128, 0, 127]),
        helper.make_tensor("scalar", TensorProto.UINT8, [], [200]),
    ]
    read = onnx_file(tmp_path / "model.onnx", tensors).named
    assert {name: values.tolist() for name, values in read.items()} == {
        "floats": [0.5, -1.5, 2],
        "bytes": [-128, 0, 127],
        "scalar": 200,
    }


def test_a_weight_is_found_through_its_bias(tmp_path):
    rng = np.random.default_rng(0)
    small = rng.integers(-127, 127, (4, 3)).astype(np.int8)
    wide = rng.normal(size=(4, 3)).astype(np.float32)
    tensors = {
        "plain": wide, "plain.bias": np.zeros(3, np.float32),
        "gemm": wide.T.copy(), "gemm.bias": np.zeros(3, np.float32),
        "stored": small, "stored_scale": np.ones((1, 3), np.float32), "before.bias": np.zeros(3, np.float32),
        "w_quantized": small, "w_scale": np.full(3, 2, np.float32), "w_zero_point": np.zeros(3, np.int8),
        "after.bias": np.zeros(3, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "plain"], ["p"]),
        helper.make_node("Add", ["plain.bias", "p"], ["y1"]),
        helper.make_node("Gemm", ["x", "gemm", "gemm.bias"], ["y2"], transB=1),
        helper.make_node("Cast", ["stored"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "stored_scale"], ["s"]),
        helper.make_node("MatMul", ["x", "s"], ["q"]),
        helper.make_node("Add", ["q", "before.bias"], ["y3"]),
        helper.make_node("MatMulInteger", ["x8", "w_quantized", "z", "w_zero_point"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "w_scale"], ["both"]),
        helper.make_node("Mul", ["f", "both"], ["r"]),
        helper.make_node("Add", ["after.bias", "r"], ["y4"]),
    ]
    stored = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    found = onnx_file(tmp_path / "model.onnx", stored, nodes)
    for bias, weight, scale in (
        ("plain.bias", wide, None),
        ("gemm.bias", wide, None),
        ("before.bias", small, [1, 1, 1]),
        ("after.bias", small, [2, 2, 2]),
    ):
        got, by = found.linear(bias)
        np.testing.assert_array_equal(got, weight)
        assert (None if by is None else by.tolist()) == scale
    with pytest.raises(KeyError):
        found.linear("nobody.bias")


def test_the_shipped_weights_are_found_whole():
    tensors = OnnxTensors(models.resolve("minilm-l6").weights())
    for depth in range(6):
        weight, scale = tensors.linear(f"encoder.layers.{depth}.query.bias")
        assert weight.shape == (384, 384)
        assert weight.dtype == np.int8
        assert scale.shape == (384,)


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 40, b"\x3a\xff\xff\xff\x7f", b"\x08\x08"])
def test_a_file_that_is_no_model_is_one_clear_error(tmp_path, content):
    for name, read in (
        ("model.onnx", lambda path: OnnxTensors(path).named),
        ("model.safetensors", read_safetensors),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelInvalidError, match=str(path)):
            read(path)


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_a_damaged_safetensors_file(tmp_path, harm):
    folder = tiny_models.checkpoint(tmp_path, "bert")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000]) if harm == "cut" else path.unlink()
    with pytest.raises(ModelInvalidError, match=str(path)):
        read_safetensors(path)
