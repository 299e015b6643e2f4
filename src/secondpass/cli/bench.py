"""``secondpass bench``: what searching costs on this machine, so that one can choose."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, queries, settings

if TYPE_CHECKING:
    from ..benching import Bench
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "bench"
EXAMPLE = "secondpass bench --reranker minilm-l6 --plot speed.svg"

QUESTIONS = 40
QUICK_FILES = 16


def command(
    index: options.IndexFolder = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="A re-ranker to measure; repeatable. [default: all that are on this machine]",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="A file with one query a line; - reads stdin. [default: words from your documents]",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE", help="Also draw it: FILE.svg, or FILE.png with matplotlib."),
    ] = None,
    precision: options.Precision = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer searches: a first impression in under a minute.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Measure speed and memory on this machine.

    Each re-ranker searches your index in a process of its own, at 20 and 100 candidates, beside stage 1
    alone. Without an index, the documentation inside Python is searched.
    """
    chosen = settings.load({"index": index, "precision": precision, "quiet": quiet})
    target = _plot_file(plot)
    names = _names(reranker)
    asked = queries.from_arguments([], file) if file else []
    chosen = _with_an_index(chosen, quick)
    measured = _measured(chosen, names, asked, quick)
    if target is not None:
        from ..benching.plot import write

        write(measured, target)
    if as_json:
        from . import bench_json, jsonout

        jsonout.emit(bench_json.bench(measured))
    else:
        from . import bench_render

        bench_render.show(measured, target)
    return int(bool(measured.failures))


def _plot_file(name: str | None) -> Path | None:
    if name is None:
        return None
    from ..benching.plot import check_format

    target = Path(name).expanduser()
    check_format(target)
    return target


def _names(given: list[str] | None) -> list[str]:
    """Return the re-rankers to measure; those asked for by name must be here."""
    from .. import models
    from ..errors import InputError
    from ..reranking import AUTO_RERANKER, is_remote

    if not given:
        here = [each.name for each in models.installed("reranker")]
        return sorted(here, key=lambda name: (name != AUTO_RERANKER, name))
    names = [AUTO_RERANKER if name == "auto" else name for name in dict.fromkeys(given)]
    if "none" in names:
        raise InputError("stage 1 alone is always measured; leave out --reranker none")
    for name in names:
        if not is_remote(name):
            models.resolve(name, "reranker")
    return list(dict.fromkeys(names))


def _with_an_index(chosen: Settings, quick: bool) -> Settings:
    """Return settings whose index is there: the user's, else one over Python's own documentation."""
    if "index" in chosen.given or chosen.index.is_dir():
        return chosen
    from . import demo
    from .index import fill

    home = demo.home_folder(None)
    corpus = demo.written_corpus(home)
    place = home / "index"
    paths = [str(corpus)]
    if quick and not place.is_dir():
        place = home / "index-of-some"
        paths = [str(path) for path in sorted(corpus.glob("*.txt"))[:QUICK_FILES]]
    chosen = replace(chosen, index=place, text_field=None, encoding=None, gitignore=False, given=frozenset())
    if not chosen.quiet:
        note = "no index here: measuring on the documentation inside Python"
        print(note, file=sys.stderr, flush=True)
    fill(chosen, paths)
    return chosen


def _measured(chosen: Settings, names: list[str], asked: list[str], quick: bool) -> Bench:
    from ..benching import bench, questions_from
    from ..index import Index
    from .progress import counting

    with Index.open(chosen.index, create=False) as source:
        passages = len(source)
        asked = asked or questions_from(source, QUESTIONS)
    with counting("measuring", len(names) + 1, chosen.quiet) as advance:
        return bench(
            chosen.index,
            passages,
            asked,
            names,
            precision=chosen.precision,
            quick=quick,
            progress=advance,
        )
