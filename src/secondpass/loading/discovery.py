"""Finding files: what was named, and what folders hold, each real file once, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .gitignore import Rules, is_repository, rules_for
from .options import LoadOptions, Paths, absolute, named_paths

__all__ = ["discover"]

_NEVER = {".git", ".hg", ".svn", ".venv", ".secondpass", "__pycache__", "node_modules"}
"""Folders that hold no documents of the user's own, hidden or not."""

_INDEX_PARTS = {"index.db", "cache"}


def discover(paths: Paths, options: LoadOptions | None = None) -> Iterator[Path]:
    """Yield the absolute paths of the files to read, named ones and those inside named folders.

    Folders are walked by name. Left out in silence: hidden files and folders (unless asked for),
    version control, virtual environments, ``node_modules``, ``__pycache__``, secondpass indexes,
    and, inside a git repository, what it ignores. What was named is always read. A file reached
    through two paths comes once, under the first; a folder met again is not walked again, so
    that loops of symbolic links end.

    What turns out not to be readable (a named path that does not exist, a FIFO, a dangling
    link, a folder that cannot be listed) is yielded too: ``read`` says what is wrong with it.

    Raises:
        InputError: something in ``paths`` is no path.
    """
    names = named_paths(paths)  # refused at the call, not at the first file
    return _Walk(options or LoadOptions()).files(names)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or folder: where it was met, its real path, and the rules of the folder that holds it.

    ``linked`` says that the real path is elsewhere, so that the rules there are to be looked up.
    """

    path: str
    real: str
    is_folder: bool
    above: Rules | None
    linked: bool


class _Walk:
    """One run over several paths, with what it has already met."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._met: set[str] = set()

    def files(self, names: list[str]) -> Iterator[Path]:
        for name in names:
            path = str(absolute(name))
            if _is_folder(path):
                yield from self._folder(path)
            elif self._first_time(_real(path)):
                yield Path(path)

    def _folder(self, top: str) -> Iterator[Path]:
        # A stack of our own: folders can be nested deeper than calls can.
        open_folders = [self._entries(_Entry(top, _real(top), True, None, linked=True))]
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
            elif entry.is_folder:
                open_folders.append(self._entries(entry))
            else:
                yield Path(entry.path)

    def _entries(self, folder: _Entry) -> Iterator[_Entry]:
        """Yield what is wanted of a folder, by name; nothing if it was met before."""
        if not self._first_time(folder.real):
            return
        try:
            with os.scandir(folder.real) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            yield _Entry(folder.path, folder.real, False, None, linked=False)  # read() says why
            return
        names = {entry.name for entry in entries}
        if names >= _INDEX_PARTS or "pyvenv.cfg" in names:
            return
        rules = self._rules(folder)
        for found in entries:
            if self._unwanted(found.name):
                continue
            entry = _entry(found, folder, rules)
            # To git a symbolic link is a file, whatever it leads to.
            if rules is not None and rules.ignores(
                f"{folder.real}{os.sep}{found.name}", entry.is_folder and not entry.linked
            ):
                continue
            if entry.is_folder or self._first_time(entry.real):
                yield entry

    def _rules(self, folder: _Entry) -> Rules | None:
        if not self._options.gitignore:
            return None
        if folder.linked:
            return rules_for(folder.real)
        if folder.above is not None:
            return folder.above.inside(folder.real)
        return Rules().inside(folder.real) if is_repository(folder.real) else None

    def _unwanted(self, name: str) -> bool:
        return name in _NEVER or (name.startswith(".") and not self._options.include_hidden)

    def _first_time(self, real: str) -> bool:
        if real in self._met:
            return False
        self._met.add(real)
        return True


def _entry(found: os.DirEntry[str], folder: _Entry, rules: Rules | None) -> _Entry:
    path = str(Path(folder.path, found.name))
    if found.is_symlink():
        return _Entry(path, _real(path), _is_folder(path), rules, linked=True)
    real = str(Path(folder.real, found.name))
    return _Entry(path, real, found.is_dir(follow_symlinks=False), rules, linked=False)


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
