"""What ``worth-it`` is given, checked, and what it would write, as settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..verdict import Verdict

__all__ = ["depths", "in_use", "rerankers", "seconds", "to_write"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float | None:
    """Return a budget in seconds; None for ``none``.

    Raises:
        InputError: it is no time above 0.
    """
    given = text.strip().lower()
    if given == "none":
        return None
    number = given.rstrip("smh ")
    try:
        found = float(number) * _UNITS[given[len(number) :].strip()]
    except (KeyError, ValueError):
        found = 0.0
    if not 0 < found < 10**6:
        raise InputError(f"--budget is a time such as 90s or 3m, or none, got {text!r}")
    return found


def depths(text: str) -> tuple[int, ...]:
    """Return the numbers of candidates of ``5,10,20``, ascending, each once.

    Raises:
        InputError: one is no whole number of at least 1.
    """
    try:
        found = {int(piece) for piece in text.split(",") if piece.strip()}
    except ValueError:
        found = set()
    if not found or min(found) < 1:
        raise InputError(f"--depths is a list of whole numbers such as 5,10,20, got {text!r}")
    return tuple(sorted(found))


def rerankers(given: Sequence[str] | None) -> list[str]:
    """Return the names to load, each once: those given, or all that are installed.

    Raises:
        InputError: ``none`` or ``gated`` is among them.
    """
    from .. import models
    from ..reranking import AUTO_RERANKER

    if not given:
        return [folder.name for folder in models.installed("reranker")]
    for name in given:
        if name in ("none", "gated"):
            raise InputError(f"{name!r} is no re-ranker to try; stage 1 alone is tried in any case")
    return list(dict.fromkeys(AUTO_RERANKER if name == "auto" else name for name in given))


def in_use(name: str) -> str:
    """Return the name of the re-ranker that the settings name, the one ``auto`` stands for by default."""
    from ..reranking import AUTO_RERANKER

    return AUTO_RERANKER if name in ("auto", "none") else name


def to_write(verdict: Verdict, given: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """Return the settings that a verdict comes to; empty where it decides nothing and has no gate.

    Only ``use`` and ``skip`` decide how to search. A gate changes nothing until somebody asks for it. Nothing
    is written from synthetic queries: they share their words with the documents, as no real one does.

    Args:
        verdict: what was found.
        given: a re-ranker's name to what it can be loaded by.
    """
    values: dict[str, str | int | float | bool] = {}
    if verdict.synthetic:
        return values
    if verdict.chosen is not None and verdict.kind in ("use", "skip"):
        values["stage1"] = verdict.chosen.stage1
        values["reranker"] = _loadable(verdict.chosen.reranker, given)
        if verdict.chosen.reranker != "none":
            values["candidates"] = verdict.chosen.candidates
    if verdict.gate is not None:
        gate = verdict.gate.gate
        values["gate"] = str(replace(gate, reranker=_loadable(gate.reranker, given)))
    return values


def _loadable(name: str, given: Mapping[str, str]) -> str:
    """Return what loads a re-ranker from anywhere: a folder as a whole path, a name as it is."""
    found = given.get(name, name)
    folder = Path(found).expanduser()
    return str(folder.absolute()) if found.startswith((".", "/", "~")) and folder.is_dir() else found
