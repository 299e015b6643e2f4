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
import torch

from secondpass.tuning.exporting import Graph, export
from training.data import WORK
from training.model import DEPTH, load_encoder, new_reranker, shape_of

NAME = "minilm-l6"
DESTINATION = Path("src/secondpass/weights") / NAME


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


def model_config(version: str, trained_layers: int, mutual: bool) -> dict[str, object]:
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
            "mutual": mutual,
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
    shape = shape_of(config)
    run = WORK / (config["train"]["name"] if options.model else "step0")
    full, small = export(load_graph(options, shape, WORK / config["data"]["name"]), run / "onnx")
    print(f"{full}: {full.stat().st_size / 1e6:.1f} MB, {small}: {small.stat().st_size / 1e6:.1f} MB")
    if options.ship:
        ship(options, shape, small)


def ship(options: argparse.Namespace, shape: tuple[int, bool], model: Path) -> None:
    """Write the package's folder, and the checksums that the package verifies it by."""
    (DESTINATION / "onnx").mkdir(parents=True, exist_ok=True)
    (DESTINATION / "onnx" / "model.onnx").write_bytes(model.read_bytes())
    (DESTINATION / "config.json").write_text(
        json.dumps(model_config(options.version, *shape), indent=2) + "\n"
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


def load_graph(options: argparse.Namespace, shape: tuple[int, bool], data: Path) -> Graph:
    """Put the trained parts together, the calibration folded into the weights."""
    encoder = load_encoder(options.base)
    model = new_reranker(encoder, *shape)
    if options.model:
        model.load_state_dict(torch.load(options.model, weights_only=True))
    for ours, trained in zip(encoder.layers[DEPTH - shape[0] :], model.tower.layers, strict=True):
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
