"""Train the re-ranker. A run that was cut off goes on exactly where its last checkpoint left it.

python -m training.train --config training/configs/first.toml [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from secondpass.models import resolve
from secondpass.tuning.thawing import thaw
from training.data import WORK
from training.live import Joined, Opener, opener
from training.model import Batch, fast_products, load_encoder, new_reranker, shape_of, word_mask
from training.states import KeptTower
from training.validate import ValidationSet, validate


class Batches:
    """Groups of one positive and some negatives; a batch depends on the seed and the step alone."""

    def __init__(self, folder: Path, settings: dict[str, Any], seed: int, texts: Opener) -> None:
        names = settings["negatives_from"]
        saved = [
            np.load(folder / f"groups-{name}.npz") for name in ([names] if isinstance(names, str) else names)
        ]
        self.query, self.positive, self.negatives = (
            np.concatenate([each[key] for each in saved]) for key in ("query", "positive", "negatives")
        )
        self.queries = texts(settings.get("queries", "queries"), False)
        self.passages = texts("passages", True)
        if settings.get("more_passages"):
            self.passages = Joined(self.passages, texts(settings["more_passages"], True))
        self.groups, self.hard, self.seed = settings["groups"], settings["hard_negatives"], seed
        self.hardest, self.random = settings["hardest_share"], settings["random_negatives"]
        self.limit = settings["passage_limit"]
        self.negatives = self.negatives[:, : settings.get("deepest", self.negatives.shape[1])]
        self.taught: np.ndarray | None = None
        if settings.get("distil"):
            self.taught = np.concatenate([each["taught"] for each in saved])
        self.hidden = settings.get("hidden", 0.0)
        self.rarity = torch.from_numpy(np.load(folder / "rarity.npy"))
        self.weights: np.ndarray | None = None
        if settings.get("balance", 1.0) < 1.0:
            source = np.concatenate([each["source"] for each in saved])
            sizes = np.bincount(source)[source]
            self.weights = sizes ** (settings["balance"] - 1.0)

    def batch(self, step: int) -> tuple[Batch, Tensor | None]:
        """Groups of a positive, hard negatives and random passages, the positive first in each.

        With them what a teacher makes of each, (groups, passages), where the groups were taught.
        """
        start = step * self.groups
        epoch, offset = divmod(start, len(self.query) - self.groups)
        chosen = self.order(epoch)[offset : offset + self.groups]
        generator = np.random.default_rng([self.seed, 1, step])
        passage: list[int] = []
        taught: list[np.ndarray] = []
        for group in chosen:
            others = generator.integers(len(self.passages), size=self.random).tolist()
            places = self.sample(self.negatives[group], generator)
            passage += [int(self.positive[group]), *self.negatives[group][places].tolist(), *others]
            if self.taught is not None:
                taught.append(self.taught[group][np.concatenate([[0], 1 + places])])
        owner = np.repeat(np.arange(self.groups), 1 + self.hard + self.random)
        query = self.hide(*self.queries.batch(self.query[chosen]))
        read = self.hide(*self.passages.batch(passage, self.limit))
        device = read[0].device
        batch = Batch(*query, *read, torch.from_numpy(owner).to(device))
        return batch, torch.from_numpy(np.stack(taught)).to(device) if taught else None

    def order(self, epoch: int) -> np.ndarray:
        """Every group once; where sets are balanced, as many of them as there are, drawn by their weights."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.weights is None:
            return generator.permutation(len(self.query))
        return generator.choice(len(self.query), len(self.query), p=self.weights / self.weights.sum())

    def hide(self, states: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hide some words, as if they were padding, so that no single one is relied on."""
        if not self.hidden:
            return states, ids, mask
        gone = (torch.rand(ids.shape, device=ids.device) < self.hidden) & (word_mask(ids) > 0)
        gone &= (word_mask(ids) * ~gone).sum(1, keepdim=True) > 0  # a text keeps a word
        return states, ids.masked_fill(gone, 0), mask.masked_fill(gone, 0.0)

    def sample(self, ordered: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Places of some negatives; their probability falls off geometrically with their rank."""
        places = np.flatnonzero(ordered >= 0)
        weights = self.hardest ** np.arange(len(places))
        return generator.choice(places, self.hard, replace=False, p=weights / weights.sum())


class Run:
    """One training run: the model, its moving average, the optimizer, and the best checkpoint so far.

    Args:
        config: of the run.
        base: folder of all-MiniLM-L6-v2; None: the encoder of the re-ranker in the package.
        data: folder of the prepared data; None: the one that the config names.
        device: where the model is: ``cpu`` or ``cuda``.
    """

    def __init__(
        self, config: dict[str, Any], base: Path | None, data: Path | None = None, device: str = "cpu"
    ) -> None:
        self.settings = config["train"]
        self.seed = self.settings.get("seed", config["seed"])
        self.folder = WORK / config["train"]["name"]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = device
        data = data or WORK / config["data"]["name"]
        start = self.settings.get("start")
        shipped = thaw(resolve("minilm-l6")) if not base or start == "minilm-l6" else None
        encoder = load_encoder(base) if base else shipped.encoder
        texts = opener(data, config, encoder.to(device))
        self.batches = Batches(data, self.settings, self.seed, texts)
        self.rarity = self.batches.rarity.to(device)
        self.sets = [
            ValidationSet(data, name, self.settings["validation_queries"], texts)
            for name in config["validation"]["sets"]
        ]
        torch.manual_seed(self.seed)
        self.model = new_reranker(encoder, *shape_of(config)).to(device)
        if start == "minilm-l6":
            self.model.load_state_dict(shipped.model.state_dict())
        elif start:
            self.model.load_state_dict(torch.load(WORK / start, weights_only=True, map_location=device))
        if not self.settings["rate_tower"]:
            self.model.tower = KeptTower(self.model.tower).requires_grad_(False)
        self.average = deepcopy(self.model).requires_grad_(False)
        self.anchor = deepcopy(self.average) if self.settings.get("distil") else None
        self.optimizer = torch.optim.AdamW(self.parameter_groups(), betas=(0.9, 0.98))
        self.step, self.best, self.history = 0, 0.0, []

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Copied layers learn slowly, new parts faster, the three weights of the residual fastest."""
        kinds: dict[str, list[Tensor]] = {"tower": [], "layers": [], "new": [], "residual": []}
        for name, parameter in self.model.named_parameters():
            new = "residual" if parameter.ndim == 0 else "new"
            kind = "tower" if name.startswith("tower") else "layers" if ".layers." in name else new
            kinds[kind].append(parameter)
        decay = {"residual": 0.0}
        return [
            {"params": each, "base": self.settings[f"rate_{kind}"], "weight_decay": decay.get(kind, 0.01)}
            for kind, each in kinds.items()
        ]

    def rate(self) -> float:
        """Linear warm-up, then linear decay to zero, as a factor."""
        warm = self.settings["warmup"]
        return min(1.0, (self.step + 1) / warm) * max(0.0, 1 - self.step / self.settings["steps"])

    def advance(self) -> tuple[float, float]:
        """One step; return the loss and the share of groups whose positive came first."""
        torch.manual_seed(self.seed * 1_000_003 + self.step)  # dropout too depends on the step alone
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * self.rate()
        batch, taught = self.batches.batch(self.step)
        with fast_products(self.device):
            logits, residual = self.model(batch, self.rarity, self.settings["dropout"])
        logits = logits.float().view(self.batches.groups, -1)
        loss = self.loss(logits, residual.float())
        if taught is not None:
            share = self.settings["distil"]
            loss = (1 - share) * loss + share * cross_entropy(logits, self.lesson(batch, taught))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.settings["average"], (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for ours, theirs in zip(self.average.parameters(), self.model.parameters(), strict=True):
                ours.lerp_(theirs, 1 - decay)
        self.step += 1
        return loss.item(), (logits.argmax(1) == 0).float().mean().item()

    def loss(self, logits: Tensor, residual: Tensor) -> Tensor:
        """Listwise softmax cross-entropy of each group; where configured, also of the residual.

        The residual is scored against every passage of the batch: those of other queries cost nothing more.
        Some groups go without their residual: it gets most groups right already, and leaves the joint branch
        little to learn from those.
        """
        groups, size = logits.shape
        device, every = logits.device, torch.arange(groups, device=logits.device)
        own = residual.view(groups, groups, size)[every, every]
        without = torch.rand(groups, 1, device=device) < self.settings.get("residual_dropout", 0.0)
        logits = logits - own * without
        loss = cross_entropy(logits, torch.zeros_like(every))
        if self.settings["residual_loss"]:
            loss = loss + self.settings["residual_loss"] * cross_entropy(residual, every * size)
        return loss

    def lesson(self, batch: Batch, taught: Tensor) -> Tensor:
        """What to believe of each group, (groups, passages): the weights it began with and a teacher, mixed.

        Their scores are brought to one spread within each group, and the mix to that of the former.
        """
        assert self.anchor is not None
        with torch.inference_mode(), fast_products(taught.device.type):
            began = self.anchor(batch, self.rarity)[0].float().view(taught.shape)
        mixed = standard(began) + self.settings["teacher_weight"] * standard(taught)
        return (began.std(1, keepdim=True) * standard(mixed)).softmax(1).clone()

    def check(self) -> None:
        """Validate the averaged weights and keep them when they are the best so far."""
        found = validate(self.sets, self.average, self.rarity)
        self.history.append({"step": self.step, **{name: round(value, 4) for name, value in found.items()}})
        if found["mean"] > self.best:
            self.best = found["mean"]
            save(self.average.state_dict(), self.folder / "best.pt")
        print("validation", json.dumps(self.history[-1]), flush=True)
        (self.folder / "history.json").write_text(json.dumps(self.history, indent=1))

    def report(self, losses: list[tuple[float, float]]) -> None:
        """Print the mean loss, the share of positives that came first, and the residual's weights."""
        loss, first = np.mean(losses, axis=0)
        branch = self.model.branch
        weights = (branch.cosine_weight, branch.maxsim_weight, branch.log_scale)
        residual = [round(each.item(), 3) for each in weights]
        clock = time.strftime("%H:%M:%S")
        print(f"{clock} step {self.step} loss {loss:.4f} first {first:.3f} residual {residual}", flush=True)

    def checkpoint(self) -> None:
        """Write everything that a later process needs to go on."""
        kept = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "history": self.history,
        }
        save(kept, self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if path.exists():
            kept = torch.load(path, weights_only=True, map_location=self.device)
            self.model.load_state_dict(kept["model"])
            self.average.load_state_dict(kept["average"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.step, self.best, self.history = kept["step"], kept["best"], kept["history"]


def standard(scores: Tensor) -> Tensor:
    """Scores with mean 0 and deviation 1 in each row."""
    return (scores - scores.mean(1, keepdim=True)) / (scores.std(1, keepdim=True) + 1e-6)


def save(what: object, path: Path) -> None:
    """Write and rename, so that a kill never leaves half a file."""
    torch.save(what, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)


def main() -> None:
    """Train to the configured number of steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="folder of all-MiniLM-L6-v2 (the package's own, in 8 bits)")
    parser.add_argument("--data", type=Path, help="folder of the prepared data (training/work/NAME)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda where a GPU is at hand")
    options = parser.parse_args()
    torch.set_num_threads(2)
    run = Run(tomllib.loads(options.config.read_text()), options.base, options.data, options.device)
    run.resume()
    if not run.history:
        run.check()
    saved, losses = time.time(), []
    last = run.settings.get("stop", run.settings["steps"])
    while run.step < last:
        losses.append(run.advance())
        if run.step % 50 == 0:
            run.report(losses)
            losses = []
        if run.step % run.settings["validate_every"] == 0 or run.step == last:
            run.check()
        if time.time() - saved > 240 or run.step == last:
            run.checkpoint()
            saved = time.time()


if __name__ == "__main__":
    main()
