"""Tiny rankers with random weights, saved as transformers saves them, and transformers' own logits for them."""

from __future__ import annotations

import inspect
import shutil
import textwrap
import warnings
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [inspect.cleandoc(str(module.__doc__)) for module in (textwrap, shutil, inspect, warnings)] + [
    "how do I sort a list of numbers in python",
    "what is the capital of France and who lives there",
    "sorted() returns a new list, list.sort() works in place",
]


def wordpiece(folder: Path, vocab_size: int = 300) -> Tokenizer:
    """Train BERT's kind of tokenizer and save it as ``tokenizer.json``."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return save(tokenizer, folder)


def unigram(folder: Path, vocab_size: int = 300) -> Tokenizer:
    """Train XLM-RoBERTa's kind of tokenizer and save it as ``tokenizer.json``."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
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


def reference(folder: Path, query: str, passages: list[str], max_length: int = 10_000) -> np.ndarray:
    """Return the logits that transformers gives, one pair at a time."""
    with quiet():
        import torch
        import transformers

        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        logits = []
        for passage in passages:
            pair = tokenizer.encode(query, passage)
            feeds = {"input_ids": pair.ids[:max_length], "attention_mask": pair.attention_mask[:max_length]}
            if model.config.model_type == "bert":
                feeds["token_type_ids"] = pair.type_ids[:max_length]
            with torch.no_grad():
                logits.append(model(**{k: torch.tensor([v]) for k, v in feeds.items()}).logits[0].numpy())
    return np.concatenate(logits)


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
