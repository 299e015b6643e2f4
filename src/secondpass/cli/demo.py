"""``secondpass demo``: the main job on text that every machine with Python has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import IndexWriteError, InputError
from . import options, settings
from .corpus import build_corpus
from .index import fill

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..index import AddReport, IndexStatus
    from .settings import Settings

__all__ = [
    "EXAMPLE",
    "NAME",
    "QUESTIONS",
    "build_corpus",
    "command",
    "home_folder",
    "written_corpus",
]

NAME = "demo"
EXAMPLE = "secondpass demo --reranker minilm-l6"

QUESTIONS = (
    "how do I wait for several things at once?",
    "run another program and read what it prints",
    "only one of them may use it at a time",
    "stop a task that takes too long",
    "compare passwords without leaking timing",
)
"""Ambiguous on purpose: none names the module that answers it. Not all of them gain by the second pass."""


def command(
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where text and index are kept. [default: the user's cache folder]",
        ),
    ] = None,
    reranker: options.RerankerName = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Index your Python's own documentation and search it.

    The text is the docstrings and help pages of the standard library. Five ambiguous questions follow,
    stage 1 beside stage 2. A second run embeds nothing.
    """
    home = home_folder(folder)
    chosen = settings.load({"reranker": reranker, "quiet": quiet, "index": str(home / "index")})
    chosen = replace(
        chosen,
        text_field=None,
        encoding=None,
        gitignore=False,
        candidates=20,
        k=3,
        stage1="dense",
        given=frozenset(),
    )
    if chosen.reranker == "none":
        raise InputError("the demo shows what a re-ranker changes, 'none' changes nothing; name another one")
    corpus = written_corpus(home)
    if not as_json:
        _introduce(home)
    report, after = fill(chosen, [str(corpus)], prune=True)
    if not as_json:
        _show_report(report, after)
    comparisons = _ask(chosen)
    if as_json:
        _emit_json(comparisons, chosen, report, after)
    else:
        _show(comparisons, home)
    return 0


def home_folder(folder: str | None) -> Path:
    """Return where text and index are kept: what was named, ``SECONDPASS_DEMO``, or the user's cache."""
    named = folder or os.environ.get("SECONDPASS_DEMO", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("secondpass", appauthor=False)) / "demo"


def written_corpus(home: Path) -> Path:
    """Write the text below a folder unless it is there; return the text's own folder."""
    try:
        return build_corpus(home / "corpus")
    except OSError as exc:
        raise IndexWriteError(
            f"cannot write the demo's text to {home}: {exc.strerror}; take another folder with --folder DIR"
        ) from exc


def _ask(chosen: Settings) -> list[Comparison]:
    from ..engine import Engine
    from .opening import opened

    with opened(chosen, [chosen.reranker]) as (index, rerankers):
        engine = Engine(index, None, chosen.candidates, chosen.stage1)
        engine.compare(QUESTIONS[0], rerankers, chosen.k)  # the first run pays for opening the models
        return [engine.compare(question, rerankers, chosen.k) for question in QUESTIONS]


def _introduce(home: Path) -> None:
    import platform
    import sys

    from .terminal import emit, output, shown_path

    emit(output(), f"The documentation inside Python {platform.python_version()}'s standard library")
    emit(output(), f"text and index: {shown_path(str(home))}")
    if not (home / "index").exists():
        emit(output(), "Indexing it takes about a minute, once.")
    sys.stdout.flush()


def _show_report(report: AddReport, after: IndexStatus) -> None:
    from .render import flowing
    from .terminal import count, emit, output

    console = output()
    facts = [
        count(after.documents, "document"),
        count(after.passages, "passage"),
        f"{report.embedded:,} embedded now",
        f"{report.seconds:.1f} s",
    ]
    emit(console, flowing(console.width, facts, style="dim"), "")


def _emit_json(
    comparisons: list[Comparison], chosen: Settings, report: AddReport, after: IndexStatus
) -> None:
    from ..comparison import summarize
    from . import jsonout

    jsonout.emit(
        {"index": jsonout.add_report(report, after)}
        | jsonout.comparisons(comparisons, summarize(comparisons), chosen.candidates)
    )


def _show(comparisons: list[Comparison], home: Path) -> None:
    from rich.text import Text

    from ..comparison import summarize
    from . import side_by_side, terminal

    console = terminal.output()
    for each in comparisons:
        side_by_side.show_comparison(console, each, lines=3, base=home / "corpus")
    side_by_side.show_summary(console, summarize(comparisons))
    terminal.emit(console, "", Text("next: secondpass index your/folder", style="bold"))
