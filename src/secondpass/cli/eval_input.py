"""What ``eval`` is given, checked before anything is searched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import STAGE1
from ..errors import InputError

if TYPE_CHECKING:
    from ..evaluation.values import Setting
    from .settings import Settings

__all__ = ["ALL", "depth", "measures", "rerankers", "run_files", "stage1s", "writable"]

ALL = "all"
DEPTH = 100
"""How deep stage 1's lists are at least; published runs of BEIR go as far. ``AP`` looks no further."""


def measures(text: str) -> tuple[str, ...]:
    """Return the measures of ``nDCG@10 RR@10``, parted by spaces or commas; the first one decides.

    Raises:
        InputError: none, or one that ir-measures does not know.
        MissingExtraError: ir-measures is not installed.
    """
    from ..evaluation.measures import parse_measures

    # a comma within brackets belongs to the measure: nDCG(dcg='exp-log2',gains={1:2})@5
    names = [each for each in re.split(r"[\s,]+(?![^()]*\))", text.strip()) if each]
    if not names:
        raise InputError("--measures names at least one measure, e.g. 'nDCG@10 RR@10'")
    return parse_measures(names)


def rerankers(given: Sequence[str] | None, chosen: Settings) -> list[str]:
    """Return the names to load, each once; ``none`` among others adds nothing, alone it is stage 1 only.

    Raises:
        InputError: ``gated``, which is no re-ranker.
        ModelError: a name is not known, or not on this machine.
    """
    from .. import models
    from ..reranking import AUTO_RERANKER, is_remote

    names: list[str] = []
    for name in given or [chosen.reranker]:
        if name == "gated":
            raise InputError("eval measures re-rankers, and 'gated' is a rule when to ask one; name that one")
        if name == ALL:
            names += [folder.name for folder in models.installed("reranker")]
        elif name != "none":
            names.append(AUTO_RERANKER if name == "auto" else name)
    for name in names:
        if not is_remote(name):
            models.resolve(name, "reranker")
    return list(dict.fromkeys(names))


def stage1s(given: Sequence[str] | None, chosen: Settings) -> list[str]:
    """Return the ways to search, each once.

    Raises:
        InputError: one is not known.
    """
    names: list[str] = []
    for name in given or [chosen.stage1]:
        if name != ALL and name not in STAGE1:
            raise InputError(f"--stage1 must be one of {', '.join(STAGE1)}, or all, got {name!r}")
        names += STAGE1 if name == ALL else [name]
    return list(dict.fromkeys(names))


def depth(candidates: int, names: Sequence[str]) -> int:
    """Return how deep stage 1's lists must be for the measures."""
    cutoffs = [int(found) for name in names for found in re.findall(r"@(\d+)$", name)]
    return max(DEPTH, candidates, *cutoffs)


def writable(flag: str, name: str | None, inputs: Iterable[str | None]) -> Path | None:
    """Return the file to write, or None where none was asked for.

    Raises:
        InputError: it cannot be written, or is one of the files that are read.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if name.strip() in ("", "-") or path.is_dir():
        raise InputError(f"{flag} names a file to write, {name!r} is none")
    if not path.parent.is_dir():
        raise InputError(f"{flag}: there is no folder {str(path.parent)!r}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{flag}: {name!r} cannot be written; check its permissions")
    if any(each is not None and Path(each).expanduser().resolve() == path.resolve() for each in inputs):
        raise InputError(f"{flag} would overwrite {name!r}, which is read here; name another file")
    return path


def run_files(path: Path, settings: Sequence[Setting]) -> list[tuple[Path, Setting]]:
    """Return which run goes where.

    One re-ranked setting (or one stage 1 alone) goes into the file itself; of several each, the stages 1
    alone included, into a file with the setting in its name: ``run.dense-20-minilm-l6.txt``.
    """
    reranked = [each for each in settings if each.reranker != "none"] or list(settings)
    if len(reranked) == 1:
        return [(path, reranked[0])]
    first, dot, ending = path.name.partition(".")
    named = []
    for each in settings:
        setting = re.sub(r"[^A-Za-z0-9._]+", "-", each.name).strip("-.")
        named.append((path.with_name(f"{first}.{setting}{dot}{ending}"), each))
    return named
