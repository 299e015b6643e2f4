"""Write the package's weights folder: ONNX in int8, tokenizer, config.

    python -m training.export --config training/configs/first.toml [--base FOLDER] [--model BEST.pt] [--ship]

Without ``--model`` the untrained step 0 is exported: cosine + max-sim. Model folders are written beside the
run: ``model`` in 8 bits, ``model-fp32`` exact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secondpass.models import resolve
from secondpass.reranking.rare_words import RARE_WORDS_FILE
from secondpass.tuning.exporting import Graph, export
from secondpass.tuning.thawing import thaw
from training.data import WORK
from training.model import DEPTH, load_encoder, new_reranker, shape_of
from training.word_table import RARE

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


def model_config(version: str, shape: tuple[int, bool], rare_words: float) -> dict[str, object]:
    """What ``config.json`` of the folder says.

    Args:
        version: of the model.
        shape: see `shape_of`.
        rare_words: weight of the term for rare words, in logits; 0 for a model without it.
    """
    trained_layers, mutual = shape
    term = {"rare_words": {"weight": rare_words, "threshold": RARE}} if rare_words else {}
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
            **term,
        },
    }


def main() -> None:
    """Export, and copy what ships into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="folder of all-MiniLM-L6-v2 (the package's own, in 8 bits)")
    parser.add_argument("--model", help="a file of weights, or minilm-l6 for those in the package")
    parser.add_argument("--joint", type=float, default=1.0, help="what the joint branch is multiplied by")
    parser.add_argument("--rare-words", type=float, default=0.0, help="weight of the term for rare words")
    parser.add_argument("--calibration", type=Path, help="JSON with scale and bias, see training.calibrate")
    parser.add_argument("--version", default="0")
    parser.add_argument("--ship", action="store_true", help=f"also write {DESTINATION}")
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    data, run = WORK / config["data"]["name"], WORK / (config["train"]["name"] if options.model else "step0")
    found = calibration_of(options.calibration)
    full, small = export(load_graph(options, shape_of(config), data, found), run / "onnx")
    print(f"{full}: {full.stat().st_size / 1e6:.1f} MB, {small}: {small.stat().st_size / 1e6:.1f} MB")
    said = model_config(options.version, shape_of(config), options.rare_words * found["scale"])
    tokenizer = pair_tokenizer(options.base) if options.base else None
    for graph, folder in ((small, run / "model"), (full, run / "model-fp32")):
        write_folder(folder, graph, said, tokenizer, data)
    if options.ship:
        ship(run / "model")


def calibration_of(file: Path | None) -> dict[str, float]:
    """Scale and bias of a calibration; 1 and 0 without one."""
    found: dict[str, float] = json.loads(file.read_text()) if file else {"scale": 1.0, "bias": 0.0}
    return found


def write_folder(
    folder: Path, graph: Path, config: dict[str, Any], tokenizer: dict[str, object] | None, data: Path
) -> None:
    """Write a model folder as `CrossEncoder` reads it."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(graph, folder / "onnx" / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if tokenizer is None:
        shutil.copyfile(DESTINATION / "tokenizer.json", folder / "tokenizer.json")
    else:
        text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
        (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    if "rare_words" in config["secondpass"]:
        shutil.copyfile(data / RARE_WORDS_FILE, folder / RARE_WORDS_FILE)


def ship(folder: Path) -> None:
    """Write the package's folder, and the checksums that the package verifies it by."""
    sums = DESTINATION.parent / "SHA256SUMS"
    others = [line for line in sums.read_text().splitlines() if f"  {NAME}/" not in line]
    names = ["config.json", "tokenizer.json", RARE_WORDS_FILE, "onnx/model.onnx"]
    ours = []
    for name in names:
        if (folder / name).exists():
            shutil.copyfile(folder / name, DESTINATION / name)
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            ours.append(f"{digest}  {NAME}/{name}")
    sums.write_text("\n".join(others + ours) + "\n")


def load_graph(
    options: argparse.Namespace, shape: tuple[int, bool], data: Path, calibration: dict[str, float]
) -> Graph:
    """Put the trained parts together, the calibration folded into the weights."""
    thawed, bias = thaw(resolve(NAME)), 0.0
    encoder = load_encoder(options.base) if options.base else thawed.encoder
    model = new_reranker(encoder, *shape)
    rarity = torch.from_numpy(np.load(data / "rarity.npy"))
    if options.model == NAME:
        model, rarity, bias = thawed.model, thawed.rarity, thawed.bias
    elif options.model:
        model.load_state_dict(torch.load(options.model, weights_only=True))
    for ours, trained in zip(encoder.layers[DEPTH - shape[0] :], model.tower.layers, strict=True):
        ours.load_state_dict(trained.state_dict())
    branch, scale = model.branch.requires_grad_(False), calibration["scale"]
    branch.log_scale += torch.tensor(scale).log()
    branch.head_out.weight *= scale * options.joint
    branch.head_out.bias *= scale * options.joint
    return Graph(encoder, branch, rarity, scale * bias + calibration["bias"]).eval().requires_grad_(False)


if __name__ == "__main__":
    main()
