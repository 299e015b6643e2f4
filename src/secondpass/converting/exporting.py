"""Safetensors to ONNX with torch's exporter: architectures whose graphs are not built by hand."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, ModelInvalidError
from ..models import ModelFolder

__all__ = ["EXPORTED", "export"]

EXPORTED = ("DebertaV2ForSequenceClassification", "ModernBertForSequenceClassification")
"""What has been compared with torch at several lengths, with padding and without."""
_OPSET = 17
_FEEDS = ("input_ids", "attention_mask", "token_type_ids")


def export(folder: ModelFolder, target: Path) -> None:
    """Write the graph of a sequence-classification checkpoint in float32.

    Only classes that transformers itself has are made: code that lies in the folder is never run.

    Args:
        folder: with ``config.json`` and ``model.safetensors``.
        target: the ONNX file to write.

    Raises:
        MissingExtraError: torch, transformers or onnx is not installed.
        ModelInvalidError: the checkpoint is damaged or does not fit its ``config.json``.
    """
    with _silence():
        try:
            import onnx  # noqa: F401  torch's exporter needs it and says so late
            import torch
            import transformers
        except ImportError as exc:
            raise MissingExtraError("torch and onnx", "torch,convert", f"converting {folder.name}") from exc
        library: Any = transformers
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
        model = _opened(library, torch, folder)
        names = [name for name in _FEEDS if name != "token_type_ids" or _types(model.config)]

        class Logits(torch.nn.Module):  # type: ignore[misc, unused-ignore]
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *feeds: Any) -> Any:
                return self.model(**dict(zip(names, feeds, strict=True))).logits

        ones = torch.ones(2, 24, dtype=torch.long)
        feeds = {"input_ids": ones * 3, "attention_mask": ones, "token_type_ids": ones * 0}
        axes = {name: {0: "batch", 1: "sequence"} for name in names}
        torch.onnx.export(
            Logits().eval(),
            tuple(feeds[name] for name in names),
            str(target),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _opened(transformers: Any, torch: Any, folder: ModelFolder) -> Any:
    try:
        model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            str(folder.path),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as exc:  # the library raises many types
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
        raise ModelInvalidError(f"cannot open {folder.path}: {reason}; fetch the model again") from exc
    named = folder.json("config.json")["architectures"][0]
    if type(model).__name__ != named:
        raise ModelInvalidError(
            f"{folder.path}/config.json names {named}, but its model_type stands for {type(model).__name__}"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelInvalidError(
            f"{folder.path} has no tensor {missing[0]}; it is not the model its config.json says"
        )
    if model.config.num_labels != 1:
        raise ModelInvalidError(
            f"the model has {model.config.num_labels} labels; a re-ranker gives one logit (num_labels = 1)"
        )
    return model.eval()


def _types(config: Any) -> bool:
    """Whether the model tells the query's tokens from the passage's by more than the separator."""
    return int(getattr(config, "type_vocab_size", 0) or 0) > 0


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep warnings of torch and transformers, which are about themselves, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
