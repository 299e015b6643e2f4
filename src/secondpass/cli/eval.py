"""``secondpass eval``: how good each setting is on judged queries, and how sure that is."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import html_out, options, settings

if TYPE_CHECKING:
    from ..evaluation.baseline import Checked
    from ..evaluation.trials import Trials
    from ..index import Index
    from ..report import Sources
    from .eval_work import Found, Request
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "eval"
EXAMPLE = "secondpass eval judgments/ --reranker all --html report.html"

FAILED = 1
FAIL_UNDER = -0.01


def command(
    judgments: Annotated[
        str,
        typer.Argument(
            metavar="JUDGMENTS",
            help="A BEIR folder, that of judge, TREC qrels, JSONL or CSV (docs/judgments.md).",
        ),
    ],
    index: options.IndexFolder = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries", metavar="FILE", help="The texts of queries that qrels name.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Which qrels of a BEIR folder.")
    ] = "test",
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Stage 2: auto, none, a name, a folder, or the word all for those installed; repeatable. "
            "[default: auto]",
            show_default=False,
        ),
    ] = None,
    stage1: Annotated[
        list[str] | None,
        typer.Option(
            "--stage1",
            metavar="HOW",
            help="Stage 1: dense, lexical, hybrid or all; repeatable. [default: dense]",
            show_default=False,
        ),
    ] = None,
    candidates: options.Candidates = None,
    k: options.K = None,
    measures: Annotated[
        str, typer.Option("--measures", metavar="NAMES", help="Measures; the first one decides.")
    ] = "nDCG@10 RR@10 R@20",
    precision: options.Precision = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="FILE",
            help="Evaluate a finished TREC run instead of searching; repeatable.",
            show_default=False,
        ),
    ] = None,
    run_out: Annotated[
        str | None,
        typer.Option(
            "--run-out", metavar="FILE", help="Write what was found as a TREC run.", show_default=False
        ),
    ] = None,
    per_query: Annotated[bool, typer.Option("--per-query", help="Show every query.")] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="Compare with what eval --json printed earlier; exit 1 if it got worse.",
            show_default=False,
        ),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under",
            metavar="DIFF",
            help=f"Exit 1 where the first measure changed by less than this. [default: {FAIL_UNDER}]",
            show_default=False,
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="KIND",
            help="Write questions and contexts for other tools: ragas or jsonl.",
            show_default=False,
        ),
    ] = None,
    export_to: Annotated[
        str | None,
        typer.Option("--export-to", metavar="FILE", help="Where --export writes.", show_default=False),
    ] = None,
    cache: options.Cache = None,
    html: html_out.Html = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Measure stage 1 and re-rankers on judged queries.

    First what stage 2 could mend at best, then each measure's mean, the difference that re-ranking makes with
    its 95 % interval, and the queries that gained and lost most. A BEIR folder brings its own documents; they
    are indexed once. Scores are kept: a run that was cut off goes on where it was (docs/eval.md).
    """
    flags = {
        "index": index,
        "k": k,
        "candidates": candidates,
        "precision": precision,
        "cache": cache,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    given = _Given(
        judgments=judgments,
        file=file,
        split=split,
        index=index,
        rerankers=reranker or [],
        stage1s=stage1 or [],
        measures=measures,
        runs=run or [],
        run_out=run_out,
        baseline=baseline,
        fail_under=fail_under,
        export=export,
        export_to=export_to,
    )
    _check(given)
    report = html_out.destination(html)
    outputs = _outputs(given)
    request = _request(given, chosen)
    found, sources = _found(given, request, chosen, outputs, reported=report is not None)
    _show(found, as_json, per_query)
    if report is not None:
        from ..report import Stamp, evaluation_page

        html_out.write(report, evaluation_page(found.evaluation, Stamp.now(), sources))
    return 0 if found.checked is None else _told(found.checked)


@dataclass(frozen=True, slots=True)
class _Given:
    """The options that are this command's own, as they came."""

    judgments: str
    file: str | None
    split: str
    index: str | None
    rerankers: list[str]
    stage1s: list[str]
    measures: str
    runs: list[str]
    run_out: str | None
    baseline: str | None
    fail_under: float | None
    export: str | None
    export_to: str | None


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What is written beside the report."""

    runs: Path | None
    export: Path | None


def _check(given: _Given) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: two of them contradict each other, or one lacks another.
    """
    if given.runs and (given.rerankers or given.stage1s):
        raise InputError("--run evaluates a finished run, nothing is searched; leave out what to search with")
    if given.runs and (given.run_out or given.export):
        raise InputError("--run evaluates a finished run; there is nothing that could be written out")
    if (given.export is None) is not (given.export_to is None):
        raise InputError("--export KIND and --export-to FILE belong together; give both")
    if given.fail_under is not None:
        if given.baseline is None:
            raise InputError("--fail-under is about a difference from --baseline FILE; give both")
        if not -1 <= given.fail_under <= 1:
            raise InputError(f"--fail-under is a difference such as -0.01, got {given.fail_under}")


def _outputs(given: _Given) -> _Outputs:
    """Return the files to write, checked."""
    from ..evaluation.export import KINDS, check_replaceable
    from . import eval_input

    if given.export is not None and given.export not in KINDS:
        raise InputError(f"--export writes {' or '.join(KINDS)}, got {given.export!r}")
    inputs = [given.judgments, given.file, given.baseline, *given.runs]
    export = eval_input.writable("--export-to", given.export_to, inputs)
    if export is not None:
        check_replaceable(export)
    return _Outputs(eval_input.writable("--run-out", given.run_out, inputs), export)


def _request(given: _Given, chosen: Settings) -> Request:
    from ..evaluation.baseline import read_earlier
    from ..evaluation.beir import has_corpus
    from . import eval_input
    from .eval_work import Request

    path = Path(given.judgments).expanduser()
    if not path.exists():
        raise InputError(f"no file or folder {given.judgments}; judged queries are read from there")
    names = eval_input.measures(given.measures)
    return Request(
        judgments=path,
        queries=None if given.file is None else Path(given.file).expanduser(),
        split=given.split,
        measures=names,
        stage1s=eval_input.stage1s(given.stage1s, chosen),
        rerankers=[] if given.runs else eval_input.rerankers(given.rerankers, chosen),
        depth=eval_input.depth(chosen.candidates, names),
        own_corpus=given.index is None and has_corpus(path),
        earlier=None if given.baseline is None else read_earlier(Path(given.baseline).expanduser()),
        fail_under=FAIL_UNDER if given.fail_under is None else given.fail_under,
    )


def _found(
    given: _Given, request: Request, chosen: Settings, outputs: _Outputs, *, reported: bool
) -> tuple[Found, Sources | None]:
    """Do the work, and write what needs the index."""
    from . import eval_work

    if given.runs:
        return eval_work.of_runs(request, given.runs, chosen, resolving=given.index is not None), None
    with eval_work.of_index(request, chosen) as (found, trials, source):
        if outputs.runs is not None:
            _write_runs(outputs.runs, found, trials)
        if outputs.export is not None and given.export is not None:
            _write_export(outputs.export, given.export, found, trials, source)
        if not reported:
            return found, None
        from ..report import sources_for

        return found, sources_for(found.evaluation, trials, found.judged, source.passage)


def _write_runs(path: Path, found: Found, trials: Trials) -> None:
    from ..evaluation.trec import write_run
    from .eval_input import run_files

    for file, setting in run_files(path, [row.setting for row in found.evaluation.rows]):
        write_run(file, trials.run(setting, found.judged.unit), re.sub(r"[ >]+", "-", setting.name))
        print(f"wrote {file}: {setting.name}", file=sys.stderr)


def _write_export(path: Path, kind: str, found: Found, trials: Trials, source: Index) -> None:
    from ..evaluation.export import write_export
    from .eval_work import best

    setting = best(found.evaluation)
    write_export(kind, path, trials, found.judged, setting, source.passage, found.k)
    print(f"wrote {path}: {setting.name}", file=sys.stderr)


def _show(found: Found, as_json: bool, per_query: bool) -> None:
    if as_json:
        from . import eval_json, jsonout

        jsonout.emit(eval_json.evaluation(found))
        return
    from . import eval_render, terminal

    eval_render.show(terminal.output(), found, every=per_query)


def _told(checked: Checked) -> int:
    """Say on stderr what became worse than the baseline; return the exit code."""
    if not checked.failed:
        return 0
    rows = ", ".join(
        f"{row.setting.name} {row.after:.3f}, was {row.before:.3f} ({row.after - row.before:+.3f})"
        for row in checked.failed
    )
    line = f"worse than {checked.path}: {checked.measure} of {rows}; allowed is {checked.fail_under:+g}"
    print(line, file=sys.stderr)
    return FAILED
