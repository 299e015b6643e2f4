"""The training itself: loss, optimizer, moving average, checkpoints; a run that was killed goes on."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ..errors import StorageError
from .batches import Batches, FrozenTower, Group, batch_of, token_ids
from .choosing import Choosing
from .grid import Grid
from .layers import fast_products
from .model import JointBranch, Reranker
from .thawing import Thawed
from .values import Check, Example, Learnt, Progress, Recipe

__all__ = ["Learning"]

_SAVE_EVERY = 20.0
"""Seconds between checkpoints; one is 100 MB."""


class Learning:
    """One training run.

    Args:
        thawed: what it starts from.
        tokenizer: of the model.
        examples: what it learns from.
        choosing: what the checkpoint is chosen by.
        recipe: how.
        seed: equal seeds give equal weights on the same machine.
        checkpoint: file to go on from and to write.
        key: stands for everything above; a checkpoint of another key is not taken.
    """

    def __init__(
        self,
        thawed: Thawed,
        tokenizer: Tokenizer,
        examples: Sequence[Example],
        choosing: Choosing,
        recipe: Recipe,
        seed: int,
        checkpoint: Path,
        key: str,
    ) -> None:
        self._thawed, self._tokenizer, self._choosing = thawed, tokenizer, choosing
        self._recipe, self._seed, self._file, self._key = recipe, seed, checkpoint, key
        self._batches = Batches(tokenizer, examples, recipe, seed)
        self._examples = examples
        self._model = thawed.model
        self._model.tower = FrozenTower(thawed.model.tower)
        self._model.branch.requires_grad_(True)
        self._grid = Grid(self._model.branch)
        self._grid.dither(self._model.branch, seed)
        self._average = Reranker(self._model.depth, self._model.branch.mutual)
        self._average.tower = self._model.tower
        self._average.branch = deepcopy(self._model.branch).requires_grad_(False)
        self._optimizer = torch.optim.AdamW(self._parameter_groups(), betas=(0.9, 0.98))
        self._steps = recipe.steps(len(examples))
        self._step = 0
        self._checks: list[Check] = []
        self._best: dict[str, Tensor] = {}

    def run(self, unfound: int, progress: Progress | None = None) -> tuple[JointBranch, Learnt]:
        """Train to the end; return the best joint branch and what was done.

        Raises:
            StorageError: a checkpoint cannot be written.
        """
        start = time.perf_counter()
        resumed_at = self._resume()
        if not self._checks:
            self._check()
        saved, every = time.monotonic(), -(-self._steps // self._recipe.checks)
        while self._step < self._steps:
            self._advance()
            last = self._step == self._steps
            checked = last or self._step % every == 0
            if checked:
                self._check()
            if checked or time.monotonic() - saved > _SAVE_EVERY:
                self._save()
                saved = time.monotonic()
            if progress is not None:
                progress("training", self._step, self._steps)
        branch = deepcopy(self._average.branch)
        branch.load_state_dict(self._best)
        return self._grid.exported(branch), Learnt(
            steps=self._steps,
            examples=len(self._examples),
            unfound=unfound,
            negatives=sum(len(each.negatives) for each in self._examples) / len(self._examples),
            best=self._best_check(),
            checks=tuple(self._checks),
            resumed_at=resumed_at,
            seconds=time.perf_counter() - start,
        )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Copied layers learn slowly, parts that began at zero faster, the residual's weights fastest."""
        recipe = self._recipe
        rates = {"layers": recipe.rate_layers, "new": recipe.rate_new, "residual": recipe.rate_residual}
        kinds: dict[str, list[Tensor]] = {kind: [] for kind in rates}
        for name, parameter in self._model.branch.named_parameters():
            new = "residual" if parameter.ndim == 0 else "new"
            kinds["layers" if name.startswith("layers.") else new].append(parameter)
        return [
            {"params": found, "base": rates[kind], "weight_decay": 0.0 if kind == "residual" else 0.01}
            for kind, found in kinds.items()
        ]

    def _rate(self) -> float:
        """Linear warm-up over a tenth of the steps, then linear decay to zero, as a factor."""
        warm = max(1, self._steps // 10)
        return min(1.0, (self._step + 1) / warm) * (1 - self._step / self._steps)

    def _advance(self) -> None:
        """One step: listwise softmax cross-entropy of each group, whose positive stands first."""
        torch.manual_seed(self._seed * 1_000_003 + self._step)  # dropout too depends on the step alone
        for group in self._optimizer.param_groups:
            group["lr"] = group["base"] * self._rate()
        groups = self._batches.batch(self._step)
        logits = self._logits(self._model, groups, self._recipe.dropout).view(len(groups), -1)
        loss = cross_entropy(logits, torch.zeros(len(groups), dtype=torch.long))
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.branch.parameters(), 1.0)
        self._optimizer.step()
        decay = min(self._recipe.average, (self._step + 1) / (self._step + 10))
        with torch.no_grad():
            pairs = zip(self._average.branch.parameters(), self._model.branch.parameters(), strict=True)
            for ours, theirs in pairs:
                ours.lerp_(theirs, 1 - decay)
        self._step += 1

    def _logits(self, model: Reranker, groups: Sequence[Group], dropout: float = 0.0) -> Tensor:
        with fast_products():
            batch = batch_of(self._thawed.encoder, groups, model.depth)
            rounded = {f"branch.{name}": each for name, each in self._grid.rounded(model.branch).items()}
            logits: Tensor = functional_call(model, rounded, (batch, self._thawed.rarity, dropout))[0]
        if self._thawed.rare is None:
            return logits.float()
        rows = [row for group in groups for row in group.rows()]
        return logits.float() + torch.from_numpy(self._thawed.rare.term(rows))

    @torch.inference_mode()
    def _score(self, query: str, passages: Sequence[str]) -> list[float]:
        if not passages:
            return []
        (asked,) = token_ids(self._tokenizer, [query], self._recipe.query_tokens)
        read = token_ids(self._tokenizer, passages, self._recipe.passage_tokens)
        found: list[float] = self._logits(self._average, [Group(asked, read)]).tolist()
        return found

    def _check(self) -> None:
        """Measure the averaged weights; keep them where no trained ones were better."""
        found = Check(self._step, self._choosing.quality(self._score))
        self._checks.append(found)
        if self._best_check() is found or not self._best:
            self._best = {name: each.clone() for name, each in self._average.branch.state_dict().items()}

    def _best_check(self) -> Check:
        """Return the best of the trained checkpoints, of equals the later one; the base only at the start."""
        trained = [each for each in self._checks if each.step] or self._checks
        return max(trained, key=lambda each: (each.quality, each.step))

    def _save(self) -> None:
        kept = {
            "key": self._key,
            "step": self._step,
            "model": self._model.branch.state_dict(),
            "average": self._average.branch.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "checks": [(each.step, each.quality) for each in self._checks],
        }
        unfinished = self._file.with_suffix(".partial")
        try:
            torch.save(kept, unfinished)
            unfinished.replace(self._file)
        except (OSError, RuntimeError) as exc:  # torch says RuntimeError where the disk is full
            raise StorageError(
                f"cannot write a checkpoint to {self._file.parent}: {exc}; free space, or name another "
                "folder with --work"
            ) from exc

    def _resume(self) -> int | None:
        """Go on from the checkpoint if there is one of this very training; return its step."""
        kept = read_checkpoint(self._file)
        if kept is None or kept.get("key") != self._key:
            return None
        self._model.branch.load_state_dict(kept["model"])
        self._average.branch.load_state_dict(kept["average"])
        self._optimizer.load_state_dict(kept["optimizer"])
        self._best, self._step = kept["best"], kept["step"]
        self._checks = [Check(step, quality) for step, quality in kept["checks"]]
        return self._step


def read_checkpoint(file: Path) -> dict[str, Any] | None:
    """Return what a checkpoint holds; None where there is none, or none that can be read."""
    try:
        kept = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        return None
    return kept if isinstance(kept, dict) else None
