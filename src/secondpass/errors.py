"""The exception tree: one root, one class per kind of trouble.

    SecondpassError
    ├── InputError                 what the caller gave cannot be used (also a ValueError)
    │   ├── QueryError             empty, or not text
    │   └── SettingsError          an option, a settings file or an environment variable
    ├── LoadError                  a file could not be read as text (has .path and .reason)
    ├── StorageError               something about the index on disk
    │   ├── IndexMissingError      nothing there yet
    │   ├── IndexDamagedError      files are there, but cannot be trusted
    │   ├── IndexMismatchError     built with another embedder or format
    │   ├── IndexLockedError       another process is writing
    │   └── IndexWriteError        the folder cannot be written, or the disk is full
    ├── ModelError                 something about model weights
    │   ├── ModelNotFoundError     no such name, or not on this machine
    │   └── ModelInvalidError      a file is missing, damaged or of another architecture
    ├── LlmError                   a language model cannot be reached, refuses, or broke off (has .text)
    ├── RemoteError                a service elsewhere gave no usable answer (has .status)
    ├── SearchCancelledError       the caller did not want the answer any more
    └── MissingExtraError          an optional package is not installed (also an ImportError)

Every message says what happened, to what, and what to do about it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "IndexDamagedError",
    "IndexLockedError",
    "IndexMismatchError",
    "IndexMissingError",
    "IndexWriteError",
    "InputError",
    "LlmError",
    "LoadError",
    "MissingExtraError",
    "ModelError",
    "ModelInvalidError",
    "ModelNotFoundError",
    "QueryError",
    "RemoteError",
    "SearchCancelledError",
    "SecondpassError",
    "SettingsError",
    "StorageError",
]


class SecondpassError(Exception):
    """Root of every error that secondpass raises on purpose."""


class InputError(SecondpassError, ValueError):
    """What the caller gave cannot be used."""


class QueryError(InputError):
    """A query is empty or is not text."""


class SettingsError(InputError):
    """An option, an environment variable or a line of ``secondpass.toml`` is wrong."""


class LoadError(SecondpassError):
    """A file could not be read as text.

    Attributes:
        path: the file.
        reason: a few words a person can act on, e.g. ``"binary file"``.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class StorageError(SecondpassError):
    """Something about the index on disk."""


class IndexMissingError(StorageError):
    """There is no index in that folder."""


class IndexDamagedError(StorageError):
    """The files of an index are there but cannot be trusted."""


class IndexMismatchError(StorageError):
    """The index was built with another embedder, dimension or format version."""


class IndexLockedError(StorageError):
    """Another process is writing to the index."""


class IndexWriteError(StorageError):
    """The index folder cannot be written, or the disk is full."""


class ModelError(SecondpassError):
    """Something about model weights."""


class ModelNotFoundError(ModelError):
    """No model of that name is known, or it is not on this machine."""


class ModelInvalidError(ModelError):
    """A model folder lacks a file, or a file is damaged or of an unsupported kind."""


class LlmError(SecondpassError):
    """A language model cannot be reached, refuses, or broke off in its answer.

    Attributes:
        text: what it had said until then; empty where it said nothing.
    """

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class RemoteError(SecondpassError):
    """A service on another machine, or behind a port of this one, gave no usable answer.

    Attributes:
        status: the HTTP status; None where no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SearchCancelledError(SecondpassError):
    """The caller took a search back before it was done, see ``Engine.search(cancel=...)``."""


class MissingExtraError(SecondpassError, ImportError):
    """An optional package is not installed; the message names the ``pip install`` line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}. Install it with: pip install 'secondpass[{extra}]'"
        )
        self.package = package
        self.extra = extra
