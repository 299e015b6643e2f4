"""Cross-encoders on torch against transformers' own logits and ours, and devices that are not there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import tiny_models
from secondpass.errors import InputError, ModelInvalidError, QueryError
from secondpass.inference import checked_device
from secondpass.reranking import CrossEncoder, TorchCrossEncoder, load_reranker
from secondpass.testing import RerankerContract
from secondpass.types import SupportsReadings

QUERY = "how do I sort a list of numbers"
PASSAGES = [
    "sorted() returns a new list",
    "the capital of France is Paris, and people live there",
    "",
    "warnings and modules, numbers! ünï 日本 end",
    "list.sort() works in place.\r\nIt is stable.",
]
KINDS = ["bert", "xlm-roberta"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: tiny_models.checkpoint(root / kind, kind) for kind in KINDS}


def load(folder: Path, **settings: object) -> TorchCrossEncoder:
    with tiny_models.quiet():
        return TorchCrossEncoder(folder, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_logits_that_transformers_gives(checkpoints, kind):
    reranker = load(checkpoints[kind], device="cpu")
    expected = tiny_models.reference(checkpoints[kind], QUERY, PASSAGES)
    assert np.allclose(reranker.score(QUERY, PASSAGES), expected, atol=1e-4)
    assert isinstance(reranker, SupportsReadings)
    assert reranker.logits


@pytest.mark.parametrize("kind", KINDS)
def test_long_passages_are_read_in_the_windows_of_our_own_backend(checkpoints, kind):
    passages = ["the capital of France is Paris. " * 40, "list.sort() works in place. " * 7, "short"]
    ours = CrossEncoder(checkpoints[kind], precision="fp32", max_windows=3)
    theirs = load(checkpoints[kind], device="cpu", max_windows=3)
    assert theirs.max_length == ours.max_length
    for mine, own in zip(ours.read(QUERY, passages), theirs.read(QUERY, passages), strict=True):
        assert (own.tokens_seen, own.tokens_total) == (mine.tokens_seen, mine.tokens_total)
        assert (own.start, own.end) == (mine.start, mine.end)
        assert own.score == pytest.approx(mine.score, abs=1e-3)
    cut = theirs.read(QUERY, passages)[0]
    assert cut.tokens_seen < cut.tokens_total


@pytest.fixture(scope="module", params=KINDS)
def contract(request, checkpoints):
    return load(checkpoints[request.param], device="cpu")


class TestTorchContract(RerankerContract):
    @pytest.fixture(autouse=True)
    def _keep(self, contract):
        self.reranker = contract

    def make_reranker(self):
        return self.reranker


def test_it_loads_by_backend_and_takes_a_device_that_is_there(checkpoints):
    with tiny_models.quiet():
        reranker = load_reranker(checkpoints["bert"], backend="torch")
    assert isinstance(reranker, TorchCrossEncoder)
    there = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert reranker.device == there
    assert reranker.name == "bert"


def test_the_activation_of_a_model_changes_no_score(checkpoints, tmp_path):
    folder = tmp_path / "with_activation"
    shutil.copytree(checkpoints["bert"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    (folder / "config.json").write_text(json.dumps(config))
    expected = load(checkpoints["bert"], device="cpu").score(QUERY, PASSAGES)
    assert np.allclose(load(folder, device="cpu").score(QUERY, PASSAGES), expected, atol=1e-6)


def test_bfloat16_is_near_float32(checkpoints):
    exact = load(checkpoints["bert"], device="cpu")
    coarse = load(checkpoints["bert"], device="cpu", dtype="bfloat16")
    a, b = exact.score(QUERY, PASSAGES), coarse.score(QUERY, PASSAGES)
    assert not np.array_equal(a, b)
    assert np.allclose(a, b, atol=0.1, rtol=0.1)
    assert exact.fingerprint != coarse.fingerprint


def test_a_query_must_leave_room(checkpoints):
    reranker = load(checkpoints["bert"], device="cpu")
    with pytest.raises(QueryError, match="ask a shorter question"):
        reranker.score("sort numbers " * 60, ["x"])
    with pytest.raises(QueryError, match="empty"):
        reranker.score(" ", ["x"])
    with pytest.raises(InputError, match="list of strings"):
        reranker.score(QUERY, "x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "cuda, cuda:1, mps or cpu"),
        ({"device": "mps:1"}, "cuda, cuda:1, mps or cpu"),
        ({"device": "cuda:x"}, "cuda, cuda:1, mps or cpu"),
        ({"device": 0}, "cuda, cuda:1, mps or cpu"),
        ({"dtype": "int8"}, "dtype must be one of float32"),
        ({"max_length": 100_000}, "max_length must be 8"),
        ({"max_windows": 0}, "max_windows must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(checkpoints, settings, message):
    with pytest.raises(InputError, match=message):
        load(checkpoints["bert"], **{"device": "cpu", **settings})


def test_a_device_that_is_not_there_is_named(checkpoints):
    absent = [
        name
        for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        if not there
    ]
    assert absent  # no machine has both
    for name in absent:
        with pytest.raises(InputError, match=f"device '{name}' is not there .* it can use: "):
            load(checkpoints["bert"], device=name)


def test_models_that_torch_cannot_read_as_a_ranker_are_refused(checkpoints, tmp_path):
    with pytest.raises(ModelInvalidError, match=r"no model\.safetensors"):
        load_reranker("minilm-l6", backend="torch")
    with pytest.raises(ModelInvalidError, match="gives 3 values"):
        load(tiny_models.checkpoint(tmp_path / "three", "bert", labels=3), device="cpu")
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoints["bert"], damaged)
    tiny_models.damage(damaged / "model.safetensors", "truncated")
    with pytest.raises(ModelInvalidError, match="torch cannot read damaged"):
        load(damaged, device="cpu")
    other = tmp_path / "other"
    shutil.copytree(checkpoints["bert"], other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(ModelInvalidError, match="is a BertForMaskedLM; a cross-encoder ends in"):
        load(other, device="cpu")
    nan = tmp_path / "nan"
    shutil.copytree(checkpoints["bert"], nan)
    tiny_models.change(nan, "classifier.bias", lambda old: old * np.nan)
    with pytest.raises(ModelInvalidError, match="not finite"):
        load(nan, device="cpu").score(QUERY, ["x"])


def test_unknown_ways_are_refused():
    with pytest.raises(InputError, match="backend must be one of onnx, torch"):
        load_reranker("auto", backend="jax")
    with pytest.raises(InputError, match="leave out backend and device"):
        load_reranker("late-interaction", backend="torch")
    with pytest.raises(InputError, match="leave out backend and device"):
        load_reranker("late-interaction", device="cuda")


def test_without_torch_the_error_names_the_extra():
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from secondpass import load_reranker\n"
        "try: load_reranker('x', backend='torch')\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError")
    assert "pip install 'secondpass[torch]'" in done.stdout


@pytest.mark.parametrize("device", ["mps", "cuda:", "cuda:-1", "gpu", 1, None])
def test_onnx_runtime_knows_cpu_and_cuda(device):
    with pytest.raises(InputError, match="device must be cpu, cuda or cuda:1"):
        checked_device(device)


def test_onnx_on_cuda_is_refused_where_it_cannot_work_and_runs_where_it_can(checkpoints):
    try:
        reranker = CrossEncoder(checkpoints["bert"], device="cuda")
    except InputError as error:
        offered = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        assert ("could not start on cuda" if offered else "needs onnxruntime-gpu") in str(error)  # noqa: PT017
    else:
        expected = tiny_models.reference(checkpoints["bert"], QUERY, PASSAGES)
        assert np.allclose(reranker.score(QUERY, PASSAGES), expected, atol=1e-3)


TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}<|answer|>"
)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A tiny Qwen2 with random weights that can say yes and no, with a template."""
    folder = tmp_path_factory.mktemp("models") / "says-yes"
    with tiny_models.quiet():
        import transformers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|pad|>", "<|end|>", "yes", "no"],
            show_progress=False,
        )
        tokenizer.train_from_iterator(tiny_models.CORPUS, trainer)
        wrapped = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", model_max_length=256
        )
        wrapped.chat_template = TEMPLATE
        wrapped.save_pretrained(folder)
        torch.manual_seed(7)
        config = transformers.Qwen2Config(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            max_position_embeddings=256,
            initializer_range=0.3,
            pad_token_id=0,
            eos_token_id=1,
        )
        transformers.Qwen2ForCausalLM(config).eval().save_pretrained(folder)
    return folder


def yes_less_no(folder, passage):
    """Return what transformers gives for one pair in the template."""
    with tiny_models.quiet():
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        text = f"<|query|>{QUERY}\n<|document|>{passage}\n<|answer|>"
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
        yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
        return float(logits[yes] - logits[no])


def test_a_language_model_is_asked_in_its_template(language_model):
    reranker = load(language_model, device="cpu")
    expected = [yes_less_no(language_model, passage) for passage in PASSAGES]
    assert np.allclose(reranker.score(QUERY, PASSAGES), expected, atol=1e-3)


def test_a_language_model_reads_long_passages_in_windows(language_model):
    reranker = load(language_model, device="cpu", max_windows=3)
    passage = "the capital of France is Paris, and people live there. " * 60
    [reading] = reranker.read(QUERY, [passage])
    assert reading.tokens_seen < reading.tokens_total
    own = yes_less_no(language_model, passage[reading.start : reading.end])
    assert reading.score == pytest.approx(own, abs=1e-2)


class TestLanguageModelContract(RerankerContract):
    @pytest.fixture(autouse=True)
    def _keep(self, language_model):
        self.folder = language_model

    def make_reranker(self):
        return load(self.folder, device="cpu")
