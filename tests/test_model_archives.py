"""Models in one file: export, import, records, and everything that an archive may try."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import tiny_architectures
import tiny_models
from secondpass import models, supply
from secondpass.errors import InputError, ModelError, ModelInvalidError
from secondpass.reranking import CrossEncoder
from secondpass.supply import golden
from secondpass.supply.records import read_record, write_record


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_architectures.ranker(tmp_path_factory.mktemp("checkpoint") / "tiny", "xlm-roberta")


@pytest.fixture(scope="module")
def archive(checkpoint, tmp_path_factory):
    """A safetensors model, converted and exported on another machine."""
    there = tmp_path_factory.mktemp("there")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECONDPASS_MODELS", str(there / "models"))
        shutil.copytree(checkpoint, there / "models" / "owner" / "tiny")
        supply.export_model("owner/tiny", there / "tiny.tar")
    return there / "tiny.tar"


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SECONDPASS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def rewritten(archive: Path, target: Path, change, manifest=None) -> Path:
    """Write an archive again: ``change`` gives each member's (name, content), or None to leave it out."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old.getmembers():
            content = old.extractfile(member).read()
            if member.name == "manifest.json" and manifest is not None:
                value = json.loads(content)
                manifest(value)
                content = json.dumps(value).encode()
            for name, each in change(member.name, content):
                entry = tarfile.TarInfo(name)
                entry.size = len(each)
                new.addfile(entry, io.BytesIO(each))
    return target


def same(name, content):
    return [(name, content)]


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not [each for each in folder.rglob("*") if each.name != "records"]


def test_a_model_moves_in_one_file(archive, checkpoint, user_models):
    folder, record = supply.import_model(archive)
    assert (folder.name, folder.path) == ("owner/tiny", user_models / "owner" / "tiny")
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(record.files)
    assert {"onnx/model.onnx", "onnx/model.onnx.data"} <= set(record.files), "no extra is needed there"
    expected = tiny_models.reference(checkpoint, "sort a list", ["a list", "a new list"])
    found = CrossEncoder("owner/tiny", precision="fp32").score("sort a list", ["a list", "a new list"])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not (user_models / "converted").exists()
    verified = supply.verify("owner/tiny")
    assert verified.files == len(record.files)
    assert verified.tolerance == golden.EXACT
    assert supply.speeds(["owner/tiny"])["owner/tiny"].passages == golden.TIMED
    with pytest.raises(InputError, match="exists already"):
        supply.import_model(archive)
    assert supply.verify("owner/tiny").values == 12


def test_the_same_model_gives_the_same_file(archive, tmp_path, user_models):
    supply.import_model(archive)
    supply.export_model("owner/tiny", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        supply.export_model("owner/tiny", tmp_path / "again.tar")


def test_what_cannot_be_exported(tmp_path, user_models):
    with pytest.raises(InputError, match="came with the package"):
        supply.export_model("minilm-l6", tmp_path / "minilm.tar")
    with pytest.raises(ModelError, match="nobody"):
        supply.export_model("nobody", tmp_path / "nobody.tar")
    assert not list(tmp_path.glob("*.tar"))


def test_a_target_that_cannot_be_written(archive, tmp_path, user_models):
    supply.import_model(archive)
    with pytest.raises(ModelError, match="cannot write"):
        supply.export_model("owner/tiny", tmp_path / "absent" / "tiny.tar")


@pytest.mark.parametrize("place", ["config.json", "tokenizer.json", "onnx/model.onnx", "model.safetensors"])
def test_one_changed_byte_is_refused(archive, tmp_path, user_models, place):
    def change(name, content):
        if name == f"files/{place}":
            content = content[:-1] + bytes([content[-1] ^ 1])
        return [(name, content)]

    changed = rewritten(archive, tmp_path / "changed.tar", change)
    with pytest.raises(ModelInvalidError, match=f"{place} is damaged or was changed"):
        supply.import_model(changed)
    assert nothing_left(user_models)


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/tmp/evil", "files/../../evil", "onnx\\evil", "C:evil", ".hidden", "a/../evil", ""],
)
def test_a_path_that_leads_outside_is_refused(archive, tmp_path, user_models, name):
    def declare(manifest):
        manifest["files"][name] = {"size": 4, "sha256": "0" * 64}

    def add(member, content):
        return (
            [(member, content), (f"files/{name}", b"evil")]
            if member == "manifest.json"
            else same(member, content)
        )

    for manifest in (declare, None):
        changed = rewritten(archive, tmp_path / "changed.tar", add, manifest)
        with pytest.raises(ModelInvalidError, match=r"outside of its folder|not in its manifest"):
            supply.import_model(changed)
    assert nothing_left(user_models)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "name",
    ["../owner/tiny", "/etc", "a/b/c", "records", "converted/x", "minilm-l6", "all-MiniLM-L6-v2", ".."],
)
def test_a_name_that_is_none_is_refused(archive, tmp_path, user_models, name):
    changed = rewritten(archive, tmp_path / "changed.tar", same, lambda manifest: manifest.update(name=name))
    with pytest.raises(ModelInvalidError, match=r"no name|another model"):
        supply.import_model(changed)
    assert nothing_left(user_models)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(archive, tmp_path, user_models, kind):
    with tarfile.open(archive) as old, tarfile.open(tmp_path / "link.tar", "w") as new:
        for member in old.getmembers():
            if member.name == "files/config.json":
                member = tarfile.TarInfo(member.name)
                member.type, member.linkname = kind, "/etc/passwd"
                new.addfile(member)
            else:
                new.addfile(member, old.extractfile(member))
    with pytest.raises(ModelInvalidError, match=r"files/config\.json"):
        supply.import_model(tmp_path / "link.tar")
    assert nothing_left(user_models)


def test_a_file_twice_or_missing_is_refused(archive, tmp_path, user_models):
    twice = rewritten(archive, tmp_path / "twice.tar", lambda name, content: same(name, content) * 2)
    with pytest.raises(ModelInvalidError, match="not in its manifest"):
        supply.import_model(twice)
    less = rewritten(
        archive,
        tmp_path / "less.tar",
        lambda name, content: [] if "tokenizer" in name else same(name, content),
    )
    with pytest.raises(ModelInvalidError, match="is missing from it"):
        supply.import_model(less)
    assert nothing_left(user_models)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_an_archive_that_was_cut_is_refused(archive, tmp_path, user_models, share):
    content = archive.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelInvalidError, match=r"cut\.tar was not imported"):
        supply.import_model(tmp_path / "cut.tar")
    assert nothing_left(user_models)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"not a tar at all" * 100, ModelInvalidError, "no tar file"),
        (None, InputError, "there is no file"),
    ],
)
def test_what_is_no_archive(tmp_path, user_models, content, kind, message):
    file = tmp_path / "other.tar"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(kind, match=message):
        supply.import_model(file)


@pytest.mark.parametrize(
    "value", [b"{}", b"[]", b"nonsense", b'{"format": 99}', b"\xff\xfe", b'{"format": 1, "kind": "oracle"}']
)
def test_a_manifest_that_makes_no_sense(archive, tmp_path, user_models, value):
    changed = rewritten(
        archive,
        tmp_path / "changed.tar",
        lambda name, content: [(name, value if name == "manifest.json" else content)],
    )
    with pytest.raises(ModelInvalidError, match="was not imported"):
        supply.import_model(changed)
    assert nothing_left(user_models)


def test_a_model_that_says_something_else_is_taken_away_again(archive, tmp_path, user_models):
    def other(manifest):
        manifest["golden"]["values"][0][0] += 1.0

    changed = rewritten(archive, tmp_path / "changed.tar", same, other)
    with pytest.raises(ModelInvalidError, match=r"gives other values here: one differs by 1\.0"):
        supply.import_model(changed)
    assert not (user_models / "owner" / "tiny").exists()
    assert read_record("owner/tiny") is None


def test_verify_without_a_record(checkpoint, user_models):
    shutil.copytree(checkpoint, user_models / "mine")
    with pytest.raises(InputError, match="nothing is recorded of mine"):
        supply.verify("mine")


def test_verify_notices_missing_and_changed_files(archive, user_models):
    folder, _ = supply.import_model(archive)
    weights = folder.path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelInvalidError, match=r"model\.safetensors is not the file that was fetched"):
        supply.verify("owner/tiny")
    weights.unlink()
    with pytest.raises(ModelInvalidError, match=r"model\.safetensors is missing"):
        supply.verify("owner/tiny")


def test_verify_notices_other_values(archive, user_models):
    _, record = supply.import_model(archive)
    rows = ((record.golden.values[0][0] + 0.01, *record.golden.values[0][1:]), *record.golden.values[1:])
    write_record(
        supply.Record(
            record.name,
            record.kind,
            record.hub_id,
            record.revision,
            record.files,
            supply.Golden("reranker", "fp32", True, "x", record.golden.queries, record.golden.passages, rows),
        )
    )
    with pytest.raises(ModelInvalidError, match=r"differs by 0\.0100, allowed is 0\.001"):
        supply.verify("owner/tiny")


@pytest.mark.parametrize("name", ["minilm-l6", "late-interaction", "all-MiniLM-L6-v2"])
def test_shipped_models_say_what_they_said(user_models, name):
    verified = supply.verify(name)
    assert verified.values >= 12
    assert verified.difference <= verified.tolerance
    assert supply.speeds([name])[name].ms > 0
    record = user_models / "records" / f"{name}.json"
    record.write_text("damaged")
    assert supply.speeds([name]) == {}


def test_allowed_differences():
    def made(exact, processor):
        return supply.Golden("reranker", "fp32", exact, processor, (), (), ())

    here = golden.processor_name()
    assert golden.allowed(made(True, "another")) == golden.EXACT
    assert golden.allowed(made(False, here)) == golden.SAME_PROCESSOR
    assert golden.allowed(made(False, "another")) == golden.OTHER_PROCESSOR
    assert models.resolve("minilm-l6").origin == "package"
