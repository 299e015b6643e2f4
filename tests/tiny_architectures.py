"""Tiny random checkpoints of the architectures that public models have, as transformers saves them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import tiny_models
from tiny_models import quiet

RANKERS = ("bert", "xlm-roberta", "deberta-v2", "modernbert")
SIZE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


def ranker(folder: Path, kind: str) -> Path:
    """Save a random ranker with one logit and its tokenizer."""
    if kind in ("bert", "xlm-roberta"):
        return tiny_models.checkpoint(folder, kind, positions=200, **SIZE)
    with quiet():
        import torch
        import transformers

        torch.manual_seed(7)
        tokenizer = tiny_models.wordpiece(folder)
        common = {**SIZE, "vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.3, "num_labels": 1}
        if kind == "deberta-v2":
            config = transformers.DebertaV2Config(
                **common,
                max_position_embeddings=200,
                relative_attention=True,
                position_buckets=16,
                norm_rel_ebd="layer_norm",
                share_att_key=True,
                pos_att_type=["p2c", "c2p"],
                position_biased_input=False,
                type_vocab_size=0,
                pooler_hidden_size=64,
            )
            transformers.DebertaV2ForSequenceClassification(config).eval().save_pretrained(folder)
        else:
            config = transformers.ModernBertConfig(
                **{**common, "num_hidden_layers": 4},
                max_position_embeddings=200,
                local_attention=16,
                global_attn_every_n_layers=3,
                classifier_pooling="mean",
                pad_token_id=0,
                bos_token_id=2,
                cls_token_id=2,
                eos_token_id=3,
                sep_token_id=3,
            )
            transformers.ModernBertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


def encoder(folder: Path, kind: str, pooling: str | None = None) -> Path:
    """Save a random encoder of kind ``bert`` or ``xlm-roberta``; ``pooling`` goes into ``1_Pooling``."""
    with quiet():
        import torch
        import transformers

        torch.manual_seed(11)
        tokenizer = tiny_models.wordpiece(folder) if kind == "bert" else tiny_models.unigram(folder)
        prefix = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}[kind]
        more = {} if kind == "bert" else {"type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
        config = getattr(transformers, f"{prefix}Config")(
            vocab_size=tokenizer.get_vocab_size(),
            max_position_embeddings=100,
            initializer_range=0.3,
            **SIZE,
            **more,
        )
        getattr(transformers, f"{prefix}Model")(config).eval().save_pretrained(folder)
    if pooling:
        (folder / "1_Pooling").mkdir()
        modes = {
            f"pooling_mode_{name}": name == pooling for name in ("mean_tokens", "cls_token", "max_tokens")
        }
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    return folder


def vectors(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """Return the unit vectors that transformers' states give, one text at a time."""
    with quiet():
        import torch
        import transformers

        model: Any = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        rows = []
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text).ids])
            with torch.no_grad():
                states = (
                    model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
                )
            row = states[0] if pooling == "cls" else states.mean(axis=0)
            rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def jina(folder: Path, bert: Path) -> Path:
    """Make of a BERT a folder that says of itself what JinaBERT's says: that its class lies beside it."""
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["JinaBertForSequenceClassification"]
    config["auto_map"] = {
        "AutoConfig": "jina/implementation--configuration_bert.JinaBertConfig",
        "AutoModelForSequenceClassification": "modeling_bert.JinaBertForSequenceClassification",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_bert.py").write_text("raise SystemExit('code of the repository was run')\n")
    return folder


def eight_bit(source: Path, target: Path) -> Path:
    """Put an ONNX file into 8 bits as the public ones are."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.parent.mkdir(parents=True, exist_ok=True)
    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)
    return target
