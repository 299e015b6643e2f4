"""A model folder in one file, for a machine without a network, and back.

The file is a plain tar: ``manifest.json`` first, then ``files/...``. Nothing is believed: every name must be
in the manifest and stay inside the folder, every size and sha256 must be right, and until all of them are
nothing is put in place.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from .. import hub, models
from ..converting import graph_place
from ..errors import InputError, ModelError, ModelInvalidError
from ..models import ModelFolder, user_models_dir
from .golden import allowed, compare, measure
from .pulling import recorded
from .records import Record, facts_of, files_of, from_json, read_record, to_json, write_record

__all__ = ["export_model", "import_model"]

MANIFEST, FILES = "manifest.json", "files/"
_MAX_MANIFEST = 16 * 2**20
_PIECE = 2**20
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_RESERVED = ("converted", "optimised", "records")


def export_model(name: str, target: Path) -> Record:
    """Write a model, its checksums and its golden values into one tar file, whole or not at all.

    Of a model that was converted the graph goes along, so that the other machine needs no extra.

    Raises:
        InputError: it came with the package, or the target exists.
        ModelNotFoundError: it is not on this machine.
        ModelError: the target cannot be written.
    """
    folder = models.resolve(name, None)
    if folder.origin == "package":
        raise InputError(f"{folder.name} came with the package; it is wherever secondpass is installed")
    if target.exists():
        raise InputError(f"{target} exists already; give another name, or delete it")
    record = read_record(folder.name) or recorded(folder)
    files = _with_graph(folder)
    record = replace(record, files={each: facts_of(file) for each, file in files.items()}, speed=None)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            text = json.dumps(to_json(record)).encode()
            archive.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
            for each, file in files.items():
                with file.open("rb") as stream:
                    archive.addfile(_entry(FILES + each, record.files[each].size), stream)
        part.replace(target)
    except OSError as exc:
        raise ModelError(f"cannot write {target}: {exc.strerror or exc}; free space there") from exc
    finally:
        part.unlink(missing_ok=True)
    return record


def import_model(source: Path) -> tuple[ModelFolder, Record]:
    """Unpack what ``export_model`` wrote into the user's model folder, and replay its golden values.

    Raises:
        InputError: there is no such file, or a model of that name is in the model folder already.
        ModelInvalidError: it is no such archive, it was changed or cut, it points outside of its folder, or
            the model does not say here what it said there. Nothing is left of it.
        ModelError: the model folder cannot be written.
    """
    try:
        root = user_models_dir()
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".importing-") as place:
            made = Path(place) / "model"
            made.mkdir()
            with _opened(source) as archive:
                record = _unpack(source, archive, made)
            target = root / record.name
            if target.exists():
                raise InputError(f"{target} exists already; delete it first to import the model again")
            target.parent.mkdir(parents=True, exist_ok=True)
            made.rename(target)
    except tarfile.TarError as exc:
        raise _refused(source, f"it is cut or damaged ({exc})") from exc
    except OSError as exc:
        raise ModelError(f"cannot import {source}: {exc.strerror or exc}; {exc.filename or ''}") from exc
    return _settled(source, record, target)


def _settled(source: Path, record: Record, target: Path) -> tuple[ModelFolder, Record]:
    """Use the model once; take it away again where it does not say what it said on the other machine."""
    try:
        if record.golden is not None:
            difference, tolerance = (
                compare(record.golden, ModelFolder(record.name, target, "user")),
                allowed(record.golden),
            )
            if not difference <= tolerance:
                why = f"its model gives other values here: one differs by {difference:.4f}"
                raise _refused(source, f"{why}, allowed is {tolerance}")
        record = replace(record, speed=measure(record.name, record.kind))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    write_record(record)
    return ModelFolder(record.name, target, "user"), record


def _with_graph(folder: ModelFolder) -> Mapping[str, Path]:
    files = files_of(folder)
    graph = graph_place(folder)
    if graph.is_file() and not graph.is_relative_to(folder.path):
        beside = graph.with_name(f"{graph.name}.data")
        files["onnx/model.onnx"] = graph
        if beside.is_file():
            files["onnx/model.onnx.data"] = beside
    return dict(sorted(files.items()))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    """Return a member without owner and time: the same model gives the same file."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def _opened(source: Path) -> tarfile.TarFile:
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    try:
        return tarfile.open(source, "r:")
    except tarfile.TarError as exc:
        raise _refused(source, "it is no tar file") from exc


def _unpack(source: Path, archive: tarfile.TarFile, target: Path) -> Record:
    record = _manifest(source, archive)
    expected = dict(record.files)
    while (member := archive.next()) is not None:
        name = member.name.removeprefix(FILES)
        if not member.isreg() or member.name == name or name not in expected:
            raise _refused(source, f"it holds {member.name!r}, which is not in its manifest")
        facts = expected.pop(name)
        if member.size != facts.size:
            raise _refused(source, f"{name} has {member.size} bytes, its manifest says {facts.size}")
        stream = archive.extractfile(member)
        if stream is None or _copied(stream, target / name) != facts.sha256:
            raise _refused(source, f"{name} is damaged or was changed: its sha256 is another")
    if expected:
        raise _refused(source, f"{next(iter(expected))} is missing from it; it was cut, copy it again")
    return record


def _manifest(source: Path, archive: tarfile.TarFile) -> Record:
    first = archive.next()
    stream = archive.extractfile(first) if first is not None and first.isreg() else None
    if first is None or stream is None or first.name != MANIFEST or first.size > _MAX_MANIFEST:
        raise _refused(
            source, f"it does not begin with {MANIFEST}; secondpass models export did not write it"
        )
    try:
        record = from_json(json.loads(stream.read()))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _refused(source, f"its {MANIFEST} cannot be read ({exc!r})") from exc
    owner = record.name.partition("/")[0]
    if not hub.is_plain(record.name) or owner in _RESERVED or ".." in record.name:
        raise _refused(source, f"its model is called {record.name!r}, which is no name")
    known = models.known_as(record.name)
    if known is not None and (known.shipped or known.kind != record.kind or known.name != record.name):
        raise _refused(source, f"it calls itself {record.name!r}, and that is another model")
    for name in record.files:
        if not re.fullmatch(rf"{_PART}(/{_PART}){{0,3}}", name):
            raise _refused(
                source, f"it wants to write {name!r}, which is outside of its folder or no plain name"
            )
    return record


def _copied(stream: IO[bytes], target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("xb") as out:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest()


def _refused(source: Path, why: str) -> ModelInvalidError:
    return ModelInvalidError(f"{source} was not imported: {why}")
