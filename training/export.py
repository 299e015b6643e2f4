"""Write the package's weights folder: ONNX in int8, tokenizer, config.

    python -m training.export --base FOLDER --config training/configs/first.toml [--model BEST.pt] [--ship]

Without ``--model`` the untrained step 0 is exported: cosine + max-sim.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from training.model import (
    DEPTH,
    Encoder,
    JointBranch,
    additive,
    load_encoder,
    match_features,
    mean_maxsim,
    new_reranker,
    pooled,
)
from training.prepare import WORK

NAME = "minilm-l6"
DESTINATION = Path("src/secondpass/weights") / NAME
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class Graph(nn.Module):
    """The whole re-ranker behind the three inputs of any BERT cross-encoder.

    All rows of a batch must hold the same query: segment 0 of row 0 is read, once, and serves every row.
    """

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
        return (residual + extra + self.bias)[:, None]


def export(graph: Graph, folder: Path) -> tuple[Path, Path]:
    """Write ``model.fp32.onnx`` and ``model.onnx`` (int8) into the folder; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    full, small = folder / "model.fp32.onnx", folder / "model.onnx"
    example = (
        torch.tensor([[101, 2054, 102, 101, 2023, 2003, 102], [101, 2054, 102, 101, 2023, 102, 0]]),
        torch.tensor([[1] * 7, [1] * 6 + [0]]),
        torch.tensor([[0] * 3 + [1] * 4, [0] * 3 + [1] * 3 + [0]]),
    )
    axes = {0: "n", 1: "tokens"}
    torch.onnx.export(
        graph.eval(),
        example,
        full,
        input_names=INPUTS,
        output_names=["logits"],
        opset_version=17,
        dynamic_axes={**dict.fromkeys(INPUTS, axes), "logits": {0: "n"}},
        dynamo=False,
    )
    simplify(full)
    model = onnx.load(full)
    weights = {each.name for each in model.graph.initializer}
    exact = [
        node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)
    ]
    quantize_dynamic(
        model,
        small,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=exact,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    name_tensors(small, graph)
    for table in ("encoder.words.weight", "encoder.positions.weight"):
        quantise_table(small, table)
    return full, small


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
            if values.shape == tuple(wanted.shape) and np.array_equal(values, wanted.detach().numpy()):
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


def pair_tokenizer(base: Path) -> dict[str, object]:
    """The base's tokenizer, with both texts written as the base knows them: each with its [CLS] and [SEP]."""
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None

    def framed(text: str, segment: int) -> list[dict[str, object]]:
        special = [{"SpecialToken": {"id": token, "type_id": segment}} for token in ("[CLS]", "[SEP]")]
        return [special[0], {"Sequence": {"id": text, "type_id": segment}}, special[1]]

    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": framed("A", 0),
        "pair": framed("A", 0) + framed("B", 1),
        "special_tokens": {
            token: {"id": token, "ids": [at], "tokens": [token]}
            for token, at in (("[CLS]", 101), ("[SEP]", 102))
        },
    }
    return tokenizer


def model_config(version: str, trained_layers: int) -> dict[str, object]:
    """What ``config.json`` of the folder says."""
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "num_labels": 1,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "secondpass": {
            "name": NAME,
            "version": version,
            "base_model": "sentence-transformers/all-MiniLM-L6-v2",
            "one_query_per_batch": True,
            "max_length": 512,
            "trained_layers": trained_layers,
        },
    }


def main() -> None:
    """Export, and copy what ships into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--calibration", type=Path, help="JSON with scale and bias, see training.calibrate")
    parser.add_argument("--version", default="0")
    parser.add_argument("--ship", action="store_true", help=f"also write {DESTINATION}")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    depth = config["model"]["trained_layers"]
    run = WORK / (config["train"]["name"] if options.model else "step0")
    full, small = export(load_graph(options, depth, WORK / config["data"]["name"]), run / "onnx")
    print(f"{full}: {full.stat().st_size / 1e6:.1f} MB, {small}: {small.stat().st_size / 1e6:.1f} MB")
    if options.ship:
        ship(options, depth, small)


def ship(options: argparse.Namespace, depth: int, model: Path) -> None:
    """Write the package's folder, and the checksums that the package verifies it by."""
    (DESTINATION / "onnx").mkdir(parents=True, exist_ok=True)
    (DESTINATION / "onnx" / "model.onnx").write_bytes(model.read_bytes())
    (DESTINATION / "config.json").write_text(
        json.dumps(model_config(options.version, depth), indent=2) + "\n"
    )
    tokenizer = json.dumps(pair_tokenizer(options.base), ensure_ascii=False, separators=(",", ":"))
    (DESTINATION / "tokenizer.json").write_text(tokenizer + "\n", encoding="utf-8")
    sums = DESTINATION.parent / "SHA256SUMS"
    others = [line for line in sums.read_text().splitlines() if f"  {NAME}/" not in line]
    files = [DESTINATION / file for file in ("config.json", "tokenizer.json", "onnx/model.onnx")]
    ours = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(sums.parent).as_posix()}"
        for file in files
    ]
    sums.write_text("\n".join(others + ours) + "\n")


def load_graph(options: argparse.Namespace, depth: int, data: Path) -> Graph:
    """Put the trained parts together, the calibration folded into the weights."""
    encoder = load_encoder(options.base)
    model = new_reranker(encoder, depth)
    if options.model:
        model.load_state_dict(torch.load(options.model, weights_only=True))
    for ours, trained in zip(encoder.layers[DEPTH - depth :], model.tower.layers, strict=True):
        ours.load_state_dict(trained.state_dict())
    rarity = torch.from_numpy(np.load(data / "rarity.npy"))
    bias, branch = 0.0, model.branch.requires_grad_(False)
    if options.calibration:
        found = json.loads(options.calibration.read_text())
        bias = found["bias"]
        branch.log_scale += torch.tensor(found["scale"]).log()
        branch.head_out.weight *= found["scale"]
        branch.head_out.bias *= found["scale"]
    return Graph(encoder, branch, rarity, bias).eval().requires_grad_(False)


if __name__ == "__main__":
    main()
