"""From what a person wrote (a path, an id, a quoted text) to the documents or passages of an index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .lines import fault
from .rows import Entry
from .values import Unit

if TYPE_CHECKING:
    from ..index import Index
    from ..types import Passage

__all__ = ["Resolved", "resolve", "unresolved"]

_PASSAGE_ID = re.compile(r"[0-9a-f]{16}")
_SHOWN = 3
"""How many of several places a message names."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the entries stand for.

    Attributes:
        keys: for each entry its documents' or passages' ids; what was not found stands for itself.
        unit: what all of them name.
        missing: relevant entries that are not in the index.
    """

    keys: tuple[tuple[str, ...], ...]
    unit: Unit
    missing: tuple[Entry, ...] = ()


def unresolved(path: Path, entries: Sequence[Entry]) -> Resolved:
    """Take the entries as they are written, where there is no index to look them up in.

    Raises:
        InputError: one is a quoted text, or passages and documents are mixed.
    """
    units: dict[Unit, int] = {}
    for entry in entries:
        if entry.kind == "quote":
            raise fault(path, entry.line, "a quoted text can only be found in an index; name one")
        units.setdefault("passage" if entry.kind == "passage" else "document", entry.line)
    return Resolved(tuple((entry.text,) for entry in entries), _one_unit(path, units))


def resolve(path: Path, entries: Sequence[Entry], index: Index, *, quotes: bool) -> Resolved:
    """Look the entries up in an index.

    In this order: a document's id; its path (absolute, from the working directory, or an end of it that fits
    one document alone); a passage's id; with ``quotes`` a text that stands in a document, spaces and line
    ends taken as one space: then the passages that hold all of it, else those that hold a part.

    Raises:
        InputError: an entry fits several places, passages and documents are mixed, or none of what is
            relevant is there.
    """
    catalogue = _Catalogue(index)
    keys: list[tuple[str, ...]] = []
    units: dict[Unit, int] = {}
    wanted: list[int] = []
    for place, entry in enumerate(entries):
        found, unit = _looked_up(path, entry, catalogue, index)
        keys.append(found)
        if found:
            units.setdefault(unit, entry.line)
        elif quotes and entry.kind in ("any", "quote"):
            wanted.append(place)
    for place, found in _quoted(path, [entries[place] for place in wanted], index, catalogue).items():
        keys[wanted[place]] = found
        units.setdefault("passage", entries[wanted[place]].line)
    missing = tuple(
        entry for entry, found in zip(entries, keys, strict=True) if not found and entry.grade > 0
    )
    _check_some_found(path, entries, missing, index, quotes=quotes)
    return Resolved(
        tuple(found or (entry.text,) for entry, found in zip(entries, keys, strict=True)),
        _one_unit(path, units),
        missing,
    )


class _Catalogue:
    """The documents of an index by id, by path, and by the last part of their path."""

    def __init__(self, index: Index) -> None:
        self.ids: dict[str, None] = {}
        self._paths: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        for summary in index.documents():
            self.ids[summary.id] = None
            for path in {_slashed(summary.id), _slashed(summary.source)}:
                self._paths.setdefault(path, []).append(summary.id)
        for path in self._paths:
            self._names.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, text: str) -> list[str]:
        """Return the ids of the documents that a text names; several where it is ambiguous."""
        if text in self.ids:
            return [text]
        for path in (_slashed(text), _slashed(os.path.abspath(text))):  # noqa: PTH100  keeps symbolic links
            if path in self._paths:
                return self._paths[path]
        tail = _slashed(os.path.normpath(text))
        fitting = [path for path in self._names.get(tail.rpartition("/")[2], ()) if path.endswith(f"/{tail}")]
        return list(dict.fromkeys(key for path in fitting for key in self._paths[path]))


def _slashed(path: str) -> str:
    return path.replace(os.sep, "/")


def _looked_up(path: Path, entry: Entry, catalogue: _Catalogue, index: Index) -> tuple[tuple[str, ...], Unit]:
    """Return the ids that an entry names and what they are of; none where it names nothing."""
    if entry.kind in ("any", "document"):
        found = catalogue.find(entry.text)
        if len(found) > 1:
            raise fault(
                path,
                entry.line,
                f"{entry.text!r} fits {len(found)} documents ({_some(found)}); write more of its path, or "
                "its id",
            )
        if found:
            return tuple(found), "document"
    if entry.kind in ("any", "passage") and _PASSAGE_ID.fullmatch(entry.text):
        try:
            return (index.passage(entry.text).id,), "passage"
        except InputError:
            return (), "passage"
    return (), "passage"


def _quoted(
    path: Path, entries: Sequence[Entry], index: Index, catalogue: _Catalogue
) -> Mapping[int, tuple[str, ...]]:
    """Return the passages of each text that stands in the index, by the entry's place; all in one pass."""
    flat = [" ".join(entry.text.split()) for entry in entries]
    places: dict[int, list[list[Passage]]] = {}
    for key in catalogue.ids if entries else ():
        text = index.document(key).text
        flat_text = " ".join(text.split())
        here = [number for number, quote in enumerate(flat) if quote in flat_text]
        passages = index.passages(key) if here else []
        for number in here:
            places.setdefault(number, []).extend(_holding(text, flat[number], passages))
    found = {}
    for number, several in places.items():
        if len({tuple(passage.text for passage in each) for each in several}) > 1:
            where = [f"{each[0].source}:{each[0].line_start}" for each in several]
            raise fault(
                path,
                entries[number].line,
                f"the text {_short(flat[number])!r} stands in {len(several)} places ({_some(where)}); "
                "quote more of it",
            )
        if several:  # of equal texts the first place is what a search gives
            found[number] = tuple(passage.id for passage in several[0])
    return found


def _holding(text: str, quote: str, passages: Sequence[Passage]) -> Iterator[list[Passage]]:
    """Yield for each place of a quote the passages that hold all of it, else those that hold a part."""
    for place in re.finditer(r"\s+".join(map(re.escape, quote.split())), text):
        start, end = place.span()
        whole = [each for each in passages if each.start <= start and end <= each.end]
        if touched := whole or [each for each in passages if each.start < end and start < each.end]:
            yield touched


def _check_some_found(
    path: Path, entries: Sequence[Entry], missing: Sequence[Entry], index: Index, *, quotes: bool
) -> None:
    relevant = sum(entry.grade > 0 for entry in entries)
    if not relevant or len(missing) < relevant:
        return
    first = missing[0]
    what = "a source, an id, or a text that stands in it word for word" if quotes else "an id or a path"
    raise fault(
        path,
        first.line,
        f"{_short(first.text)!r} is not in the index {index.path}, nor is anything else that the file calls "
        f"relevant; was another folder indexed? Each must be {what}",
    )


def _one_unit(path: Path, units: Mapping[Unit, int]) -> Unit:
    if len(units) > 1:
        raise fault(
            path,
            max(units.values()),
            f"documents are judged here (line {units['document']}) and passages too (line "
            f"{units['passage']}); a document scores as its best passage, so the two do not fit into one "
            "figure: make it two files",
        )
    return next(iter(units), "document")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
