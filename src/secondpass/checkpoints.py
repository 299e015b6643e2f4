"""Checkpoints of the BERT family on our own kernels: their tensors by name, and the encoders made of them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .architectures import needs_code
from .errors import ModelInvalidError
from .inference import TokenStates, open_graph
from .models import ModelFolder
from .native import HEAD_WIDTH, Array, Encoder, Layer, Linear, Norm, Table, available
from .tensors import OnnxTensors, read_safetensors

__all__ = ["Weights", "bert_encoder", "fits", "minilm_encoder", "norm_of", "weights_of"]


@dataclass(frozen=True, slots=True)
class Weights:
    """The named tensors of a checkpoint, without the prefix its class puts before them.

    Attributes:
        tensor: gives a tensor by its name.
        linear: gives the linear map of a module by the module's name.
        table: gives an embedding table by its name.
    """

    tensor: Callable[[str], Array]
    linear: Callable[[str], Linear]
    table: Callable[[str], Table]


def weights_of(path: Path) -> Weights:
    """Return the weights of a ``.safetensors`` or ``.onnx`` file.

    A name is looked up as it is, and behind whatever prefix its class put before it. Whoever asks for one
    that is not there gets a KeyError.

    Raises:
        ModelInvalidError: the file is damaged.
    """
    if path.suffix == ".safetensors":
        return _from_safetensors(read_safetensors(path))
    return _from_onnx(OnnxTensors(path))


class _Names:
    """Full names by what they end with."""

    def __init__(self, names: Iterable[str]) -> None:
        self._full: dict[str, str] = {}
        for name in sorted(names, key=len, reverse=True):  # the shortest is written last, and stays
            parts = name.split(".")
            for start in range(len(parts)):
                self._full[".".join(parts[start:])] = name

    def __getitem__(self, name: str) -> str:
        return self._full[name]


def _from_safetensors(tensors: dict[str, Array]) -> Weights:
    names = _Names(tensors)

    def tensor(name: str) -> Array:
        return tensors[names[name]]

    def linear(name: str) -> Linear:
        return Linear(tensor(f"{name}.weight").T, None, tensor(f"{name}.bias"))

    return Weights(tensor, linear, lambda name: Table(tensor(f"{name}.weight")))


def _from_onnx(tensors: OnnxTensors) -> Weights:
    named = tensors.named
    names = _Names(named)

    def linear(name: str) -> Linear:
        bias = names[f"{name}.bias"]
        try:
            return Linear(*tensors.linear(bias), named[bias])
        except (StopIteration, ValueError, IndexError) as exc:  # other arithmetic than a linear map's
            raise KeyError(name) from exc

    def table(name: str) -> Table:
        for end in ("", "_q", "_quantized"):
            with suppress(KeyError):
                full = names[f"{name}.weight{end}"]
                if not end:
                    return Table(named[full])
                stem = full.removesuffix(end)
                zero = named.get(f"{stem}_zero_point", np.zeros(1))
                return Table(named[full], named[f"{stem}_scale"], int(zero.reshape(-1)[0]))
        raise KeyError(name)

    return Weights(lambda name: named[names[name]], linear, table)


def fits(config: dict[str, Any]) -> bool:
    """Whether the kernels can run an encoder with this ``config.json``."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if not isinstance(width, int) or not isinstance(heads, int) or heads < 1 or width < 64:
        return False
    inner = config.get("intermediate_size")
    return (
        config.get("model_type") in ("bert", "roberta", "xlm-roberta", "camembert")
        and not needs_code(config)
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and width % 64 == 0
        and width % heads == 0
        and (width // heads) % HEAD_WIDTH == 0
        and isinstance(inner, int)
        and inner > 0
        and inner % 64 == 0
    )


def bert_encoder(weights: Weights, config: dict[str, Any]) -> Encoder:
    """Return the encoder of a BERT-family checkpoint.

    Args:
        weights: with the names that transformers gives them.
        config: its ``config.json``; see ``fits``.

    Raises:
        KeyError: a tensor is not there.
    """
    epsilon = float(config.get("layer_norm_eps", 1e-12))
    offset = int(config.get("pad_token_id") or 0) + 1 if config["model_type"] != "bert" else 0
    norm = norm_of(weights, "embeddings.LayerNorm")
    layers = (
        Layer(
            {
                "query": weights.linear(f"{place}.attention.self.query"),
                "key": weights.linear(f"{place}.attention.self.key"),
                "value": weights.linear(f"{place}.attention.self.value"),
                "out": weights.linear(f"{place}.attention.output.dense"),
                "up": weights.linear(f"{place}.intermediate.dense"),
                "down": weights.linear(f"{place}.output.dense"),
            },
            (
                norm_of(weights, f"{place}.attention.output.LayerNorm"),
                norm_of(weights, f"{place}.output.LayerNorm"),
            ),
            int(config["num_attention_heads"]),
            epsilon,
        )
        for place in (f"encoder.layer.{depth}" for depth in range(int(config["num_hidden_layers"])))
    )
    return Encoder(
        weights.table("embeddings.word_embeddings"),
        weights.table("embeddings.position_embeddings"),
        weights.table("embeddings.token_type_embeddings"),
        norm.stacked(),
        tuple(layers),
        offset,
        epsilon,
    )


_MINILM = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
"""all-MiniLM-L6-v2; its weights come in a package of their own, without a config.json."""

_shared: weakref.WeakValueDictionary[tuple[str, int], Encoder] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def minilm_encoder(folder: ModelFolder, precision: str = "int8") -> TokenStates:
    """Return what gives the token states of all-MiniLM-L6-v2; all who ask for the same file share it.

    Raises:
        ModelInvalidError: the weights are missing or damaged.
    """
    path = folder.weights()
    if precision == "fp32" or not available():
        return open_graph(path)
    key = (str(path), path.stat().st_mtime_ns)
    with _lock:
        encoder = _shared.get(key)
        if encoder is None:
            try:
                encoder = _shared[key] = bert_encoder(weights_of(path), _MINILM)
            except KeyError as exc:
                raise ModelInvalidError(f"{path} has no tensor {exc}; fetch the model again") from exc
        return encoder


def norm_of(weights: Weights, name: str) -> Norm:
    """Return a layer norm by its module's name."""
    return Norm(weights.tensor(f"{name}.weight"), weights.tensor(f"{name}.bias"))
