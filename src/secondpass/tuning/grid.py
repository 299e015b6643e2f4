"""Training weights that will be held in 8 bits: what is learnt must not be rounded away at the end.

The weights of a model that ships in 8 bits lie exactly on a grid. A short training moves them by less than
half of a grid's step, and the export would put nearly all of them back. So the joint layers are trained as
they will be exported: forward with rounded weights, backward as if nothing had been rounded (Bengio, Leonard
and Courville 2013, the straight-through estimator). At the start each weight is put at a random place within
its step (dither): the rounded weights are still those of the base, to the last bit, and a small change of all
weights moves a proportional share of them to the next step, instead of none.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from .model import JointBranch

__all__ = ["Grid"]

_LARGEST = 127


class Grid:
    """The grid of the joint layers' matrices: a scale for each output, from its largest weight.

    The largest weight of each output stays as it is, and with it the scale: the export finds the same grid.
    """

    def __init__(self, branch: JointBranch) -> None:
        self._scales: dict[str, Tensor] = {}
        self._pinned: dict[str, Tensor] = {}
        for name, weight in _matrices(branch).items():
            largest = weight.abs().amax(1, keepdim=True).clamp(min=1e-12)
            self._scales[name] = largest / _LARGEST
            self._pinned[name] = torch.where(weight.abs() == largest, weight, torch.nan)

    @torch.no_grad()
    def dither(self, branch: JointBranch, seed: int) -> None:
        """Move each weight to a random place that rounds to where it is."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in _matrices(branch).items():
            noise = torch.rand(weight.shape, generator=generator) - 0.5
            weight.add_(0.999 * noise * self._scales[name])  # not onto the border itself

    def rounded(self, branch: JointBranch) -> dict[str, Tensor]:
        """Return the matrices as they will be exported, by parameter name; gradients pass through."""
        return {name: self._rounded(name, weight) for name, weight in _matrices(branch).items()}

    def _rounded(self, name: str, weight: Tensor) -> Tensor:
        with torch.no_grad():
            scale, pinned = self._scales[name], self._pinned[name]
            steps = (weight / scale).round_().clamp_(-_LARGEST, _LARGEST)
            change = torch.where(pinned.isnan(), steps * scale, pinned) - weight
        return weight + change

    def exported(self, branch: JointBranch) -> JointBranch:
        """Return a copy whose matrices lie on the grid."""
        copy = deepcopy(branch).requires_grad_(False)
        copy.load_state_dict({**branch.state_dict(), **self.rounded(copy)})
        return copy


def _matrices(branch: JointBranch) -> dict[str, Tensor]:
    """Return what the export puts into 8 bits: the matrices of the joint layers, (outputs, inputs)."""
    return {
        name: each
        for name, each in branch.named_parameters()
        if name.startswith("layers.") and each.ndim == 2  # norms and biases are vectors
    }
