"""Re-rankers in 8 bits: what is written, what is used, how drift is measured, and when it is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.stats import spearmanr

import tiny_models
from secondpass import Index, models, native
from secondpass.converting import best_graph, int8_file, kernels_refused, onnx_file, read_receipt, write_int8
from secondpass.drift import Drift, asked_of, built_in_text, drift, spearman
from secondpass.errors import InputError, ModelError, ModelInvalidError
from secondpass.optimising import KERNELS, RUNTIME, forget, optimise
from secondpass.reranking import CrossEncoder, load_reranker
from secondpass.splitting import RecursiveSplitter
from secondpass.testing import HashEmbedder
from secondpass.types import Document

ROOT = Path(__file__).parent.parent
KINDS = ["bert", "xlm-roberta"]
ASKED = [
    (
        "how do I sort a list",
        ["sorted() returns a new list", "the capital of France", "numbers and modules"] * 2,
    ),
    (
        "what is a module",
        ["numbers and modules", "who lives there", "text is wrapped at a width", "copy a file"],
    ),
    ("copy a file to a folder", ["copy a file", "list.sort() works in place", "a warning is an exception"]),
]
WIDE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64}
"""Of a shape that our own kernels can run."""


@pytest.fixture(autouse=True)
def user_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "user"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path / "user"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: tiny_models.checkpoint(root / kind, kind, positions=128) for kind in KINDS}


@pytest.fixture(scope="module")
def exports(checkpoints, tmp_path_factory):
    """The same as ONNX, exported by torch."""
    root = tmp_path_factory.mktemp("exports")
    return {kind: tiny_models.export(checkpoints[kind], root / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def exported(exports, tmp_path, request):
    return shutil.copytree(exports[request.param], tmp_path / "ranker")


@pytest.fixture
def ranker(exports, tmp_path):
    return shutil.copytree(exports["bert"], tmp_path / "ranker")


def graph_of(folder: Path, precision: str = "int8") -> Path:
    return best_graph(models.resolve(folder), precision)


def operators(file: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(file)).graph.node]


def scores(folder: Path, precision: str) -> np.ndarray:
    model = CrossEncoder(folder, precision=precision)
    return np.concatenate([model.score(query, texts) for query, texts in ASKED])


# the copy


def test_weights_are_int8_by_output_channel_and_tables_too(exported):
    target = exported / "copy.onnx"
    write_int8(exported / "onnx" / "model.onnx", target)
    model = onnx.load(str(target))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulInteger") >= 2 * 6  # query, key, value, out, up, down of two layers
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "MatMulInteger"]
    for name in weights:
        assert tensors[name].dtype == np.int8
        scale = tensors[name.removesuffix("_quantized") + "_scale"]
        assert scale.shape == tensors[name].shape[1:]
    largest = max((values for values in tensors.values() if values.dtype == np.float32), key=np.size)
    assert largest.size <= 128 * 32, "a table of embeddings is still in float32"
    assert target.stat().st_size < 0.6 * (exported / "onnx" / "model.onnx").stat().st_size


def test_a_converted_checkpoint_becomes_int8_too(checkpoints):
    source = onnx_file(models.resolve(checkpoints["bert"]))
    write_int8(source, source.with_name("copy.onnx"))
    assert "MatMulInteger" in operators(source.with_name("copy.onnx"))


def test_scores_of_the_copy_are_near_and_do_not_depend_on_the_batch(ranker, monkeypatch):
    monkeypatch.setenv("SECONDPASS_NATIVE", "0")
    before = scores(ranker, "int8")
    done = optimise(ranker, ASKED, max_change=1.0)
    small, full = scores(ranker, "int8"), scores(ranker, "fp32")
    np.testing.assert_array_equal(before, full)
    assert 0 < np.abs(small - full).max() < 0.5
    assert np.corrcoef(small, full)[0, 1] > 0.9
    assert done.ways[RUNTIME].drift.largest == pytest.approx(np.abs(small - full).max(), abs=1e-5)
    model = CrossEncoder(ranker)
    alone = [model.score(query, [text])[0] for query, texts in ASKED for text in texts]
    np.testing.assert_array_equal(small, alone)


def test_nothing_is_printed_or_logged(ranker, capfd, caplog):
    write_int8(ranker / "onnx" / "model.onnx", ranker / "copy.onnx")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert sorted(each.name for each in ranker.iterdir()) == [
        "config.json",
        "copy.onnx",
        "onnx",
        "tokenizer.json",
    ]


def test_what_is_in_8_bits_already_is_refused(ranker):
    write_int8(ranker / "onnx" / "model.onnx", ranker / "copy.onnx")
    with pytest.raises(ModelInvalidError, match="8-bit numbers already"):
        write_int8(ranker / "copy.onnx", ranker / "again.onnx")
    assert not (ranker / "again.onnx").exists()


def test_a_graph_without_weights_to_quantise_is_refused(tmp_path):
    values = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.INT64, ["batch", "sequence"])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["input_ids"], ["logits"])], "g", [values], [logits]
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        str(tmp_path / "model.onnx"),
    )
    with pytest.raises(ModelInvalidError, match="no weights that could be held"):
        write_int8(tmp_path / "model.onnx", tmp_path / "copy.onnx")
    assert [each.name for each in tmp_path.glob("*")] == ["model.onnx"]


@pytest.mark.parametrize("harm", ["empty", "truncated", "noise"])
def test_a_damaged_graph_is_named_and_leaves_nothing(ranker, harm, capfd):
    tiny_models.damage(ranker / "onnx" / "model.onnx", harm)
    with pytest.raises(ModelInvalidError, match=r"model\.onnx"):
        optimise(ranker, ASKED)
    assert [each.name for each in (ranker / "onnx").iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")


# which graph is used


def test_an_accepted_copy_is_used_and_fp32_stays_to_be_asked_for(exported):
    source = exported / "onnx" / "model.onnx"
    assert graph_of(exported) == source
    done = optimise(exported, ASKED, max_change=1.0, text="some text")
    assert done.file == graph_of(exported) == source.with_name("model.int8.onnx")
    assert graph_of(exported, "fp32") == source
    assert (done.source, done.source_bytes, done.file_bytes) == (
        source,
        source.stat().st_size,
        done.file.stat().st_size,
    )
    receipt = read_receipt(done.file)
    assert receipt.accepted
    assert (receipt.source, receipt.size, receipt.drift["text"]) == (
        "model.onnx",
        done.file_bytes,
        "some text",
    )
    assert set(receipt.versions) == {"secondpass", "onnx", "onnxruntime"}
    assert receipt.drift[RUNTIME]["pairs"] == sum(len(texts) for _, texts in ASKED)
    with pytest.raises(InputError, match="int8, fp32"):
        graph_of(exported, "int4")


def test_too_many_changed_top_3s_delete_the_copy(ranker, monkeypatch):
    monkeypatch.setenv("SECONDPASS_NATIVE", "0")
    spoilt(ranker)
    done = optimise(ranker, built_in_text()[:10], max_change=0.0)
    assert done.ways[RUNTIME].drift.top3_changed > 0, "the test's model must drift"
    assert (done.file, done.used, done.ways[RUNTIME].accepted) == (None, None, False)
    assert graph_of(ranker) == ranker / "onnx" / "model.onnx"
    assert [each.name for each in (ranker / "onnx").glob("*.onnx")] == ["model.onnx"]
    receipt = read_receipt(int8_file(models.resolve(ranker), ranker / "onnx" / "model.onnx"))
    assert not receipt.accepted
    assert receipt.drift[RUNTIME]["top3_changed"] == done.ways[RUNTIME].drift.top3_changed
    np.testing.assert_array_equal(scores(ranker, "int8"), scores(ranker, "fp32"))
    assert optimise(ranker, ASKED, max_change=1.0).file is not None, "it can be tried again"


def spoilt(folder: Path) -> None:
    """Let some weights be huge, as no training leaves them: eight bits then tell little of the others."""
    file = folder / "onnx" / "model.onnx"
    model = onnx.load(str(file))
    noise = np.random.default_rng(7)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 2 and values.dtype == np.float32 and min(values.shape) > 8:
            values = values * np.where(noise.random(values.shape) < 0.01, 40, 1).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(file))


@pytest.mark.parametrize("change", ["source", "copy", "receipt", "receipt of another shape", "no receipt"])
def test_a_copy_that_no_longer_fits_is_not_used(ranker, change):
    copy = optimise(ranker, ASKED, max_change=1.0).file
    source, receipt = ranker / "onnx" / "model.onnx", copy.with_suffix(".json")
    if change == "source":
        model = onnx.load(str(source))
        model.producer_name = "x" * len(model.producer_name)
        onnx.save(model, str(source))
    elif change == "copy":
        tiny_models.damage(copy, "truncated")
    elif change == "receipt":
        tiny_models.damage(receipt, "truncated")
    elif change == "no receipt":
        receipt.unlink()
    else:
        receipt.write_text(json.dumps({"format": 1, "accepted": True}))
    assert graph_of(ranker) == source


def test_a_folder_that_was_copied_keeps_its_copy(ranker, tmp_path):
    optimise(ranker, ASKED, max_change=1.0)
    moved = tmp_path / "moved"
    shutil.copytree(ranker, moved, copy_function=shutil.copyfile)  # the times of its files are new
    assert graph_of(moved) == moved / "onnx" / "model.int8.onnx"


def test_safetensors_are_converted_and_then_optimised(checkpoints, user_models):
    folder = checkpoints["xlm-roberta"]
    assert not kernels_refused(models.resolve(folder))
    assert not user_models.exists(), "asking costs no conversion"
    done = optimise(folder, ASKED, max_change=1.0)
    assert done.file.is_relative_to(user_models / "converted")
    assert done.source_bytes > done.source.stat().st_size, "weights beside the graph count"
    assert graph_of(folder) == done.file
    assert sorted(each.name for each in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


IN_THE_HUBS_CACHE = """
import json, sys
from secondpass import CrossEncoder, models
from secondpass.converting import best_graph
from secondpass.optimising import forget, optimise
name = "someone/ranker"
plain = CrossEncoder(name).fingerprint
done = optimise(name, json.load(sys.stdin), max_change=1.0)
print(done.file, best_graph(models.resolve(name)), CrossEncoder(name).fingerprint != plain, forget(name))
"""


def test_the_hubs_cache_is_left_as_it_is(ranker, tmp_path, user_models):
    """In a new process: the hub's library reads its variables when it is imported."""
    place = tmp_path / "hub" / "hub" / "models--someone--ranker"
    snapshot = shutil.copytree(ranker, place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    before = sorted(snapshot.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_HUBS_CACHE],
        input=json.dumps(ASKED),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SECONDPASS_NATIVE": "0"},
    )
    file, used, another_fingerprint, deleted = done.stdout.split()
    assert Path(file).is_relative_to(user_models / "optimised")
    assert file == used == deleted
    assert another_fingerprint == "True", "scores that were kept must not be taken for those of the copy"
    assert sorted(snapshot.rglob("*")) == before


def test_forgetting_brings_fp32_back(ranker):
    copy = optimise(ranker, ASKED, max_change=1.0).file
    assert forget(ranker) == copy
    assert graph_of(ranker) == ranker / "onnx" / "model.onnx"
    assert [each.name for each in (ranker / "onnx").iterdir()] == ["model.onnx"]
    assert forget(ranker) is None


# our own kernels


@pytest.mark.skipif(not native.available(), reason="the kernels need a processor with AVX-512 VNNI")
def test_kernels_are_measured_and_can_be_refused(tmp_path):
    folder = tiny_models.checkpoint(tmp_path / "wide", "bert", positions=128, **WIDE)
    done = optimise(folder, ASKED, max_change=1.0)
    assert set(done.ways) == {RUNTIME, KERNELS}
    assert done.used == KERNELS
    small, full = scores(folder, "int8"), scores(folder, "fp32")
    assert done.ways[KERNELS].drift.largest == pytest.approx(np.abs(small - full).max(), abs=1e-5)
    receipt = read_receipt(done.file)
    refusal = json.loads(done.file.with_suffix(".json").read_text())
    assert receipt.kernels_accepted is True
    done.file.with_suffix(".json").write_text(json.dumps({**refusal, "kernels_accepted": False}))
    assert kernels_refused(models.resolve(folder))
    copied = scores(folder, "int8")
    assert np.abs(copied - small).max() > 0, "refused kernels are not used"
    assert np.abs(copied - full).max() > 0, "the copy is"


# drift


def test_drift_counts_what_it_says():
    full = {"a": [5.0, 4.0, 3.0, 2.0], "b": [5.0, 4.0, 3.0, 2.0], "c": [1.0, 2.0]}
    small = {"a": [4.0, 5.0, 3.0, 2.0], "b": [5.0, 4.0, 2.5, 2.75], "c": [1.0, 2.0]}
    asked = [(name, [str(place) for place in range(len(values))]) for name, values in full.items()]
    found = drift([*asked, ("lone", ["x"])], lambda q, _: np.array(full[q]), lambda q, _: np.array(small[q]))
    assert found == Drift(
        queries=3,
        pairs=10,
        largest=1.0,
        mean=pytest.approx((1 + 1 + 0.5 + 0.75) / 10),
        spearman=pytest.approx((0.8 + 0.8 + 1) / 3),
        top3_changed=pytest.approx(1 / 3),
        first_changed=pytest.approx(1 / 3),
    )


@pytest.mark.parametrize("ties", [1000, 3])
def test_spearman_is_that_of_scipy(ties):
    numbers = np.random.default_rng(7)
    for _ in range(20):
        one, other = numbers.integers(0, ties, (2, 12)).astype(np.float64)
        assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert (spearman(np.zeros(3), np.zeros(3)), spearman(np.zeros(3), np.arange(3.0))) == (1.0, 0.0)


def test_text_to_measure_on_comes_from_the_index(tmp_path):
    documents = [
        Document(
            f"{number:03}",
            "\n\n".join(f"Part {part} of number {number} tells of words." for part in range(9)),
        )
        for number in range(120)
    ]
    splitter = RecursiveSplitter(size=60, overlap=0)
    with Index.open(tmp_path / "index", embedder=HashEmbedder(64), splitter=splitter) as index:
        assert asked_of(index) == []
        index.add(documents)
        asked = asked_of(index)
        known = {hit.passage.text for query, _ in asked for hit in index.search(query, 20)}
    assert len(asked) == 50
    assert len({query for query, _ in asked}) == 50, "spread over the documents"
    assert max(int(query.split()[4]) for query, _ in asked) > 90, "to the last of them"
    assert all(len(texts) == 20 and set(texts) <= known for _, texts in asked)


def test_built_in_text_is_there_and_varied():
    asked = built_in_text()
    assert len(asked) == 50
    assert len({query for query, _ in asked}) > 45
    assert all(len(texts) == len(set(texts)) == 20 for _, texts in asked)


@pytest.mark.parametrize(
    ("asked", "limit", "message"),
    [
        ([], 0.2, "at least two candidates"),
        ([("a query", ["alone"])], 0.2, "at least two candidates"),
        (ASKED, 1.5, "from 0 to 1"),
        (ASKED, True, "from 0 to 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(ranker, asked, limit, message):
    with pytest.raises(InputError, match=message):
        optimise(ranker, asked, max_change=limit)
    assert [each.name for each in (ranker / "onnx").iterdir()] == ["model.onnx"]


def test_models_of_the_package_are_left_alone():
    for act in (lambda: optimise("minilm-l6", ASKED), lambda: forget("late-interaction")):
        with pytest.raises(InputError, match="came with the package"):
            act()


def test_a_folder_that_cannot_be_written(checkpoints, tmp_path, monkeypatch):
    done = optimise(checkpoints["bert"], ASKED, max_change=1.0)
    place = done.file.parent
    done.file.unlink()
    done.file.mkdir()
    (done.file / "in the way").touch()
    with pytest.raises(ModelError, match=str(place)):
        optimise(checkpoints["bert"], ASKED, max_change=1.0)


def test_shipped_models_take_both_precisions():
    texts = [
        "sorted() returns a new sorted list",
        "the capital of France is Paris",
        "lists can be sorted in place",
    ]
    for name in ("minilm-l6", "late-interaction"):
        small, full = (
            load_reranker(name, precision=each).score("how do I sort a list?", texts)
            for each in ("int8", "fp32")
        )
        assert np.abs(small - full).max() < 0.5
        assert np.argsort(small)[0] == np.argsort(full)[0] == 1


# the command


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "secondpass", "models", "optimize", *words],
        capture_output=True,
        text=True,
        cwd=environment.pop("cwd", None),
        env={**os.environ, "COLUMNS": "60", **environment},
    )


def test_the_command_keeps_refuses_and_forgets(ranker, tmp_path):
    built_in = run(str(ranker), "--max-change", "1", cwd=str(tmp_path))
    assert built_in.returncode == 0, built_in.stderr
    assert "accepted" in built_in.stdout
    assert "Python's own documentation" in built_in.stdout
    assert max(map(len, built_in.stdout.splitlines())) <= 60
    assert graph_of(ranker).name == "model.int8.onnx"
    deleted = json.loads(run(str(ranker), "--precision", "fp32", "--json", cwd=str(tmp_path)).stdout)
    assert deleted["file"].endswith("model.int8.onnx")
    assert "no 8-bit copy" in run(str(ranker), "--precision", "fp32", cwd=str(tmp_path)).stdout

    spoilt(ranker)
    refused = run(str(ranker), "--max-change", "0", SECONDPASS_NATIVE="0", cwd=str(tmp_path))
    assert refused.returncode == 1
    assert "float32 stays in use" in " ".join(refused.stdout.split())
    assert graph_of(ranker).name == "model.onnx"


def test_the_command_measures_on_an_index(ranker, tmp_path):
    with Index.open(tmp_path / "index") as index:
        index.add(
            [Document(str(n), f"The number {n} is what this is about, said plainly.") for n in range(8)]
        )
    found = run(str(ranker), "--index", str(tmp_path / "index"), "--max-change", "1", "--json")
    assert found.returncode == 0, found.stderr
    shape = json.loads(found.stdout)
    promised = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").split("## `models optimize --json`")[1]
    example = json.loads(promised.split("```json")[1].split("```")[0])
    assert set(shape) == set(example)
    assert set(shape["ways"][RUNTIME]) == set(example["ways"][RUNTIME])
    assert shape["text"] == str(tmp_path / "index")
    assert shape["ways"][RUNTIME]["queries"] == 8
    (tmp_path / "empty").mkdir()
    Index.open(tmp_path / "nothing", embedder=None).close()
    for words, code, message in (
        (("--index", str(tmp_path / "nothing")), 2, "too little text"),
        (("--index", str(tmp_path / "empty")), 1, "no index"),
        (("--max-change", "often"), 2, "share of queries"),
        (("--precision", "int4"), 2, "int8, fp32"),
    ):
        done = run(str(ranker), *words)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
