"""A re-ranker that ships in 8 bits, as modules of torch that can be trained again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..checkpoints import Weights, weights_of
from ..errors import ModelInvalidError
from ..models import ModelFolder
from ..reranking.rare_words import RareWords, rare_words_of
from ..reranking.residual import reads_mutually
from .exporting import Graph
from .layers import Encoder, Layer
from .model import JointBranch, Reranker, new_reranker
from .starting import check_can_start

__all__ = ["Thawed", "thaw"]


@dataclass(frozen=True, slots=True)
class Thawed:
    """The parts of a residual cross-encoder.

    Attributes:
        encoder: the bi-encoder, frozen.
        model: tower and joint branch; the tower repeats the encoder's last layers and stays frozen.
        rarity: (vocabulary,) in 0..1.
        bias: added to each logit; it moves no passage before another.
        rare: the term for rare words, which stays as it is; None for a model without it.
    """

    encoder: Encoder
    model: Reranker
    rarity: Tensor
    bias: float
    rare: RareWords | None

    def graph(self, branch: JointBranch) -> Graph:
        """Return the whole model with another joint branch, ready to be exported."""
        return Graph(self.encoder, branch, self.rarity, self.bias).eval().requires_grad_(False)


def thaw(folder: ModelFolder) -> Thawed:
    """Return the model of a folder with its 8-bit numbers multiplied out.

    Raises:
        InputError: it is a model of another kind.
        ModelInvalidError: a tensor is missing, or has another shape than it should.
    """
    check_can_start(folder)
    path = folder.weights()
    try:
        weights = weights_of(path)
        encoder = Encoder()
        _fill_encoder(encoder, weights)
        mutual = reads_mutually(folder.json("config.json"))
        model = new_reranker(encoder.eval().requires_grad_(False), _joint_layers(weights), mutual)
        _fill_branch(model.branch, weights)
        model.tower.requires_grad_(False)
        rarity = _tensor(weights.tensor("rarity"))
        bias = float(weights.tensor("bias").reshape(-1)[0])
    except (KeyError, RuntimeError) as exc:  # a name that is not there; a shape that does not fit
        raise ModelInvalidError(f"{path} is not laid out as minilm-l6 is ({exc}); fetch it again") from exc
    return Thawed(encoder, model, rarity, bias, rare_words_of(folder, folder.json("config.json")))


def _fill_encoder(encoder: Encoder, weights: Weights) -> None:
    for name in ("words", "positions"):
        table = weights.table(f"encoder.{name}")
        wide = table[np.arange(len(table.values))]
        getattr(encoder, name).load_state_dict({"weight": _tensor(wide)})
    first = _tensor(weights.tensor("encoder.type"))  # the graph keeps the type that is used, and no other
    encoder.types.load_state_dict({"weight": torch.stack([first, torch.zeros_like(first)])})
    _fill_norm(encoder.norm, weights, "encoder.norm")
    for depth, layer in enumerate(encoder.layers):
        _fill_layer(layer, weights, f"encoder.layers.{depth}")


def _fill_branch(branch: JointBranch, weights: Weights) -> None:
    for depth, layer in enumerate(branch.layers):
        _fill_layer(layer, weights, f"branch.layers.{depth}")
    for name in ("match", "head_hidden", "head_out"):
        _fill_linear(getattr(branch, name), weights, f"branch.{name}")
    _fill_norm(branch.head_norm, weights, "branch.head_norm")
    with torch.no_grad():
        branch.passage_segment.copy_(_tensor(weights.tensor("branch.passage_segment")))
        for name in ("cosine_weight", "maxsim_weight"):
            getattr(branch, name).fill_(_number(weights.tensor, f"branch.{name}"))
        branch.log_scale.fill_(float(np.log(_number(weights.tensor, "branch.scale"))))


def _fill_layer(layer: nn.Module, weights: Weights, place: str) -> None:
    if not isinstance(layer, Layer):
        raise KeyError(place)
    for name in ("query", "key", "value", "out", "up", "down"):
        _fill_linear(getattr(layer, name), weights, f"{place}.{name}")
    for name in ("attention_norm", "output_norm"):
        _fill_norm(getattr(layer, name), weights, f"{place}.{name}")


def _fill_linear(linear: nn.Linear, weights: Weights, place: str) -> None:
    found = weights.linear(place)
    linear.load_state_dict({"weight": _tensor(found.dense().T), "bias": _tensor(found.bias)})


def _fill_norm(norm: nn.LayerNorm, weights: Weights, place: str) -> None:
    kinds = {kind: _tensor(weights.tensor(f"{place}.{kind}")) for kind in ("weight", "bias")}
    norm.load_state_dict(kinds)


def _joint_layers(weights: Weights) -> int:
    depth = 0
    while True:
        try:
            weights.tensor(f"branch.layers.{depth}.query.bias")
        except KeyError:
            return depth
        depth += 1


def _number(tensor: Callable[[str], npt.NDArray[np.generic]], name: str) -> float:
    return float(tensor(name).reshape(-1)[0].item())


def _tensor(values: npt.NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))  # a copy: the file is mapped read-only
