"""Write a residual cross-encoder as ONNX: exact, and with its matrices and tables in 8 bits.

Importing this module imports torch and onnx.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from .layers import DEPTH, Encoder, additive, pooled
from .model import JointBranch, match_features, mean_maxsim

__all__ = ["INPUTS", "Graph", "export", "name_tensors", "quantise_table", "simplify"]

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class Graph(nn.Module):
    """The whole re-ranker behind the three inputs of any BERT cross-encoder.

    All rows of a batch must hold the same query: segment 0 of row 0 is read, once, and serves every row.
    """

    rarity: Tensor
    bias: Tensor

    def __init__(self, encoder: Encoder, branch: JointBranch, rarity: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.branch = encoder, branch
        self.register_buffer("rarity", rarity)
        self.register_buffer("bias", torch.tensor(bias))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits, (n, 1)."""
        length = (attention_mask[0] * (1 - token_type_ids[0])).sum()
        query_ids, passage_ids = input_ids[:1, :length], input_ids[:, length:]
        query_mask = torch.ones_like(query_ids).float()
        passage_mask = attention_mask[:, length:].float()
        query = self.encoder(query_ids, additive(query_mask))
        passage = self.encoder(passage_ids, additive(passage_mask))
        unit = [nn.functional.normalize(states[-1], dim=-1) for states in (query, passage)]
        cosine = (pooled(query[-1], query_mask) * pooled(passage[-1], passage_mask)).sum(1)
        features = match_features(unit[0], query_ids, unit[1], passage_ids, passage_mask, self.rarity)
        residual = self.branch.residual(cosine, mean_maxsim(features[..., 0], query_mask))
        first = DEPTH - len(self.branch.layers)
        rows = torch.ones_like(passage_mask[:, :1])
        start = query[first] * rows[:, :, None]
        extra = self.branch(start, query_mask * rows, passage[first:DEPTH], passage_mask, features)
        logits: Tensor = (residual + extra + self.bias)[:, None]
        return logits


def export(graph: Graph, folder: Path) -> tuple[Path, Path]:
    """Write ``model.fp32.onnx`` and ``model.onnx`` (int8) into the folder; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    full, small = folder / "model.fp32.onnx", folder / "model.onnx"
    with _silence():
        _trace(graph, full)
        simplify(full)
        _quantise(full, small)
    name_tensors(small, graph)
    for table in ("encoder.words.weight", "encoder.positions.weight"):
        quantise_table(small, table)
    return full, small


def _trace(graph: Graph, target: Path) -> None:
    example = (
        torch.tensor([[101, 2054, 102, 101, 2023, 2003, 102], [101, 2054, 102, 101, 2023, 102, 0]]),
        torch.tensor([[1] * 7, [1] * 6 + [0]]),
        torch.tensor([[0] * 3 + [1] * 4, [0] * 3 + [1] * 3 + [0]]),
    )
    axes = {0: "n", 1: "tokens"}
    torch.onnx.export(
        graph.eval(),
        example,
        target,
        input_names=INPUTS,
        output_names=["logits"],
        opset_version=17,
        dynamic_axes={**dict.fromkeys(INPUTS, axes), "logits": {0: "n"}},
        dynamo=False,
    )


def _quantise(source: Path, target: Path) -> None:
    model = onnx.load(source)
    weights = {each.name for each in model.graph.initializer}
    exact = [
        node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)
    ]
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=exact,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Keep warnings of the exporter and the quantiser, which are about themselves, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def quantise_table(path: Path, name: str) -> None:
    """Store an embedding table as int8 with a scale for each row.

    The quantizer takes one scale for a whole table; on 150 queries that alone changed the top 3 of three.
    """
    model = onnx.load(path)
    (table,) = [each for each in model.graph.initializer if each.name == name]
    values = onnx.numpy_helper.to_array(table)
    scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12) / 127
    model.graph.initializer.remove(table)
    model.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}_q"),
            onnx.numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"),
        ]
    )
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] == name:
            rows, scales, wide = (f"{node.output[0]}_{part}" for part in ("rows", "scales", "wide"))
            make = onnx.helper.make_node
            nodes += [
                make("Gather", [f"{name}_q", node.input[1]], [rows]),
                make("Gather", [f"{name}_scale", node.input[1]], [scales]),
                make("Cast", [rows], [wide], to=onnx.TensorProto.FLOAT),
                make("Mul", [wide, scales], [node.output[0]]),
            ]
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def name_tensors(path: Path, graph: Graph) -> None:
    """Give what the exporter folded into nameless constants its name, for runtimes that look for it."""
    known = {
        "encoder.type": graph.encoder.types.weight[0],
        "branch.passage_segment": graph.branch.passage_segment,
        "branch.scale": graph.branch.log_scale.exp(),
    }
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        for name, wanted in known.items():
            expected = wanted.detach().numpy()  # the exporter's exp may differ from torch's in the last bit
            if values.shape == expected.shape and np.allclose(values, expected, rtol=1e-6, atol=0):
                for node in model.graph.node:
                    node.input[:] = [name if each == tensor.name else each for each in node.input]
                tensor.name = name
    missing = sorted(known.keys() - {tensor.name for tensor in model.graph.initializer})
    if missing:
        raise ValueError(f"{path}: not found among the constants: {', '.join(missing)}")
    onnx.save(model, path)


def simplify(path: Path) -> None:
    """Fold constants and drop Identity nodes, which hide shared weights from the quantizer."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(path.with_suffix(".simple"))
    onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    path.with_suffix(".simple").replace(path)
