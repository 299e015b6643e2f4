from __future__ import annotations

from pathlib import Path

import pytest

from secondpass.cli.settings import KEYS, find_file, load
from secondpass.errors import SettingsError
from secondpass.gating import Gate


def write(folder: Path, text: str) -> Path:
    file = folder / "secondpass.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert settings.index == Path(".secondpass")
    assert (settings.reranker, settings.candidates, settings.k, settings.stage1) == ("auto", 20, 3, "dense")
    assert (settings.store, settings.size, settings.overlap) == ("sqlite", 500, 50)
    assert (settings.text_field, settings.max_file_size) == (None, 50 * 2**20)
    assert (settings.gitignore, settings.quiet, settings.given) == (True, False, frozenset())


def test_flags_beat_variables_beat_the_file_beat_defaults(tmp_path: Path) -> None:
    write(tmp_path, 'candidates = 31\nk = 7\nreranker = "none"\n')
    variables = {"SECONDPASS_CANDIDATES": "40", "SECONDPASS_K": "8"}
    settings = load({"candidates": 50}, variables, tmp_path)
    assert (settings.candidates, settings.k, settings.reranker, settings.size) == (50, 8, "none", 500)
    assert settings.given == {"candidates", "k", "reranker"}


def test_an_empty_variable_is_not_given(tmp_path: Path) -> None:
    assert load({}, {"SECONDPASS_K": " "}, tmp_path).k == 3


def test_each_setting_can_be_a_variable(tmp_path: Path) -> None:
    values = {
        "index": ("there", Path("there")),
        "reranker": ("minilm-l6", "minilm-l6"),
        "candidates": ("9", 9),
        "k": ("2", 2),
        "stage1": ("hybrid", "hybrid"),
        "precision": ("fp32", "fp32"),
        "embedder": ("bge-small-en-v1.5", "bge-small-en-v1.5"),
        "store": ("chroma", "chroma"),
        "size": ("100", 100),
        "overlap": ("0", 0),
        "text_field": ("body", "body"),
        "encoding": ("cp1250", "cp1250"),
        "max_file_size": ("2KB", 2048),
        "gitignore": ("no", False),
        "quiet": ("1", True),
        "deadline": ("0.5s", 500.0),
        "cache": ("off", False),
        "gate": ("minilm-l6 unless dense margin >= 0.25", Gate("minilm-l6", "dense", "margin", 0.25)),
        "min_precision": ("0.8", 0.8),
        "llm": ("local", "local"),
        "llm_url": ("http://localhost:11434/v1", "http://localhost:11434/v1"),
        "llm_model": ("llama3.2", "llama3.2"),
        "llm_window": ("8192", 8192),
    }
    assert {setting.field for setting in KEYS} == set(values)
    variables = {setting.variable: values[setting.field][0] for setting in KEYS}
    settings = load({}, variables, tmp_path)
    assert {name: getattr(settings, name) for name in values} == {
        name: value for name, (_, value) in values.items()
    }


def test_each_setting_can_be_a_key(tmp_path: Path) -> None:
    write(
        tmp_path,
        'index = "there"\nreranker = "none"\ncandidates = 9\nk = 2\nstage1 = "lexical"\nprecision = "fp32"\n'
        'embedder = "bge-small-en-v1.5"\nstore = "chroma"\n'
        'size = 100\noverlap = 0\ntext-field = "body"\nencoding = "cp1250"\nmax-file-size = 1000\n'
        "gitignore = false\nquiet = true\ndeadline = 80\ncache = false\n"
        "min-precision = 0.75\n"
        'llm = "endpoint"\nllm-url = "http://localhost/v1"\nllm-model = "m"\nllm-window = 2048\n'
        'gate = "minilm-l6 unless hybrid top >= 0.03"\n',
    )
    settings = load({}, {}, tmp_path)
    assert settings.given == {setting.field for setting in KEYS}
    assert (settings.max_file_size, settings.gitignore, settings.text_field) == (1000, False, "body")


def test_the_nearest_file_above_counts_alone(tmp_path: Path) -> None:
    write(tmp_path, "k = 5\ncandidates = 30\n")
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    assert load({}, {}, inner).k == 5
    nearer = write(tmp_path / "project", "candidates = 10\n")
    assert find_file(inner) == nearer
    assert (load({}, {}, inner).k, load({}, {}, inner).candidates) == (3, 10)


def test_folders_in_the_file_are_meant_from_the_file(tmp_path: Path) -> None:
    inner = tmp_path / "deep"
    inner.mkdir()
    write(tmp_path, 'index = "my_index"\nreranker = "./models/mine"\n')
    settings = load({}, {}, inner)
    assert settings.index == tmp_path / "my_index"
    assert Path(settings.reranker) == tmp_path / "models" / "mine"
    write(tmp_path, 'index = "/elsewhere"\nreranker = "owner/name"\n')
    assert load({}, {}, inner).index == Path("/elsewhere")
    assert load({}, {}, inner).reranker == "owner/name"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("candidate = 5", "unknown key 'candidate' in .*; did you mean 'candidates'"),
        ("max_file_size = 5", "did you mean 'max-file-size'"),
        ("zzzz = 5", "known are index, reranker"),
        ('k = "3"', "k in .*secondpass.toml must be a whole number of at least 1, got '3'"),
        ("k = 0", "k in .* got 0"),
        ("k = true", "k in .* got True"),
        ("k = 2.5", "k in .* got 2.5"),
        ('stage1 = "sparse"', "stage1 in .* must be one of dense, lexical, hybrid, got 'sparse'"),
        ("stage1 = 1", "stage1 in .* got 1"),
        ('gitignore = "yes"', "gitignore in .* must be true or false, got 'yes'"),
        ('index = ""', "index in .* must be text"),
        ('max-file-size = "50 elephants"', "must be a size such as 500KB"),
        ("max-file-size = -1", "must be a size such as 500KB"),
        ("[index]\nfolder = 1", "index in .* must be text"),
        ("k = = 3", r"cannot read .*secondpass.toml: .*line 1"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError, match=says) as caught:
        load({}, {}, tmp_path)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "secondpass.toml").write_bytes(b"k = 3 # \xff\xfe")
    with pytest.raises(SettingsError, match="cannot read"):
        load({}, {}, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SECONDPASS_K", "three", "SECONDPASS_K must be a whole number of at least 1, got 'three'"),
        ("SECONDPASS_OVERLAP", "-1", "SECONDPASS_OVERLAP must be a whole number of at least 0, got '-1'"),
        ("SECONDPASS_QUIET", "perhaps", "SECONDPASS_QUIET must be 1 or 0, got 'perhaps'"),
        ("SECONDPASS_MAX_FILE_SIZE", "big", "SECONDPASS_MAX_FILE_SIZE must be a size"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load({}, {variable: value}, tmp_path)


def test_a_wrong_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--stage1 must be one of dense, lexical, hybrid, got 'fuzzy'"):
        load({"stage1": "fuzzy"}, {"SECONDPASS_STAGE1": "dense"}, tmp_path)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500KB", 512_000), ("1.5 mb", 1_572_864), ("2GiB", 2**31), ("10b", 10), ("7 kib", 7168)],
)
def test_sizes(tmp_path: Path, text: str, size: int) -> None:
    assert load({"max_file_size": text}, {}, tmp_path).max_file_size == size


@pytest.mark.parametrize("text", ["", "MB", "0", "-5MB", "nan", "inf", "1e400", "5 TB", "5MBB", "MB5"])
def test_sizes_that_are_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="--max-file-size must be a size such as 500KB, 50MB or 1GB"):
        load({"max_file_size": text}, {}, tmp_path)


def test_gated_stands_for_the_gates_re_ranker(tmp_path: Path) -> None:
    write(tmp_path, 'reranker = "late-interaction"\ngate = "minilm-l6 unless dense margin >= 0.25"\n')
    assert (load({}, {}, tmp_path).reranker, load({}, {}, tmp_path).gated) == ("late-interaction", False)
    gated = load({"reranker": "gated"}, {}, tmp_path)
    assert (gated.reranker, gated.gated, gated.gate) == (
        "minilm-l6",
        True,
        Gate("minilm-l6", "dense", "margin", 0.25),
    )


def test_gated_without_a_gate_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="worth-it --write"):
        load({"reranker": "gated"}, {}, tmp_path)


def test_a_gate_that_reads_wrong_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, 'gate = "skip a lot"\n')
    with pytest.raises(SettingsError, match=r"gate in .* must be a gate such as") as caught:
        load({}, {}, tmp_path)
    assert str(file) in str(caught.value)
