"""Check an export: ONNX against torch, independence of padding and batch, int8 against fp32, and speed.

python -m training.check --config training/configs/first.toml --base FOLDER [--model ...] [--calibration ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data import WORK
from training.export import DESTINATION, calibration_of, export, load_graph
from training.model import WIDTH, Encoder, additive, load_encoder, shape_of
from training.onnx_model import BATCH_TOKENS, ONE_ROW, OnnxReranker, pad


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--model", help="as for training.export")
    parser.add_argument("--joint", type=float, default=1.0)
    parser.add_argument("--calibration", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    config = tomllib.loads(options.config.read_text())
    data, folder = WORK / config["data"]["name"], WORK / config["train"]["name"] / "onnx"
    tokenizer = DESTINATION / "tokenizer.json"
    full = OnnxReranker(folder / "model.fp32.onnx", tokenizer)
    graph = load_graph(options, shape_of(config), data, calibration_of(options.calibration))
    texts = json.loads((data / "wikiqa.texts.json").read_text())
    found = {
        **against_torch(graph, full, texts),
        **independence(full, texts),
        "speed_ms": speed(folder, options.base, tokenizer, texts),
    }
    print(json.dumps(found, indent=1))


def against_torch(
    graph: torch.nn.Module, model: OnnxReranker, texts: dict[str, list[str]]
) -> dict[str, float]:
    """Largest difference of the logits over queries of several lengths and batches of several sizes."""
    worst = 0.0
    for query, count in zip(sorted(texts["queries"], key=len)[::30], (1, 2, 3, 5, 8), strict=False):
        feed = pad(model.encode(query, texts["passages"][: count * 7 : 7]))
        with torch.inference_mode():
            ours = graph(*(torch.from_numpy(each) for each in feed.values())).numpy()
        worst = max(worst, float(np.abs(ours - model.session.run(None, feed)[0]).max()))
    return {"onnx_against_torch": worst}


def independence(model: OnnxReranker, texts: dict[str, list[str]]) -> dict[str, float]:
    """Largest change of a logit when the pair is scored alone, and when everything is padded further."""
    pairs = model.encode(texts["queries"][0], sorted(texts["passages"], key=len)[::40])
    together = model.session.run(None, pad(pairs))[0]
    alone = np.concatenate([model.session.run(None, pad([each]))[0] for each in pairs])
    padded = model.session.run(None, pad(pairs, extra=37))[0]
    return {
        "alone_against_batch": float(np.abs(alone - together).max()),
        "padded_further": float(np.abs(padded - together).max()),
    }


class Plain(torch.nn.Module):
    """A plain six-layer cross-encoder of the same width, untrained: what the speed is compared with."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.head = encoder, torch.nn.Linear(WIDTH, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits, (n, 1)."""
        mask = additive(attention_mask.float() * (token_type_ids >= 0))
        return self.head(self.encoder(input_ids, mask)[-1][:, 0])


def speed(
    folder: Path, base: Path, tokenizer: Path, texts: dict[str, list[str]], runs: int = 9
) -> dict[str, float]:
    """Milliseconds for 20 passages of about 108 tokens, median; sessions take turns."""
    plain = export(Plain(load_encoder(base)), WORK / "plain" / "onnx")[1]
    files = {
        "fp32": (folder / "model.fp32.onnx", BATCH_TOKENS),
        "int8": (folder / "model.onnx", BATCH_TOKENS),
        "int8 row by row": (folder / "model.onnx", ONE_ROW),
        "plain int8": (plain, BATCH_TOKENS),
        "plain int8 row by row": (plain, ONE_ROW),
    }
    models = {
        f"{name}, {threads} thread{'s' * (threads > 1)}": OnnxReranker(file, tokenizer, threads, budget)
        for name, (file, budget) in files.items()
        for threads in (1, 2)
    }
    words = " ".join(texts["passages"]).split()
    passages = [" ".join(words[at * 300 : at * 300 + 80]) for at in range(20)]
    query = "how are glacier caves formed in the mountains"
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(runs):
        for name, model in models.items():
            start = time.perf_counter()
            model.score(query, passages)
            times[name].append((time.perf_counter() - start) * 1000)
    tokens = np.mean([len(ids) for ids, _ in model.encode(query, passages)])
    return {
        "tokens per pair": round(float(tokens), 1),
        **{name: round(statistics.median(each), 1) for name, each in times.items()},
    }


if __name__ == "__main__":
    main()
