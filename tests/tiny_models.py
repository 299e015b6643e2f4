"""Tiny rankers with random weights, saved as transformers saves them, and transformers' own logits."""

from __future__ import annotations

import inspect
import shutil
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

CORPUS = [inspect.cleandoc(str(module.__doc__)) for module in (textwrap, shutil, inspect, warnings)] + [
    "how do I sort a list of numbers in python",
    "what is the capital of France and who lives there",
    "sorted() returns a new list, list.sort() works in place",
]


def commonest(words: list[str], size: int, inside: str = "") -> list[str]:
    """Return every letter and the commonest beginnings and endings of ``words``, ``size`` in all.

    The trainers of ``tokenizers`` break ties at random: no two runs would test the same model.
    """
    letters = {word[0] for word in words} | {inside + letter for word in words for letter in word[1:]}
    count = Counter(word[:end] for word in words for end in range(2, len(word) + 1))
    count.update(inside + word[start:] for word in words for start in range(1, len(word) - 1))
    ranked = sorted(count.keys() - letters, key=lambda piece: (-count[piece], piece))
    return [*sorted(letters), *ranked][:size]


def wordpiece(folder: Path, vocab_size: int = 300) -> Tokenizer:
    """Save BERT's kind of tokenizer, with the commonest pieces of the corpus, as ``tokenizer.json``."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [word for text in CORPUS for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [*special, *commonest(words, vocab_size - len(special), "##")]
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return save(tokenizer, folder)


def unigram(folder: Path, vocab_size: int = 300) -> Tokenizer:
    """Save XLM-RoBERTa's kind of tokenizer, pieces likewise, as ``tokenizer.json``."""
    splitter = pre_tokenizers.Metaspace()
    words = [word for text in CORPUS for word, _ in splitter.pre_tokenize_str(text)]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = commonest(words, vocab_size - len(special))
    # a piece costs by its rank; a letter, the last resort, costs most
    scored = [(piece, -20.0 if len(piece) == 1 else -log(rank + 2)) for rank, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram([*((name, 0.0) for name in special), *scored], unk_id=3))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), splitter
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return save(tokenizer, folder)


def save(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def checkpoint(folder: Path, kind: str, labels: int = 1, positions: int = 64, **settings: object) -> Path:
    """Save a random ranker of kind ``bert`` or ``xlm-roberta`` with its tokenizer."""
    with quiet():
        import torch
        import transformers

        torch.manual_seed(7)
        tokenizer = wordpiece(folder) if kind == "bert" else unigram(folder)
        prefix = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}[kind]
        size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
        if kind == "xlm-roberta":
            settings = {"type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, **settings}
        config = getattr(transformers, f"{prefix}Config")(
            vocab_size=tokenizer.get_vocab_size(),
            max_position_embeddings=positions,
            initializer_range=0.3,
            num_labels=labels,
            **{**size, **settings},
        )
        model = getattr(transformers, f"{prefix}ForSequenceClassification")(config).eval()
        model.save_pretrained(folder)
    return folder


@cache
def _torch_model(folder: Path) -> Any:
    import transformers

    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()


def logits_of(folder: Path, ids: list[int], types: list[int]) -> np.ndarray:
    """Return the logits ``(labels,)`` that transformers gives for one sequence."""
    with quiet():
        import torch

        model = _torch_model(folder)
        feeds = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        }
        if model.config.model_type == "bert":
            feeds["token_type_ids"] = torch.tensor([types])
        with torch.no_grad():
            return model(**feeds).logits[0].numpy()


def reference(folder: Path, query: str, passages: list[str]) -> np.ndarray:
    """Return the logits that transformers gives, one pair at a time."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pairs = [tokenizer.encode(query, passage) for passage in passages]
    return np.concatenate([logits_of(folder, pair.ids, pair.type_ids) for pair in pairs])


def export(folder: Path, target: Path) -> Path:
    """Export a checkpoint to ``target/onnx/model.onnx`` with torch's exporter; copy the rest."""
    (target / "onnx").mkdir(parents=True)
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(folder / file, target / file)
    with quiet():
        import torch

        model = _torch_model(folder)
        names = ["input_ids", "attention_mask"]
        names += ["token_type_ids"] if model.config.model_type == "bert" else []

        class Logits(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *feeds: Any) -> Any:
                return self.model(**dict(zip(names, feeds, strict=True))).logits

        ones = torch.ones(2, 8, dtype=torch.long)
        feeds = {"input_ids": ones * 5, "attention_mask": ones, "token_type_ids": ones * 0}
        torch.onnx.export(
            Logits().eval(),
            tuple(feeds[name] for name in names),
            str(target / "onnx" / "model.onnx"),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    return target


def change(folder: Path, tensor: str, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change one tensor of ``model.safetensors``."""
    file = str(folder / "model.safetensors")
    tensors = load_file(file)
    tensors[tensor] = how(tensors[tensor]).astype(np.float32)
    save_file(tensors, file, metadata={"format": "pt"})


def damage(file: Path, harm: str) -> None:
    """Remove, empty, truncate or overwrite a file."""
    content = file.read_bytes()
    if harm == "missing":
        file.unlink()
        return
    noise = np.random.default_rng(7).integers(0, 256, len(content), dtype=np.uint8).tobytes()
    file.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "noise": noise}[harm])


class quiet(warnings.catch_warnings):  # noqa: N801
    """Let torch and transformers warn about themselves."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        try:
            import transformers
        except ImportError:
            return
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
