"""The recipe's teacher (training/teacher.py): a small random MPNet, and what a run learns from it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1]))  # the recipe is no part of the package

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from training.states import States
from training.teacher import Teacher, teach
from training.train import Run, standard

OURS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "bread", "oven", "river", "boat"]
THEIRS = ["<s>", "<pad>", "</s>", "[UNK]", "boat", "river", "oven", "bread"]


def tokenizer(words: list[str]) -> Tokenizer:
    return Tokenizer(WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    folder = tmp_path_factory.mktemp("mpnet")
    torch.manual_seed(5)
    config = transformers.MPNetConfig(
        vocab_size=len(THEIRS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    transformers.MPNetModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer(THEIRS).save(str(folder / "tokenizer.json"))
    return Teacher(folder, tokenizer(OURS))


def states(folder: Path, name: str, *texts: str) -> States:
    ids = [[2, *(OURS.index(word) for word in text.split()), 3] for text in texts]
    flat = np.array([each for one in ids for each in one], np.int32)
    starts = np.cumsum([0, *map(len, ids)])
    np.savez(folder / f"{name}.npz", ids=flat, starts=starts, pooled=np.zeros((len(ids), 384), np.float32))
    np.zeros((len(flat), 384), np.int16).tofile(folder / f"{name}.bf16")
    return States(folder / name)


def test_words_are_those_of_the_student_under_the_teacher_s_numbers(teacher: Teacher) -> None:
    assert [THEIRS[each] for each in teacher.ids] == [
        "<pad>", "[UNK]", "<s>", "</s>", "bread", "oven", "river", "boat"
    ]  # fmt: skip


def test_every_pair_has_the_score_that_it_has_alone(teacher: Teacher, tmp_path: Path) -> None:
    queries = states(tmp_path, "queries", "bread", "river boat", "oven bread oven")
    passages = states(tmp_path, "passages", "boat", "bread oven river boat bread", "river river", "oven")
    asked = np.array([2, 0, 1, 0])
    read = np.array([[1, 0, 3], [2, 1, -1], [0, 1, 2], [3, 0, 1]])
    found = teach(teacher, queries, passages, asked, read)
    assert np.isnan(found).tolist() == (read < 0).tolist()
    for query, row, scores in zip(asked, read, found, strict=True):
        for passage, score in zip(row, scores, strict=True):
            if passage >= 0:
                spoken, heard = (
                    teacher.read([side.texts()[each]])[0].float().numpy()
                    for side, each in ((queries, query), (passages, passage))
                )
                alone = (spoken[1:-1] @ heard.T).max(1).mean()
                assert score == pytest.approx(alone, abs=0.02)  # bfloat16
    assert np.nanstd(found) > 0.05


def test_a_lesson_lies_between_what_was_believed_and_what_is_taught() -> None:
    began = torch.tensor([[3.0, 1.0, -1.0, -3.0]])
    taught = torch.tensor([[0.2, 0.4, 0.6, 0.8]])

    def lesson(weight: float) -> list[float]:
        anchor = lambda batch, rarity: (began, None)  # noqa: E731
        run = SimpleNamespace(anchor=anchor, rarity=None, settings={"teacher_weight": weight})
        return Run.lesson(run, None, taught)[0].tolist()  # type: ignore[arg-type]

    assert lesson(0.0) == pytest.approx(began.softmax(1)[0].tolist(), abs=1e-4)
    assert np.argsort(lesson(100.0)).tolist() == [0, 1, 2, 3]
    assert lesson(0.0)[0] > lesson(0.5)[0] > lesson(100.0)[0]
    assert standard(taught).std(1).item() == pytest.approx(1, abs=1e-4)
