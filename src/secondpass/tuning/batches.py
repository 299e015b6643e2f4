"""Training queries as batches of token ids; a batch depends on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..batching import Row
from ..tokenizing import clean
from .layers import Encoder, Tower, additive, pieces
from .model import Batch
from .values import Example, Recipe

__all__ = ["Batches", "FrozenTower", "Group", "batch_of", "in_pieces", "token_ids"]

_CLS, _SEP = 101, 102


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Return ids with [CLS] and [SEP], at most ``limit`` of them; what is too long loses its end."""
    read = tokenizer.encode_batch_fast([clean(text) for text in texts], add_special_tokens=False)
    return [[_CLS, *each.ids[: limit - 2], _SEP] for each in read]


@dataclass(frozen=True, slots=True)
class Group:
    """A query and the passages it is read with; ids of tokens."""

    query: list[int]
    passages: list[list[int]]

    def rows(self) -> list[Row]:
        """Return the query framed with each passage."""
        own = len(self.query)
        return [Row([*self.query, *each], [0] * own + [1] * len(each)) for each in self.passages]


class Batches:
    """Groups of one positive, some hard negatives and some random passages, the positive first.

    Args:
        tokenizer: of the model.
        examples: at least one.
        recipe: how large groups and batches are.
        seed: equal seeds give equal batches.
    """

    def __init__(self, tokenizer: Tokenizer, examples: Sequence[Example], recipe: Recipe, seed: int) -> None:
        self._recipe, self._seed = recipe, seed
        self._groups = min(recipe.groups, len(examples))
        texts = list(dict.fromkeys(text for each in examples for text in (*each.positives, *each.negatives)))
        place = {text: number for number, text in enumerate(texts)}
        self._passages = token_ids(tokenizer, texts, recipe.passage_tokens)
        self._queries = token_ids(tokenizer, [each.query for each in examples], recipe.query_tokens)
        self._positives = [[place[text] for text in each.positives] for each in examples]
        self._negatives = [[place[text] for text in each.negatives] for each in examples]
        self._known = [{place[text] for text in each.relevant if text in place} for each in examples]

    def batch(self, step: int) -> list[Group]:
        """Return the groups of one step; all have the same number of passages."""
        epoch, offset = divmod(step * self._groups, len(self._queries))
        order = [
            int(each)
            for number in (epoch, epoch + 1)  # the last step of an epoch reaches into the next
            for each in np.random.default_rng([self._seed, number]).permutation(len(self._queries))
        ]
        generator = np.random.default_rng([self._seed, 1, step])
        return [self._group(each, generator) for each in order[offset : offset + self._groups]]

    def _group(self, query: int, generator: np.random.Generator) -> Group:
        recipe = self._recipe
        positive = int(generator.choice(self._positives[query]))
        hard = self._hard(self._negatives[query], generator)
        missing = recipe.hard_negatives + recipe.random_negatives - len(hard)
        free = [each for each in range(len(self._passages)) if each not in self._known[query]]
        others = generator.choice(free, missing).tolist()  # a negative has been left, so there are some
        chosen = [positive, *hard, *map(int, others)]
        return Group(self._queries[query], [self._passages[each] for each in chosen])

    def _hard(self, ordered: list[int], generator: np.random.Generator) -> list[int]:
        """Return some negatives; their probability falls off geometrically with their rank."""
        weights = self._recipe.hardest_share ** np.arange(len(ordered))
        count = min(self._recipe.hard_negatives, len(ordered))
        drawn = generator.choice(len(ordered), count, replace=False, p=weights / weights.sum())
        return [ordered[int(each)] for each in drawn]


@torch.no_grad()
def batch_of(encoder: Encoder, groups: Sequence[Group], depth: int) -> Batch:
    """Return queries and passages with the frozen states from which the last ``depth`` layers go on."""
    query_ids, query_mask = _padded([group.query for group in groups])
    passage_ids, passage_mask = _padded([each for group in groups for each in group.passages])
    first = len(encoder.layers) - depth
    owner = np.repeat(np.arange(len(groups)), [len(group.passages) for group in groups])

    def begun(ids: Tensor, mask: Tensor) -> list[Tensor]:
        states: list[Tensor] = encoder(ids, additive(mask), first)
        return states[-1:]

    (query,) = in_pieces(begun, query_ids, query_mask)
    (passage,) = in_pieces(begun, passage_ids, passage_mask)
    return Batch(
        query,
        query_ids,
        query_mask,
        passage,
        passage_ids,
        passage_mask,
        torch.from_numpy(owner),
    )


class FrozenTower(Tower):
    """A tower that is not trained, run over a few texts of about the same length at a time."""

    def __init__(self, tower: Tower) -> None:
        super().__init__(0)
        self.layers = tower.layers

    @torch.no_grad()
    def forward(self, states: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the given states and those after each layer, zero for padding."""
        return in_pieces(super().forward, states, mask)


def in_pieces(work: Callable[[Tensor, Tensor], list[Tensor]], texts: Tensor, mask: Tensor) -> list[Tensor]:
    """Return what ``work`` gives for each text, ``(n, tokens, width)`` float32, zero for padding.

    Args:
        work: takes texts and their mask, padded to the longest.
        texts: (n, tokens, ...).
        mask: (n, tokens), ones and zeros.
    """
    found = list[Tensor]()
    for rows, longest in pieces(mask):
        piece = work(texts[rows, :longest], mask[rows, :longest])
        if not found:
            found = [torch.zeros(*mask.shape, each.shape[-1]) for each in piece]
        for whole, each in zip(found, piece, strict=True):
            whole[rows, :longest] = each.float()
    return found


def _padded(texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Return ids ``(n, tokens)``, 0 for padding, and the mask of ones and zeros."""
    ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for row, each in enumerate(texts):
        ids[row, : len(each)] = torch.tensor(each)
    return ids, (ids != 0).float()
