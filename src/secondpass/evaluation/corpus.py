"""The index over the documents of a BEIR folder: built once, kept in the user's cache folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IndexDamagedError, IndexMismatchError, IndexWriteError, InputError
from ..index import Index
from .beir import documents

if TYPE_CHECKING:
    from ..index.values import ProgressCallback
    from ..types import Document, Embedder

__all__ = ["cache_of", "index_of", "is_ready"]

_INDEX, _RECORD = "index", "corpus.json"
_NAMES = ("corpus.jsonl", "corpus.jsonl.gz")


def index_of(
    folder: str | Path, *, embedder: Embedder | None = None, progress: ProgressCallback | None = None
) -> Index:
    """Open an index over the documents of a BEIR folder; build it, or bring it up to date, where needed.

    A run that was killed is taken up where it ended. Documents that are there unchanged cost no embedding;
    those that have gone from the file go from the index. An index that cannot be trusted is built anew: all
    of it follows from the file.

    Args:
        folder: holds ``corpus.jsonl`` or ``corpus.jsonl.gz``.
        embedder: all-MiniLM-L6-v2 by default; each embedder has an index of its own.
        progress: called after each commit; never where the index is ready, see ``is_ready``.

    Raises:
        InputError: there is no corpus, or a line of it is wrong; file and line are named.
        StorageError: the cache cannot be written, or another process is building this index.
    """
    state = _state(Path(folder))  # before it is read: a change meanwhile is met the next time
    home = cache_of(folder, embedder)
    try:
        index = Index.open(home / _INDEX, embedder=embedder)
    except (IndexDamagedError, IndexMismatchError):
        _discard(home)
        index = Index.open(home / _INDEX, embedder=embedder)
    try:
        if _recorded(home) != state:
            _bring_up_to_date(index, Path(folder), progress)
            _record(home, state)
    except BaseException:
        index.close()
        raise
    return index


def is_ready(folder: str | Path, *, embedder: Embedder | None = None) -> bool:
    """Whether ``index_of`` has nothing to build.

    Raises:
        InputError: there is no corpus in the folder.
    """
    home = cache_of(folder, embedder)
    return (home / _INDEX).is_dir() and _recorded(home) == _state(Path(folder))


def cache_of(folder: str | Path, embedder: Embedder | None = None) -> Path:
    """Return where the index of a folder is kept, below ``SECONDPASS_CACHE_FOLDER`` or the user's cache."""
    whole = Path(folder).expanduser().resolve()
    named = os.environ.get("SECONDPASS_CACHE_FOLDER", "").strip()
    if named:
        base = Path(named).expanduser().absolute()
    else:
        import platformdirs

        base = Path(platformdirs.user_cache_dir("secondpass", appauthor=False))
    what = os.fsencode(whole) + b"\0" + ("" if embedder is None else embedder.name).encode()
    return base / "eval" / f"{whole.name or 'root'}-{blake2b(what, digest_size=6).hexdigest()}"


def _bring_up_to_date(index: Index, folder: Path, progress: ProgressCallback | None) -> None:
    seen: set[str] = set()
    index.add(_noted(documents(folder), seen), progress=progress)
    gone = [each.id for each in index.documents() if each.id not in seen]
    if gone:
        index.remove(gone)


def _noted(given: Iterator[Document], seen: set[str]) -> Iterator[Document]:
    for document in given:
        seen.add(document.id)
        yield document


def _state(folder: Path) -> dict[str, object]:
    """Return what changes when the corpus does."""
    for name in _NAMES:
        path = folder.expanduser() / name
        if path.is_file():
            found = path.stat()
            return {"file": str(path.resolve()), "size": found.st_size, "changed": found.st_mtime_ns}
    raise InputError(f"no {_NAMES[0]} in {folder}; a folder in BEIR layout has one, with _id and text a line")


def _recorded(home: Path) -> object:
    """Return the state of the corpus that the index was finished for; None where there is none."""
    try:
        return json.loads((home / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _record(home: Path, state: dict[str, object]) -> None:
    """Note, in one step, that the index is finished."""
    staged = home / f"{_RECORD}.{os.getpid()}.tmp"
    try:
        staged.write_text(json.dumps(state), encoding="utf-8")
        staged.replace(home / _RECORD)
    except OSError as exc:
        raise IndexWriteError(
            f"cannot write to {home}: {exc.strerror}; name another folder with SECONDPASS_CACHE_FOLDER"
        ) from exc


def _discard(home: Path) -> None:
    """Remove an index that cannot be used; its record first, so that what remains counts as unfinished."""
    try:
        (home / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(home / _INDEX)
    except OSError as exc:
        raise IndexWriteError(f"cannot remove {home}: {exc.strerror}; remove it by hand") from exc
