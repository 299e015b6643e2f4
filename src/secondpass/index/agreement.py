"""The parts an index was built with, and whether those it is opened with are the same."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..embedding import load_embedder
from ..errors import IndexMismatchError, InputError, ModelNotFoundError
from ..splitting import RecursiveSplitter
from ..types import Document, Embedder, Passage
from .schema import Manifest

__all__ = ["STORES", "Parts", "Splitter", "check_agreement", "check_given", "new_manifest"]

STORES = ("sqlite", "chroma")


@runtime_checkable
class Splitter(Protocol):
    """Cuts documents into passages."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What one must know to split the same way again; JSON-able, with a ``name``."""
        ...

    def split(self, document: Document) -> list[Passage]:
        """Return passages in order of start, each with ``document.text[start:end] == text``."""
        ...


def check_given(embedder: object, store: object, splitter: object) -> None:
    """Refuse what is no embedder, store name or splitter; None means: as recorded, or the default."""
    if embedder is not None and not isinstance(embedder, Embedder):
        raise InputError(
            "an embedder has name, dimension, embed_queries(texts) and embed_passages(texts), "
            f"got {type(embedder).__name__}"
        )
    if store is not None and store not in STORES:
        raise InputError(f"store must be one of {', '.join(STORES)}, got {store!r}")
    if splitter is not None and not isinstance(splitter, Splitter):
        raise InputError(f"a splitter has settings and split(document), got {type(splitter).__name__}")


def new_manifest(embedder: Embedder | None, store: str | None, splitter: Splitter | None) -> Manifest:
    """Return the manifest of an index that is about to be made."""
    embedder = embedder or load_embedder()
    return Manifest(
        uuid=secrets.token_hex(16),
        embedder=embedder.name,
        dimension=embedder.dimension,
        store=store or "sqlite",
        splitter=_plain((splitter or RecursiveSplitter()).settings),
    )


def check_agreement(
    folder: Path,
    manifest: Manifest,
    embedder: Embedder | None,
    store: str | None,
    splitter: Splitter | None,
) -> None:
    """Compare what is given with what the index was built with.

    Raises:
        IndexMismatchError: they differ.
    """
    way_out = "Open it with what it was built with, or index into another folder"
    if embedder is not None and (embedder.name, embedder.dimension) != (
        manifest.embedder,
        manifest.dimension,
    ):
        raise IndexMismatchError(
            f"the index in {folder} was built with the embedder {manifest.embedder!r} ({manifest.dimension} "
            f"numbers a vector), not with {embedder.name!r} ({embedder.dimension}). {way_out}"
        )
    if store is not None and store != manifest.store:
        raise IndexMismatchError(
            f"the index in {folder} keeps its vectors in the store {manifest.store!r}, not in {store!r}. "
            f"{way_out}"
        )
    if splitter is not None and _plain(splitter.settings) != manifest.splitter:
        raise IndexMismatchError(
            f"the index in {folder} was split with {_shown(manifest.splitter)}, not with "
            f"{_shown(_plain(splitter.settings))}. {way_out}"
        )


class Parts:
    """Embedder and splitter of an index: those given, else those recorded, made when first needed."""

    def __init__(
        self, folder: Path, manifest: Manifest, embedder: Embedder | None, splitter: Splitter | None
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._embedder = embedder
        self._splitter = splitter
        self._lock = threading.Lock()

    @property
    def embedder(self) -> Embedder:
        """The embedder.

        Raises:
            IndexMismatchError: the one recorded is not one that can be made by its name.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = self._recorded_embedder()
            return self._embedder

    @property
    def splitter(self) -> Splitter:
        """The splitter.

        Raises:
            IndexMismatchError: the one recorded is not one that can be made from its settings.
        """
        if self._splitter is None:
            self._splitter = self._recorded_splitter()
        return self._splitter

    def _recorded_embedder(self) -> Embedder:
        try:
            embedder = load_embedder(self._manifest.embedder)
        except InputError as exc:
            raise IndexMismatchError(
                f"the index in {self._folder} was built with the embedder {self._manifest.embedder!r}, "
                "which is not one of ours; give it to Index.open(folder, embedder=...)"
            ) from exc
        except ModelNotFoundError as exc:
            raise IndexMismatchError(
                f"the index in {self._folder} was built with the embedder {self._manifest.embedder!r}: "
                f"{exc}. "
                "If it is one of your own, give it to Index.open(folder, embedder=...)"
            ) from exc
        check_agreement(self._folder, self._manifest, embedder, None, None)
        return embedder

    def _recorded_splitter(self) -> Splitter:
        settings = dict(self._manifest.splitter)
        try:
            if settings.pop("name") != "recursive":
                raise InputError("not ours")
            return RecursiveSplitter(**{**settings, "separators": tuple(settings["separators"])})
        except (InputError, KeyError, TypeError) as exc:
            raise IndexMismatchError(
                f"the index in {self._folder} was split with {_shown(self._manifest.splitter)}, which is not "
                "one of our splitters; give it to Index.open(folder, splitter=...)"
            ) from exc


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they come back from JSON."""
    try:
        plain = json.loads(json.dumps(dict(settings)))
    except (TypeError, ValueError) as exc:
        raise InputError(f"the settings of a splitter must be plain values, got {settings!r}") from exc
    return dict(plain)


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in settings.items())
