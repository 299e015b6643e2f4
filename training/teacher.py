"""What a larger bi-encoder makes of every group: the max-sim of its token states.

python -m training.teacher --config training/configs/ninth.toml --teacher FOLDER

FOLDER holds all-mpnet-base-v2 as transformers reads it (Apache-2.0; 110 million weights, trained on the pairs
that all-MiniLM-L6-v2 was trained on). Its vocabulary holds all of ours, so it reads the very tokens that the
student reads. Writes ``groups-taught.npz``: the groups that the config names, with ``taught`` (n, 1 +
deepest), the score of the positive and of each negative, nan where there is none.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel

from training.data import WORK
from training.states import States

BATCH_TOKENS = 1600  # small batches stay in the caches
ALIAS = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>"}


class Teacher:
    """A bi-encoder whose token states are compared one by one."""

    def __init__(self, folder: Path, ours: Tokenizer) -> None:
        theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
        words = ours.get_vocab()
        self.ids = torch.zeros(max(words.values()) + 1, dtype=torch.long)
        for word, place in words.items():
            found = theirs.token_to_id(ALIAS.get(word, word))
            self.ids[place] = found if found is not None else theirs.token_to_id("[UNK]")
        self.model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()

    @torch.inference_mode()
    def read(self, texts: list[np.ndarray]) -> list[Tensor]:
        """Return the unit token states of each text, (tokens, width) bfloat16."""
        ids = pad_sequence([torch.from_numpy(text.astype(np.int64)) for text in texts], batch_first=True)
        states = self.model(self.ids[ids], (ids != 0).long()).last_hidden_state
        return [
            normalize(states[row, : len(text)].float(), dim=-1).bfloat16() for row, text in enumerate(texts)
        ]

    def read_all(self, texts: Sequence[np.ndarray], needed: np.ndarray) -> Iterator[tuple[int, Tensor]]:
        """Yield the places of the needed texts, each with its states, short ones first."""
        for batch in by_length([texts[each] for each in needed]):
            some = needed[batch].tolist()
            yield from zip(some, self.read([texts[each] for each in some]), strict=True)


def by_length(ids: Sequence[Sized]) -> list[list[int]]:
    """Positions sorted by length and cut into batches of about BATCH_TOKENS tokens."""
    batches: list[list[int]] = [[]]
    for text in sorted(range(len(ids)), key=lambda at: len(ids[at])):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[text]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(text)
    return batches


def teach(
    teacher: Teacher, queries: States, passages: States, asked: np.ndarray, read: np.ndarray
) -> np.ndarray:
    """Return the mean max-sim over the query's words for each pair, (n, m); nan where there is no passage.

    Args:
        teacher: reads both.
        queries: all of them.
        passages: all of them.
        asked: the query of each row, (n,).
        read: the passages of each row, (n, m), -1 where there is none.
    """
    words = dict(teacher.read_all(queries.texts(), np.unique(asked)))
    print(time.strftime("%H:%M:%S"), len(words), "queries", flush=True)
    found = np.full(read.shape, np.nan, np.float32)
    flat = read.ravel()
    order = np.argsort(flat, kind="stable")
    needed, first = np.unique(flat[order], return_index=True)
    places = dict(zip(needed.tolist(), np.split(order, first[1:]), strict=True))
    needed = needed[needed >= 0]
    for done, (each, states) in enumerate(teacher.read_all(passages.texts(), needed), start=1):
        rows = places[each]
        spoken = [words[int(asked[row // read.shape[1]])][1:-1] for row in rows]
        best = (torch.cat(spoken) @ states.T).max(1).values.float()
        owner = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(one) for one in spoken]))
        total = torch.zeros(len(rows)).index_add_(0, owner, best)
        found.flat[rows] = (total / torch.bincount(owner, minlength=len(rows))).numpy()
        if done % 2000 == 0:
            print(time.strftime("%H:%M:%S"), done, "of", len(needed), "passages", flush=True)
    return found


def main() -> None:
    """Write ``groups-taught.npz``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of all-mpnet-base-v2")
    options = parser.parse_args()
    torch.set_num_threads(2)
    config: dict[str, Any] = tomllib.loads(options.config.read_text())
    data, taught = WORK / config["data"]["name"], config["teacher"]
    saved = np.load(data / f"groups-{taught['of']}.npz")
    groups = {name: saved[name] for name in saved}
    groups["negatives"] = groups["negatives"][:, : taught["deepest"]]
    teacher = Teacher(options.teacher, Tokenizer.from_file(str(options.base / "tokenizer.json")))
    queries, passages = States(data / taught["queries"]), States(data / "passages")
    read = np.concatenate([groups["positive"][:, None], groups["negatives"]], 1)
    scores = teach(teacher, queries, passages, groups["query"], read)
    np.savez(data / "groups-taught.npz", **groups, taught=scores)


if __name__ == "__main__":
    main()
