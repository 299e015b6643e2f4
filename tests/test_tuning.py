"""Training on one's own documents: data, negatives, the split, the steps, the way out to ONNX."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: see secondpass.cli.train
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import secondpass
from jargon import TOPICS, village
from secondpass import CrossEncoder, Document, Index, models
from secondpass.drift import built_in_text
from secondpass.errors import InputError, StorageError
from secondpass.evaluation.judgments import read_judged
from secondpass.evaluation.significance import paired
from secondpass.evaluation.values import Evaluation, Judged, Paired, Setting
from secondpass.tokenizing import load_tokenizer
from secondpass.tuning import HeldOut, Recipe, made_from_headings, read_pairs, tune
from secondpass.tuning.batches import Batches
from secondpass.tuning.choosing import choosing
from secondpass.tuning.concluding import beyond_chance, outcome
from secondpass.tuning.exporting import export
from secondpass.tuning.grid import Grid
from secondpass.tuning.installing import write_config
from secondpass.tuning.learning import Learning
from secondpass.tuning.mining import mine
from secondpass.tuning.model import JointBranch, Reranker
from secondpass.tuning.parting import part, usable
from secondpass.tuning.thawing import thaw
from secondpass.tuning.values import Example, Learnt

ROOT = Path(secondpass.__file__).parents[2]
BASE = "minilm-l6"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return village(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def index(place: Path):
    with Index.open(place / "index", create=False) as found:
        yield found


@pytest.fixture(scope="module")
def judged(place: Path, index: Index) -> Judged:
    return read_judged(place / "judged.jsonl", index=index)


# The way in and out


def test_the_shipped_weights_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, thawed = models.resolve(BASE), thaw(models.resolve(BASE))
    full, _ = export(thawed.graph(thawed.model.branch), tmp_path / "copy" / "onnx")
    write_config(shipped, "copy", tmp_path / "copy")
    for native in ("1", "0"):  # our own kernels where they run, and ONNX Runtime
        monkeypatch.setenv("SECONDPASS_NATIVE", native)
        ours, theirs = CrossEncoder(tmp_path / "copy"), CrossEncoder(BASE)
        for query, texts in built_in_text(8, 6):
            # measured: 0.0, both ways; a scale may come out one bit apart on another machine
            np.testing.assert_allclose(ours.score(query, texts), theirs.score(query, texts), atol=1e-4)
    exact(full, thawed.graph(thawed.model.branch))


def test_what_is_learnt_survives_the_export(tmp_path: Path) -> None:
    thawed = thaw(models.resolve(BASE))
    branch = thawed.model.branch
    before = {name: each.clone() for name, each in branch.state_dict().items()}
    grid = Grid(branch)
    grid.dither(branch, 3)
    for name, rounded in grid.rounded(branch).items():
        assert not torch.equal(branch.state_dict()[name], before[name])
        torch.testing.assert_close(rounded, before[name], rtol=0, atol=1e-6)  # still the base, but for bits
    name = "layers.1.up.weight"
    step = before[name].abs().amax(1, keepdim=True) / 127
    with torch.no_grad():
        branch.layers[1].up.weight.add_(0.1 * step)  # without dither nothing of it would be left
    moved = (grid.exported(branch).state_dict()[name] - before[name]) / step
    assert moved.mean().item() == pytest.approx(0.1, abs=0.01)
    folder = tmp_path / "learnt"
    export(thawed.graph(grid.exported(branch)), folder / "onnx")
    write_config(models.resolve(BASE), "learnt", folder)
    read = thaw(models.resolve(folder)).model.branch.state_dict()
    for name, each in grid.exported(branch).state_dict().items():
        if name.startswith("layers."):  # measured: 0.0
            torch.testing.assert_close(read[name], each, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mutual", [False, True])
def test_kernels_and_graph_agree_on_who_reads_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutual: bool
) -> None:
    thawed, folder = thaw(models.resolve(BASE)), tmp_path / "copy"
    branch = JointBranch(3, mutual).requires_grad_(False)
    branch.load_state_dict(thawed.model.branch.state_dict())
    graph = thawed.graph(branch)
    full, _ = export(graph, folder / "onnx")
    exact(full, graph)
    write_config(models.resolve(BASE), "copy", folder)
    config = json.loads((folder / "config.json").read_text())
    config["secondpass"]["mutual"] = mutual
    (folder / "config.json").write_text(json.dumps(config))
    assert thaw(models.resolve(folder)).model.branch.mutual is mutual
    found = {}
    for native in ("1", "0"):
        monkeypatch.setenv("SECONDPASS_NATIVE", native)
        reranker = CrossEncoder(folder)
        found[native] = [reranker.score(query, texts) for query, texts in built_in_text(8, 6)]
        for (query, texts), together in zip(built_in_text(8, 6), found[native], strict=True):
            alone = np.concatenate([reranker.score(query, [text]) for text in texts])
            np.testing.assert_allclose(alone, together, atol=1e-5)  # measured: 0.0 with the kernels
    apart = np.abs(np.concatenate(found["1"]) - np.concatenate(found["0"])).mean()
    assert apart < 0.15  # measured: .084 and .085; .31 where one reads in the other way


def exact(file: Path, graph: torch.nn.Module) -> None:
    """The exact graph gives torch's logits; measured: 2e-6."""
    feeds = {
        "input_ids": [
            [101, 2054, 2003, 102, 101, 2023, 3899, 102],
            [101, 2054, 2003, 102, 101, 2023, 102, 0],
        ],
        "attention_mask": [[1] * 8, [1] * 7 + [0]],
        "token_type_ids": [[0] * 4 + [1] * 4, [0] * 4 + [1] * 3 + [0]],
    }
    arrays = {name: np.array(values, dtype=np.int64) for name, values in feeds.items()}
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = graph(*map(torch.from_numpy, arrays.values())).numpy()
    np.testing.assert_allclose(session.run(None, arrays)[0], wanted, atol=1e-4)


def test_another_kind_of_model_is_no_start() -> None:
    with pytest.raises(InputError, match="late-interaction is of another kind"):
        thaw(models.resolve("late-interaction"))


def test_the_recipe_of_the_shipped_model_still_imports() -> None:
    names = "calibrate check data evaluate export model onnx_model prepare states train validate"
    code = "; ".join(f"import training.{name}" for name in names.split())
    code += (
        "; from training.model import Batch, load_encoder, new_reranker, Encoder; import hashlib"
        "; keys = '\\n'.join(new_reranker(Encoder(), 3).state_dict())"
        "; print(hashlib.sha256(keys.encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    # checkpoints of the recipe are looked up by these names
    assert done.stdout.strip() == sha256("\n".join(Reranker(3).state_dict()).encode()).hexdigest()
    assert done.stdout.strip() == PARAMETERS


PARAMETERS = "7649852220c37b00fb65461c86d8d87aef8b1d29fff8c9afc3066f498cc25177"


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, secondpass.tuning; print('torch' in sys.modules or 'onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What is learnt from


def test_pairs_and_clicks_are_looked_up(place: Path, index: Index, tmp_path: Path) -> None:
    slip = index.passages("slip-3")[0]
    rows: list[dict[str, Any]] = [
        {"query": "a gate", "positive": slip.text, "negatives": [index.passages("asked-3")[0].text]},
        {"query": "a  kettle", "clicked": index.passages("slip-0")[0].id},
        {"query": "a kettle", "clicked": [slip.id]},
        {"query": "gone", "clicked": "no such text in here"},
    ]
    found = read_pairs(written(tmp_path, rows), index)
    assert found.unit == "passage"
    by_text = {text: found.qrels[key] for key, text in found.queries.items()}
    assert by_text["a gate"] == {slip.id: 1, index.passages("asked-3")[0].id: 0}
    assert len(by_text["a  kettle"]) == 2  # both lines are of one query
    assert "gone" not in usable(found).queries.values()
    documents = read_pairs(written(tmp_path, [{"query": "a gate", "clicked": "slip-3"}]), index)
    assert documents.unit == "document"


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"positive": "slip-1"}, "'query' is missing or empty"),
        ({"query": "a", "positive": ""}, "'positive' wants sources, ids or texts"),
        ({"query": "a", "positive": []}, "'positive' is empty"),
        ({"query": "a"}, "one of 'positive' and 'clicked'"),
        ({"query": "a", "positive": "slip-1", "clicked": "slip-1"}, "one of 'positive' and 'clicked'"),
        ({"query": "a", "clicked": "slip-1", "negatives": [7]}, "'negatives' wants"),
        ({"query": "a", "clicked": "nowhere-1"}, "is not in the index"),
    ],
)
def test_wrong_pairs_are_refused_with_their_line(
    index: Index, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    file = written(tmp_path, [row])
    with pytest.raises(InputError, match=said) as caught:
        read_pairs(file, index)
    assert f"{file}:1:" in str(caught.value)


def test_no_pairs_are_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pair"):
        read_pairs(written(tmp_path, []), index)
    with pytest.raises(InputError, match="no file"):
        read_pairs(tmp_path / "absent.jsonl", index)


def test_headings_become_queries(tmp_path: Path) -> None:
    body = "The warden walks the whole round before dusk and writes what he saw into the book. " * 3
    with Index.open(tmp_path / "index") as index:
        index.add([Document(f"d{n}", f"# Keeping the {topic}\n\n{body}") for n, topic in enumerate(TOPICS)])
        found = made_from_headings(index, 70)
    assert found.synthetic
    assert len(found.queries) == 70
    assert found.unit == "document"


# The split


def test_the_parts_are_apart_and_seeded(judged: Judged) -> None:
    parts = part(judged, 0)
    sizes = [len(each.queries) for each in (parts.training, parts.validation, parts.held_out)]
    assert sizes == [48, 12, 20]
    together = {*parts.training.queries, *parts.validation.queries, *parts.held_out.queries}
    assert together == judged.queries.keys()
    assert part(judged, 0) == parts
    assert part(judged, 1).held_out != parts.held_out


def test_queries_of_the_same_words_stay_together(judged: Judged) -> None:
    twice = {
        f"{key}b": f"{' '.join(reversed(text.upper().split()))}?" for key, text in judged.queries.items()
    }
    both = Judged(
        queries={**judged.queries, **twice},
        qrels={**judged.qrels, **{f"{key}b": grades for key, grades in judged.qrels.items()}},
        unit="document",
    )
    held_out = part(both, 0).held_out.queries
    assert len(held_out) == 40
    assert all(f"{key.removesuffix('b')}b" in held_out for key in held_out)


def test_too_few_queries_are_refused(judged: Judged) -> None:
    some = dict(list(judged.queries.items())[:59])
    few = Judged(some, {key: judged.qrels[key] for key in some}, "document", origin="clicks.jsonl")
    with pytest.raises(
        InputError, match=r"clicks.jsonl gives 59 different queries.*needs 60.*judge"
    ) as caught:
        part(few, 0)
    assert "made from the headings" in str(caught.value)


# Negatives


def test_negatives_are_what_stage_1_finds_and_nobody_wants(index: Index, judged: Judged) -> None:
    examples, unfound = mine(index, part(judged, 0).training)
    assert (len(examples), unfound) == (48, 0)
    for each in examples:
        topic = each.query.removeprefix("what is said of the ")
        (positive,) = each.positives
        assert positive.startswith("Green slip")
        assert topic in positive
        assert positive not in each.negatives
        assert any(text.startswith(f"The {topic} was talked of") for text in each.negatives)


def test_near_copies_and_what_is_far_above_are_no_negatives(tmp_path: Path) -> None:
    query = "when does the northern ferry leave"
    texts = {
        "right": "Timetable. Seven in the morning and six at night, from the lower quay, save on feasts.",
        "copy": "Timetable. Seven in the morning and six at night, from the lower quay, except on feasts.",
        "above": "When does the northern ferry leave? The northern ferry leaves when it leaves.",
        "other": "The morning market on the lower quay opens at seven and closes at noon.",
    }
    with Index.open(tmp_path / "index") as index:
        index.add([Document(key, text) for key, text in texts.items()])
        ((example,), _) = mine(index, Judged({"q": query}, {"q": {"right": 1}}, "document"))
        assert set(example.negatives) == {texts["other"]}
        marked = {index.passages(key)[0].id: grade for key, grade in (("right", 1), ("above", 0))}
        ((example,), _) = mine(index, Judged({"q": query}, {"q": marked}, "passage"))
        assert example.negatives == (texts["above"], texts["other"])  # somebody said so, and it comes first
        assert mine(index, Judged({"q": query}, {"q": {"absent": 1}}, "document")) == ([], 1)


# Steps


def few(index: Index, judged: Judged) -> list[Example]:
    return mine(index, part(judged, 0).training)[0][:12]


def test_a_batch_depends_on_seed_and_step_alone(index: Index, judged: Judged) -> None:
    tokenizer = load_tokenizer(models.resolve(BASE))
    examples, recipe = few(index, judged), Recipe(groups=5)
    ours, again, other = (Batches(tokenizer, examples, recipe, seed) for seed in (1, 1, 2))
    for step in (7, 0, 3):
        assert ours.batch(step) == again.batch(step)
        assert ours.batch(step) != other.batch(step)
    for group in ours.batch(2):
        assert len(group.passages) == 1 + recipe.hard_negatives + recipe.random_negatives
        texts = tokenizer.decode_batch(group.passages)
        topic = tokenizer.decode(group.query).removeprefix("what is said of the ")
        assert texts[0].startswith("green slip")
        assert topic in texts[0]
        assert texts[0] not in texts[1:]
    asked = [tokenizer.decode(group.query) for step in range(12) for group in ours.batch(step)]
    assert {asked.count(query) for query in asked} == {5}  # 60 places, 12 queries, each epoch each once


class StopError(Exception):
    """Thrown where a run is to end in its middle."""


def learnt(
    index: Index, judged: Judged, file: Path, *, key: str = "k", stop: int | None = None, steps: int = 6
) -> tuple[JointBranch, Learnt]:
    folder = models.resolve(BASE)
    recipe = Recipe(groups=3, hard_negatives=2, least_steps=steps, most_steps=steps, checks=3)
    choice = choosing(index, first(part(judged, 0).validation, 4), "dense", 5)
    parts = (thaw(folder), load_tokenizer(folder), few(index, judged), choice, recipe)

    def watch(what: str, done: int, total: int) -> None:
        if done == stop:
            raise StopError

    return Learning(*parts, 4, file, key).run(0, watch)


def first(judged: Judged, number: int) -> Judged:
    keys = list(judged.queries)[:number]
    return Judged(
        {key: judged.queries[key] for key in keys}, {key: judged.qrels[key] for key in keys}, "document"
    )


def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    index: Index, judged: Judged, tmp_path: Path
) -> None:
    whole, done = learnt(index, judged, tmp_path / "whole.pt")
    assert done.resumed_at is None
    assert [each.step for each in done.checks] == [0, 2, 4, 6]
    assert done.best.step > 0
    cut = tmp_path / "cut.pt"
    with pytest.raises(StopError):
        learnt(index, judged, cut, stop=3)  # the checkpoint is of step 2
    branch, again = learnt(index, judged, cut)
    assert again.resumed_at == 2
    assert again.checks == done.checks
    same(whole, branch)


def test_checkpoints_that_are_of_no_use_begin_anew(index: Index, judged: Judged, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    learnt(index, judged, file, steps=1)
    assert learnt(index, judged, file, steps=1)[1].resumed_at == 1  # it had ended, and nothing is left to do
    assert learnt(index, judged, file, steps=1, key="of other data")[1].resumed_at is None
    file.write_bytes(file.read_bytes()[:5000])  # cut off
    assert learnt(index, judged, file, steps=1)[1].resumed_at is None
    file.write_text("no checkpoint", encoding="utf-8")
    assert learnt(index, judged, file, steps=1)[1].resumed_at is None


def same(one: JointBranch, other: JointBranch) -> None:
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


# Whether it helped


def compared(base: tuple[float, float, float], p: float, stage1: float) -> HeldOut:
    low, difference, high = base
    against_base = Paired(difference, low, high, p, 1, 1, 1)
    against_stage1 = Paired(stage1, stage1 - 0.1, stage1 + 0.1, 0.1, 1, 1, 1)
    empty = Evaluation(("nDCG@10",), (), (), (), "document", False, "", 20)
    settings = [Setting("dense", name) for name in ("none", "a", "b")]
    return HeldOut(empty, *settings, {"nDCG@10": against_base}, {"nDCG@10": against_stage1})


@pytest.mark.parametrize(
    ("base", "p", "stage1", "said"),
    [
        ((0.001, 0.02, 0.04), 0.04, 0.0, "helped"),
        ((0.001, 0.02, 0.04), 0.04, -0.01, "below stage 1"),
        ((0.001, 0.02, 0.04), 0.06, 0.1, "unclear"),
        ((0.0, 0.02, 0.04), 0.04, 0.1, "unclear"),
        ((-0.04, -0.02, 0.0), 0.04, 0.1, "unclear"),
        ((-0.04, -0.02, -0.001), 0.06, 0.1, "unclear"),
        ((-0.04, -0.02, -0.001), 0.04, 0.1, "harmed"),
    ],
)
def test_the_rule(base: tuple[float, float, float], p: float, stage1: float, said: str) -> None:
    assert outcome(compared(base, p, stage1)) == said


def test_four_queries_of_twenty_are_no_proof_and_six_are() -> None:
    def told(wins: int) -> Paired:
        return paired([0.1 + 0.01 * each if each < wins else 0.0 for each in range(20)], [0.0] * 20)

    assert told(4).low > 0  # the bootstrap's interval alone would take them for one
    assert not beyond_chance(told(4))
    assert beyond_chance(told(6))


# At the door


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a b", "one plain word"),
        ("../escape", "one plain word"),
        ("owner/name", "one plain word"),
        ("minilm-l6", "stands for something else"),
        ("auto", "stands for something else"),
        ("records", "stands for something else"),
    ],
)
def test_names_that_cannot_be(index: Index, judged: Judged, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tune(index, judged, name=name)


def test_a_strangers_model_and_a_strangers_folder_stay(
    index: Index, judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "models"))
    shutil.copytree(models.resolve(BASE).path, tmp_path / "models" / "mine")
    with pytest.raises(InputError, match="did not make; it would be lost"):
        tune(index, judged, name="mine")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("long", encoding="utf-8")
    with pytest.raises(InputError, match="holds other things than a training"):
        tune(index, judged, work=tmp_path / "thesis")
    assert [each.name for each in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_one_training_a_folder(index: Index, judged: Judged, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "work").mkdir()
    with (
        FileLock(tmp_path / "work" / "lock"),
        pytest.raises(StorageError, match="another process is training"),
    ):
        tune(index, judged, work=tmp_path / "work")
