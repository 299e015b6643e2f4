"""``secondpass worth-it``: whether stage 2 pays on one's own documents, and with which settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, QueryError
from . import html_out, options, queries, settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..calibration import Calibration
    from ..evaluation.values import Judged
    from ..index import Index
    from ..types import Reranker
    from ..verdict import Verdict, Wishes
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "worth-it"
EXAMPLE = "secondpass worth-it --judged judgments/ --write"

AUTO = "auto"


def command(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Questions; - reads one from stdin.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="One query a line; with --judged, the texts of judged queries.",
            show_default=False,
        ),
    ] = None,
    judged: Annotated[
        str | None,
        typer.Option(
            "--judged",
            metavar="PATH",
            help="Judgments: a BEIR folder, TREC qrels, JSONL or CSV.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Which qrels of a BEIR folder.")
    ] = "test",
    index: options.IndexFolder = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Stage 2: auto, a name or a folder; repeatable. [default: all that are installed]",
            show_default=False,
        ),
    ] = None,
    depths: Annotated[
        str, typer.Option("--depths", metavar="N,N", help="Numbers of candidates to try.")
    ] = "5,10,20,50,100",
    measure: Annotated[
        str, typer.Option("--measure", metavar="NAME", help="What counts, where there are judgments.")
    ] = "nDCG@10",
    least_gain: Annotated[
        float, typer.Option("--least-gain", metavar="GAIN", help="The smallest gain worth having.")
    ] = 0.01,
    k: options.K = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget", metavar="TIME", help="About how long it may read, e.g. 90s, 3m; none: no bound."
        ),
    ] = "3m",
    write: Annotated[
        bool, typer.Option("--write", help="Put the chosen settings and the gate into secondpass.toml.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every setting that was tried.")] = False,
    cache: options.Cache = None,
    html: html_out.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Say whether re-ranking pays on your documents.

    Tries dense, lexical and hybrid search, each alone and with each re-ranker at several depths, on your
    queries. With judgments it says what stage 2 gains, measured on queries that the settings were not chosen
    on; without, what it changes. --write keeps what was chosen (docs/worth-it.md).
    """
    flags = {
        "index": index,
        "k": k,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "cache": cache,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    from . import worth_it_input

    seconds, wanted = worth_it_input.seconds(budget), worth_it_input.depths(depths)
    names = worth_it_input.rerankers(reranker)
    if judged is not None and texts:
        raise InputError("--judged brings its own queries; leave out the ones on the command line")
    asked, synthetic = ([], False) if judged is not None else _asked(texts or [], file)
    report = html_out.destination(html)
    from ..verdict import Wishes

    wishes = Wishes(
        depths=wanted,
        measure=measure,
        k=chosen.k,
        stage1=chosen.stage1,
        reranker=worth_it_input.in_use(chosen.reranker),
        candidates=chosen.candidates,
        least_gain=least_gain,
        budget=seconds,
    )
    from .opening import opened

    with opened(chosen, names) as (source, loaded):
        questions = asked if judged is None else _judged(judged, file, split, source)
        verdict = _verdict(chosen, source, questions, loaded, wishes, file or "", synthetic)
        fitted = [] if report is None else _calibrations(source, loaded)
    given = {one.name: name for one, name in zip(loaded, names, strict=True)}
    written = _written(verdict, given) if write else None
    _show(verdict, written, as_json, every)
    if report is not None:
        _report(report, verdict, fitted)
    return 0


def _asked(texts: Sequence[str], file: str | None) -> tuple[list[str], bool]:
    """Return queries without judgments, and whether some were made from the documents."""
    from ..judging.asking import from_lines, from_text

    found = [from_text(queries.one(text)) for text in texts]
    if file is not None:
        found += from_lines(queries.text(file).splitlines(), file)
    if not found:
        raise QueryError(
            "no query; give some, a file with one a line (--queries FILE), or judgments (--judged PATH)"
        )
    return [each.query for each in found], any(each.synthetic for each in found)


def _judged(path: str, file: str | None, split: str, source: Index) -> Judged:
    from pathlib import Path

    from ..evaluation.judgments import read_judged

    texts = None if file is None else Path(file).expanduser()
    return read_judged(Path(path).expanduser(), queries=texts, index=source, split=split)


def _verdict(
    chosen: Settings,
    source: Index,
    questions: Judged | Sequence[str],
    loaded: Sequence[Any],
    wishes: Wishes,
    origin: str,
    synthetic: bool,
) -> Verdict:
    from ..scores import SCORES_FILE, ScoreCache
    from ..verdict import worth_it
    from .progress import fraction

    kept = ScoreCache(chosen.index / SCORES_FILE) if chosen.cache else None
    try:
        with fraction("trying", chosen.quiet) as show:
            return worth_it(
                source,
                questions,
                loaded,
                wishes,
                synthetic=synthetic,
                origin=origin,
                cache=kept,
                progress=show,
            )
    finally:
        if kept is not None:
            kept.close()


def _written(verdict: Verdict, given: dict[str, str]) -> tuple[Path, list[str]] | str:
    """Write what the verdict chose; return where and what, or why nothing."""
    from pathlib import Path

    from . import settings_file, worth_it_input

    if verdict.synthetic:
        return "nothing was written: the queries are synthetic; judge real ones first, secondpass judge"
    values = worth_it_input.to_write(verdict, given)
    if not values:
        return "nothing was written: the verdict chose no setting, and there is no gate"
    file = settings.find_file(Path.cwd()) or Path.cwd() / settings.FILE_NAME
    return file, settings_file.write_settings(file, values)


def _show(verdict: Verdict, written: tuple[Path, list[str]] | str | None, as_json: bool, every: bool) -> None:
    if as_json:
        from . import jsonout, worth_it_json

        jsonout.emit(worth_it_json.verdict(verdict, written))
        return
    from . import terminal, worth_it_render

    console = terminal.output()
    worth_it_render.show(console, verdict, every=every)
    if written is not None:
        worth_it_render.show_written(console, written)


def _calibrations(source: Index, loaded: Sequence[Reranker]) -> list[Calibration]:
    """Return what calibrations lie beside the index; their reliability is drawn in the report."""
    from .calibrated import looked_up

    found = looked_up(source.path, loaded).values()
    return [each.calibration for each in found if each.calibration is not None]


def _report(report: Path, verdict: Verdict, calibrations: Sequence[Calibration]) -> None:
    from ..report import Stamp, verdict_page

    html_out.write(report, verdict_page(verdict, Stamp.now(), calibrations))
