"""``secondpass train``: a re-ranker trained further on one's own documents, kept only where that helped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import options, settings
from .running import TROUBLE

if TYPE_CHECKING:
    from ..evaluation.values import Judged
    from ..index import Index
    from ..tuning import Tuned
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "train"
EXAMPLE = "secondpass train --judged judgments/ --name minilm-l6-docs"


def command(
    judged: Annotated[
        str | None,
        typer.Option(
            "--judged",
            metavar="PATH",
            help="Learn from judgments: a BEIR folder, TREC qrels, JSONL or CSV.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="Learn from pairs or clicks: JSONL of query and positive (or clicked), perhaps negatives.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="With --judged, the texts of judged queries, where they are apart.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Which qrels of a BEIR folder.")
    ] = "test",
    number: Annotated[
        int,
        typer.Option("-n", "--number", metavar="N", help="Queries to make from headings, without the two."),
    ] = 300,
    index: options.IndexFolder = None,
    start: Annotated[
        str, typer.Option("--from", metavar="NAME", help="What it begins as: minilm-l6, or one trained here.")
    ] = "minilm-l6",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the new re-ranker is called.")
    ] = "minilm-l6-tuned",
    work: Annotated[
        str | None,
        typer.Option(
            "--work",
            metavar="DIR",
            help="Folder for checkpoints and weights. [default: training/NAME in the index folder]",
            show_default=False,
        ),
    ] = None,
    stage1: options.Stage1 = None,
    candidates: options.Candidates = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            help="How long it trains. [default: 5 times through the queries, 60 to 300 steps]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the split and the training.")] = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Train a re-ranker on your documents, and say if it helped.

    A fifth of the queries is held out. Stage 1, the base and the new re-ranker are measured on these, and the
    new one is installed only where it is better than chance would have it; else the exit code is 1. Without
    --judged and --pairs, queries are made from headings and titles. A run that was cut off goes on where it
    was (docs/train.md).
    """
    chosen = settings.load({"index": index, "stage1": stage1, "candidates": candidates, "quiet": quiet})
    _check(judged, pairs, file, seed)
    # Threads that spin while they wait are ten times slower as soon as another process wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from ..index import Index
    from ..tuning import Recipe, check_installed, tune, work_of

    check_installed()
    recipe = Recipe() if steps is None else Recipe.of_steps(steps)
    with Index.open(chosen.index, create=False) as source:
        asked = _judged(source, chosen, judged, pairs, file, split, number, seed)
        place = work_of(source, name) if work is None else Path(work).expanduser()
        with _stages(chosen.quiet) as show, _going_on(place):
            tuned = tune(
                source,
                asked,
                start=start,
                name=name,
                work=place,
                stage1=chosen.stage1,
                candidates=chosen.candidates,
                seed=seed,
                recipe=recipe,
                progress=show,
            )
    _report(tuned, as_json)
    return 0 if tuned.installed else TROUBLE


def _check(judged: str | None, pairs: str | None, file: str | None, seed: int) -> None:
    if judged is not None and pairs is not None:
        raise InputError("--judged and --pairs are two ways to say what is relevant; give one of them")
    if file is not None and judged is None:
        raise InputError("--queries holds the texts of judged queries; it needs --judged")
    if seed < 0:
        raise InputError(f"--seed is a whole number of at least 0, got {seed}")


def _judged(
    source: Index,
    chosen: Settings,
    judged: str | None,
    pairs: str | None,
    file: str | None,
    split: str,
    number: int,
    seed: int,
) -> Judged:
    if judged is not None:
        from ..evaluation.judgments import read_judged

        texts = None if file is None else Path(file).expanduser()
        return read_judged(Path(judged).expanduser(), queries=texts, index=source, split=split)
    from ..tuning import made_from_headings, read_pairs

    if pairs is not None:
        return read_pairs(Path(pairs).expanduser(), source)
    from ..judging.synthetic import MOST_DOCUMENTS
    from .progress import counting

    with counting("reading", min(source.status().documents, MOST_DOCUMENTS), chosen.quiet) as advance:
        return made_from_headings(source, number, seed=seed, progress=advance)


@contextmanager
def _stages(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Show one bar for one stage of the work after the other."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def _going_on(work: Path) -> Iterator[None]:
    """Say, where the run is interrupted, how it goes on."""
    from ..tuning import CHECKPOINT

    try:
        yield
    except KeyboardInterrupt:
        if (work / CHECKPOINT).is_file():
            said = f"stopped; the last checkpoint is in {work}: the same command goes on from there"
        else:
            said = "stopped before the first checkpoint; the same command begins again"
        print(said, file=sys.stderr)
        raise


def _report(tuned: Tuned, as_json: bool) -> None:
    from . import jsonout, train_json

    shape = train_json.tuned(tuned)
    train_json.write(tuned.work / "report.json", shape)
    if as_json:
        jsonout.emit(shape)
        return
    from . import train_render
    from .terminal import output

    train_render.show(output(), tuned)
