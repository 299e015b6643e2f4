"""The graphs of BERT and (XLM-)RoBERTa models, rankers and encoders, built by hand: no torch.

Weights are copied tensor by tensor into a file beside the graph, so that memory stays small and models over
2 GB work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import ModelInvalidError

__all__ = ["BUILT", "build"]

Floats = npt.NDArray[np.float32]

OPSET = 17
DATA_FILE = "model.onnx.data"
_ALIGNMENT = 64

BUILT = {
    "BertForSequenceClassification": "bert",
    "RobertaForSequenceClassification": "roberta",
    "XLMRobertaForSequenceClassification": "roberta",
    "CamembertForSequenceClassification": "roberta",
    "BertModel": "bert",
    "RobertaModel": "roberta",
    "XLMRobertaModel": "roberta",
    "CamembertModel": "roberta",
}
"""Architectures and the family whose graph they have. What ends in ``Model`` gives the states of tokens."""


def build(tensors: Any, weights: Path, config: dict[str, Any], target: Path) -> None:
    """Write the graph of a checkpoint, and ``model.onnx.data`` beside it.

    Args:
        tensors: an open safetensors file, as numpy.
        weights: its path, for messages.
        config: its ``config.json``, of an architecture in ``BUILT``.
        target: the ONNX file to write.

    Raises:
        ModelInvalidError: a tensor is missing, or there are several labels.
        KeyError, TypeError, ValueError: ``config.json`` does not fit the tensors.
    """
    import onnx

    architecture = str(config["architectures"][0])
    family = BUILT[architecture]
    with target.with_name(DATA_FILE).open("wb") as stream:
        graph = _Graph(_reader(tensors, weights), stream)
        if architecture.endswith("Model"):
            width = int(config["hidden_size"])
            _states(graph, family, "", config)
            model = graph.model("last_hidden_state", ["batch", "sequence", width])
        else:
            _ranker(graph, family, config)
            model = graph.model("logits", ["batch", 1])
    onnx.save_model(model, str(target))


def _reader(tensors: Any, weights: Path) -> Callable[[str], Floats]:
    names = set(tensors.keys())

    def read(name: str) -> Floats:
        older = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        found = next((each for each in (name, older) if each in names), None)
        if found is None:
            raise ModelInvalidError(
                f"{weights} has no tensor {name}; it is not the model its config.json says"
            )
        return np.ascontiguousarray(tensors.get_tensor(found), dtype=np.float32)

    return read


class _Graph:
    """An ONNX graph in the making: nodes in memory, weights streamed to the data file."""

    def __init__(self, read: Callable[[str], Floats], stream: BinaryIO) -> None:
        import onnx

        self.read = read
        self._onnx = onnx
        self._stream = stream
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs: list[str] = []

    def input(self, name: str) -> str:
        """Declare an int64 input of shape (batch, sequence)."""
        self._inputs.append(name)
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output (the names, if there are several)."""
        names = [f"{operator}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, values: Floats) -> str:
        """Write a tensor to the data file; return its name."""
        values = np.ascontiguousarray(values, dtype="<f4")
        self._stream.write(b"\0" * (-self._stream.tell() % _ALIGNMENT))
        tensor = self._onnx.TensorProto(
            name=f"weight_{len(self._weights)}", data_type=self._onnx.TensorProto.FLOAT, dims=values.shape
        )
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        place = {"location": DATA_FILE, "offset": self._stream.tell(), "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._stream.write(values.data)
        self._weights.append(tensor)
        return str(tensor.name)

    def constant(self, values: Any, dtype: type = np.int64) -> str:
        """Put a small tensor into the graph itself; return its name."""
        name = f"constant_{len(self._weights)}"
        self._weights.append(self._onnx.numpy_helper.from_array(np.array(values, dtype=dtype), name))
        return name

    def dense(self, values: str, *names: str, scale: float = 1.0) -> str:
        """Add a linear layer; several are laid side by side, and the first of them is scaled."""
        kernels = [self.read(f"{name}.weight").T for name in names]
        biases = [self.read(f"{name}.bias") for name in names]
        kernels[0], biases[0] = kernels[0] * scale, biases[0] * scale
        product = self.node("MatMul", values, self.weight(np.concatenate(kernels, axis=1)))
        return str(self.node("Add", product, self.weight(np.concatenate(biases))))

    def norm(self, values: str, name: str, epsilon: float) -> str:
        """Add a layer normalisation over the last axis."""
        scale, bias = self.weight(self.read(f"{name}.weight")), self.weight(self.read(f"{name}.bias"))
        return str(self.node("LayerNormalization", values, scale, bias, axis=-1, epsilon=epsilon))

    def model(self, name: str, shape: list[str | int]) -> Any:
        """Return the finished model; its output is the node added last, under this name."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        self._nodes[-1].output[0] = name
        inputs = [
            helper.make_tensor_value_info(each, types.INT64, ["batch", "sequence"]) for each in self._inputs
        ]
        output = helper.make_tensor_value_info(name, types.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "model", inputs, [output], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _states(graph: _Graph, family: str, prefix: str, config: dict[str, Any]) -> str:
    """Add the encoder; return the states of its last layer. Its tensors' names begin with ``prefix``."""
    heads, epsilon = int(config["num_attention_heads"]), float(config.get("layer_norm_eps", 1e-12))
    ids, mask = graph.input("input_ids"), graph.input("attention_mask")
    embed = _bert_embeddings if family == "bert" else _roberta_embeddings
    states = graph.norm(embed(graph, ids, prefix, config), f"{prefix}embeddings.LayerNorm", epsilon)
    bias = _mask_bias(graph, mask)
    for number in range(int(config["num_hidden_layers"])):
        layer = f"{prefix}encoder.layer.{number}"
        mixed = graph.node("Add", states, _attention(graph, states, bias, layer, heads))
        states = graph.norm(mixed, f"{layer}.attention.output.LayerNorm", epsilon)
        inner = _activation(graph, graph.dense(states, f"{layer}.intermediate.dense"), config)
        outer = graph.dense(inner, f"{layer}.output.dense")
        states = graph.norm(graph.node("Add", states, outer), f"{layer}.output.LayerNorm", epsilon)
    return states


def _ranker(graph: _Graph, family: str, config: dict[str, Any]) -> None:
    states = _states(graph, family, f"{family}.", config)
    first = graph.node("Gather", states, graph.constant(0), axis=1)
    pooled, head = ("bert.pooler.dense", "classifier")
    if family == "roberta":
        pooled, head = ("classifier.dense", "classifier.out_proj")
    labels = len(graph.read(f"{head}.bias"))
    if labels != 1:
        raise ModelInvalidError(
            f"the model has {labels} labels; a re-ranker gives one logit (num_labels = 1)"
        )
    graph.dense(graph.node("Tanh", graph.dense(first, pooled)), head)


def _bert_embeddings(graph: _Graph, ids: str, prefix: str, _config: dict[str, Any]) -> str:
    names = ("word", "token_type", "position")
    tables = [graph.read(f"{prefix}embeddings.{name}_embeddings.weight") for name in names]
    words = graph.node("Gather", graph.weight(tables[0]), ids)
    types = graph.node("Gather", graph.weight(tables[1]), graph.input("token_type_ids"))
    length = graph.node("Shape", ids, start=1, end=2)
    positions = graph.node("Slice", graph.weight(tables[2]), graph.constant([0]), length, graph.constant([0]))
    return str(graph.node("Add", graph.node("Add", words, types), positions))


def _roberta_embeddings(graph: _Graph, ids: str, prefix: str, config: dict[str, Any]) -> str:
    """Positions count the tokens that are not padding, from the padding's id plus one; types are all 0."""
    names = ("word", "position", "token_type")
    tables = [graph.read(f"{prefix}embeddings.{name}_embeddings.weight") for name in names]
    padding = graph.constant(int(config["pad_token_id"]))
    real = graph.node("Cast", graph.node("Not", graph.node("Equal", ids, padding)), to=7)
    count = graph.node("Mul", graph.node("CumSum", real, graph.constant(1)), real)
    places = graph.node("Add", count, padding)
    positions = graph.node("Gather", graph.weight(tables[1] + tables[2][0]), places)
    return str(graph.node("Add", graph.node("Gather", graph.weight(tables[0]), ids), positions))


def _mask_bias(graph: _Graph, mask: str) -> str:
    """Return what is added to the scores of attention: 0 for tokens, the least float32 for padding."""
    hidden = graph.node("Sub", graph.constant(1.0, np.float32), graph.node("Cast", mask, to=1))
    least = graph.node("Mul", hidden, graph.constant(np.finfo(np.float32).min, np.float32))
    return str(graph.node("Unsqueeze", least, graph.constant([1, 2])))


def _attention(graph: _Graph, states: str, bias: str, layer: str, heads: int) -> str:
    own = f"{layer}.attention.self"
    width = len(graph.read(f"{own}.query.bias"))
    if heads < 1 or width % heads:
        raise ValueError(f"{width} values cannot be shared by {heads} heads of attention")
    size = width // heads
    joint = graph.dense(states, f"{own}.query", f"{own}.key", f"{own}.value", scale=1 / math.sqrt(size))
    split = graph.node("Split", joint, graph.constant([width] * 3), outputs=3, axis=-1)
    shape = graph.constant([0, 0, heads, size])
    query, key, value = (
        graph.node("Transpose", graph.node("Reshape", part, shape), perm=order)
        for part, order in zip(split, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = graph.node("Add", graph.node("MatMul", query, key), bias)
    read = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    flat = graph.node(
        "Reshape", graph.node("Transpose", read, perm=[0, 2, 1, 3]), graph.constant([0, 0, width])
    )
    return graph.dense(flat, f"{layer}.attention.output.dense")


def _activation(graph: _Graph, values: str, config: dict[str, Any]) -> str:
    if config.get("hidden_act", "gelu") == "relu":
        return str(graph.node("Relu", values))
    scaled = graph.node("Div", values, graph.constant(math.sqrt(2), np.float32))
    gate = graph.node("Add", graph.node("Erf", scaled), graph.constant(1.0, np.float32))
    return str(graph.node("Mul", graph.node("Mul", values, gate), graph.constant(0.5, np.float32)))
