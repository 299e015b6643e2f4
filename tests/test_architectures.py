"""Public architectures: each loads and equals what transformers says, without code from a repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tiny_architectures
import tiny_models
from secondpass import Index, models, processors
from secondpass.checkpoints import fits
from secondpass.converting import best_graph, onnx_file
from secondpass.embedding import MiniLMEmbedder, PooledEmbedder, load_embedder
from secondpass.errors import (
    IndexMismatchError,
    InputError,
    ModelInvalidError,
    ModelNotFoundError,
    QueryError,
)
from secondpass.native import available
from secondpass.reranking import CrossEncoder
from secondpass.testing import EmbedderContract
from secondpass.types import Document

QUERY = "how do I sort a list"
PASSAGES = ["", "a list", "sorted() returns a new list", " ".join(tiny_models.CORPUS[-3:]) * 2]
TEXTS = ["a", "how do I sort a list of numbers in python", " ".join(tiny_models.CORPUS[-3:])]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("architectures")
    made = {kind: tiny_architectures.ranker(root / kind, kind) for kind in tiny_architectures.RANKERS}
    made["jina"] = tiny_architectures.jina(root / "jina", made["bert"])
    made["encoder"] = tiny_architectures.encoder(root / "encoder", "bert", pooling="cls_token")
    made["roberta-encoder"] = tiny_architectures.encoder(root / "roberta-encoder", "xlm-roberta")
    return made


@pytest.fixture(scope="module", autouse=True)
def user_models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECONDPASS_MODELS", str(tmp_path_factory.mktemp("models")))
        yield models.user_models_dir()


@pytest.mark.parametrize("kind", tiny_architectures.RANKERS)
def test_it_equals_transformers(folders, kind):
    encoder = CrossEncoder(folders[kind], precision="fp32")
    expected = tiny_models.reference(folders[kind], QUERY, PASSAGES)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(encoder.score(QUERY, PASSAGES), expected, atol=1e-4)
    np.testing.assert_allclose(encoder.score(QUERY, PASSAGES[1:2]), expected[1:2], atol=1e-4)


@pytest.mark.parametrize("kind", ["deberta-v2", "modernbert"])
def test_an_exported_graph_is_made_once(folders, kind):
    folder = models.ModelFolder(kind, folders[kind], "folder")
    made = onnx_file(folder)
    before = made.stat().st_mtime_ns
    assert onnx_file(folder).stat().st_mtime_ns == before
    assert not [place for place in made.parent.parent.iterdir() if place.name.startswith(".writing")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["ModernBertForSequenceClassification"]}, "model_type stands for DebertaV2For"),
        ({"num_hidden_layers": 3}, r"no tensor deberta\.encoder\.layer\.2"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}, "cannot open|labels"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folders, tmp_path, changes, message):
    folder = shutil.copytree(folders["deberta-v2"], tmp_path / "changed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelInvalidError, match=message):
        CrossEncoder(folder, precision="fp32")


def test_a_damaged_checkpoint_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["modernbert"], tmp_path / "damaged")
    tiny_models.damage(folder / "model.safetensors", "truncated")
    with pytest.raises(ModelInvalidError, match="fetch the model again"):
        CrossEncoder(folder, precision="fp32")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_code_of_a_repository_is_never_run(folders, precision):
    with pytest.raises(ModelInvalidError, match=r"JinaBert.*never runs such code.*onnx/model\.onnx"):
        CrossEncoder(folders["jina"], precision=precision)


def test_jinabert_with_an_onnx_file_needs_no_code(folders, tmp_path):
    exported = tiny_models.export(folders["bert"], tmp_path / "exported")
    shutil.copy(folders["jina"] / "config.json", exported / "config.json")
    expected = tiny_models.reference(folders["bert"], QUERY, PASSAGES)
    found = CrossEncoder(exported, precision="fp32").score(QUERY, PASSAGES)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "extras"), [("deberta-v2", r"torch,convert"), ("xlm-roberta", "convert")])
def test_a_missing_extra_is_named(folders, tmp_path, kind, extras):
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from secondpass.errors import MissingExtraError\n"
        "from secondpass.reranking import CrossEncoder\n"
        "try:\n"
        f"    CrossEncoder({str(folders[kind])!r}, precision='fp32')\n"
        "except MissingExtraError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"SECONDPASS_MODELS": str(tmp_path), "PATH": ""},
    )
    assert f"secondpass[{extras}]" in done.stdout


@pytest.mark.parametrize(
    ("has", "first"),
    [
        ({"avx2", "avx512", "avx512_vnni"}, "onnx/model_qint8_avx512_vnni.onnx"),
        ({"avx2", "avx512"}, "onnx/model_qint8_avx512.onnx"),
        ({"avx2"}, "onnx/model_quint8_avx2.onnx"),
        ({"arm64"}, "onnx/model_qint8_arm64.onnx"),
        (set(), "onnx/model_quantized.onnx"),
    ],
)
def test_the_file_for_a_processor(has, first):
    names = processors.eight_bit_names(frozenset(has))
    assert names[0] == first
    assert names[-2:] == ("onnx/model_quantized.onnx", "onnx/model_int8.onnx")
    assert all("arm64" not in name for name in names) or has == {"arm64"}


def test_the_makers_8_bit_file_is_used_in_8_bits_only(folders, tmp_path):
    exported = tiny_models.export(folders["xlm-roberta"], tmp_path / "exported")
    made_for_here = exported / processors.eight_bit_names()[0]
    other = exported / "onnx" / "model_qint8_arm64.onnx"
    tiny_architectures.eight_bit(exported / "onnx" / "model.onnx", made_for_here)
    shutil.copy(made_for_here, other)
    folder = models.ModelFolder("exported", exported, "folder")
    assert best_graph(folder, "int8") == made_for_here
    assert best_graph(folder, "fp32") == exported / "onnx" / "model.onnx"
    (exported / "onnx" / "model.onnx").unlink()
    expected = tiny_models.reference(folders["xlm-roberta"], QUERY, PASSAGES)
    for precision in ("int8", "fp32"):
        found = CrossEncoder(exported, precision=precision).score(QUERY, PASSAGES)
        np.testing.assert_allclose(found, expected, atol=0.4)
        np.testing.assert_array_equal(np.argsort(found), np.argsort(expected))
    made_for_here.unlink()  # only another processor's file is left: better than none
    assert best_graph(folder, "int8") == other


@pytest.mark.parametrize(
    ("name", "pooling", "query", "passage"),
    [
        ("bge-small-en-v1.5", "cls", "Represent this sentence for searching relevant passages: ", ""),
        ("multilingual-e5-small", "mean", "query: ", "passage: "),
    ],
)
def test_a_known_embedder_has_its_prefixes_and_pooling(folders, user_models, name, pooling, query, passage):
    kind = "encoder" if pooling == "cls" else "roberta-encoder"
    shutil.copytree(folders[kind], user_models / name)
    embedder = load_embedder(name, precision="fp32")
    assert (embedder.name, embedder.dimension) == (name, 64)
    expected = tiny_architectures.vectors(folders[kind], [query + text for text in TEXTS], pooling)
    np.testing.assert_allclose(embedder.embed_queries(TEXTS), expected, atol=1e-5)
    expected = tiny_architectures.vectors(folders[kind], [passage + text for text in TEXTS], pooling)
    np.testing.assert_allclose(embedder.embed_passages(TEXTS), expected, atol=1e-5)
    assert name in {folder.name for folder in models.installed("embedder")}
    assert name not in {folder.name for folder in models.installed("reranker")}


@pytest.mark.skipif(not available(), reason="our kernels cannot run on this processor")
@pytest.mark.parametrize("kind", ["encoder", "roberta-encoder"])
def test_an_embedder_on_our_kernels(folders, kind):
    assert fits(json.loads((folders[kind] / "config.json").read_text()))
    exact = load_embedder(str(folders[kind]), precision="fp32").embed_passages(TEXTS)
    fast = load_embedder(str(folders[kind])).embed_passages(TEXTS)
    assert (exact * fast).sum(axis=1).min() > 0.995


def test_pooling_and_prompts_that_a_folder_names(folders, tmp_path):
    folder = shutil.copytree(folders["encoder"], tmp_path / "own")
    prompts = {"prompts": {"query": "ask: ", "document": "tell: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    embedder = PooledEmbedder(str(folder), precision="fp32")
    assert embedder.name == str(folder)
    expected = tiny_architectures.vectors(folder, ["ask: a", "tell: a"], "cls")
    found = np.concatenate([embedder.embed_queries(["a"]), embedder.embed_passages(["a"])])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ModelInvalidError, match=r"max_tokens.*knows mean and cls"):
        PooledEmbedder(str(folder))


def test_long_texts(folders):
    embedder = load_embedder(str(folders["encoder"]), precision="fp32")
    assert embedder.window == 100
    passage = "sort a list " * 500
    cut = " ".join(passage.split()[: 98 // 1])
    assert embedder.embed_passages([passage, cut]).shape == (2, 64)
    whole, beginning = embedder.embed_queries(["sort a list " * 80, "sort a list " * 20])
    assert whole @ whole == pytest.approx(1, abs=1e-5)
    assert np.abs(whole - beginning).max() > 1e-3
    with pytest.raises(QueryError, match="at most 2048 can be read"):
        embedder.embed_queries(["sort a list " * 1500])


def test_what_is_no_embedder(folders):
    for name in ("nonsense", "", None, 7):
        with pytest.raises(InputError):
            load_embedder(name)
    with pytest.raises(InputError, match="re-ranker, not an embedder"):
        load_embedder(str(folders["bert"]))
    with pytest.raises(InputError, match="reranker"):
        load_embedder("minilm-l6")
    with pytest.raises(ModelNotFoundError, match="models pull"):
        load_embedder("BAAI/nobody-has-this")


def test_an_index_remembers_its_embedder_and_refuses_another(folders, tmp_path):
    name = str(folders["encoder"])
    with Index.open(tmp_path / "index", embedder=load_embedder(name)) as index:
        index.add([Document("a", "sorted() returns a new list"), Document("b", "Paris is a city")])
        assert index.status().embedder == name
    with Index.open(tmp_path / "index") as index:
        assert index.status().dimension == 64
        assert len(index.search("sort a list", k=2)) == 2
    with pytest.raises(IndexMismatchError, match="all-MiniLM-L6-v2"):
        Index.open(tmp_path / "index", embedder=MiniLMEmbedder())


def test_a_remembered_embedder_that_is_gone(folders, tmp_path):
    folder = shutil.copytree(folders["encoder"], tmp_path / "gone")
    with Index.open(tmp_path / "index", embedder=load_embedder(str(folder))) as index:
        index.add([Document("a", "sorted() returns a new list")])
    shutil.rmtree(folder)
    with (
        Index.open(tmp_path / "index") as index,
        pytest.raises(IndexMismatchError, match=r"gone.*embedder="),
    ):
        index.search("sort a list", k=1)


class TestItIsAnEmbedder(EmbedderContract):
    @pytest.fixture(autouse=True)
    def choose(self, folders):
        self.folder = folders["roberta-encoder"]

    def make_embedder(self):
        return load_embedder(str(self.folder))
