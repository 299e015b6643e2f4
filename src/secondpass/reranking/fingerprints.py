"""A short name for what a re-ranker's scores depend on: its weights, its tokenizer and its limits."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from ..converting import graph_place, int8_file
from ..models import ModelFolder
from .rare_words import RARE_WORDS_FILE

__all__ = ["fingerprint"]

_BLOCKS = 32
_BLOCK = 4096
_FILES = {RARE_WORDS_FILE, "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
_WEIGHTS = {".onnx", ".onnx_data", ".data", ".safetensors"}


def fingerprint(folder: ModelFolder, *settings: object) -> str:
    """Return 32 hex digits that differ wherever two scores may differ.

    Weights are not read whole, which would take seconds for a large model: of each file count its size, its
    time of change and 32 blocks spread over it. Training changes all of them, and so does a conversion.

    Args:
        folder: of the model.
        settings: limits and ways of computing that change a score, with a ``repr`` that tells them.
    """
    digest = blake2b(repr((folder.name, *settings)).encode("utf-8", "surrogatepass"), digest_size=16)
    places = [folder.path, folder.path / "onnx"]
    graph = graph_place(folder)
    places += [graph.parent, int8_file(folder, graph).parent]
    for place in dict.fromkeys(places):
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            if (file.name in _FILES or file.suffix in _WEIGHTS) and file.is_file():
                _add(digest, file)
    return digest.hexdigest()


def _add(digest: blake2b, file: Path) -> None:
    status = file.stat()
    digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    with file.open("rb") as stream:
        for number in range(_BLOCKS):
            stream.seek(status.st_size * number // _BLOCKS)
            digest.update(stream.read(_BLOCK))
