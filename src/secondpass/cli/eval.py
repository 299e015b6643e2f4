"""``secondpass eval``: how good each setting is on judged queries, and how sure that is."""

from __future__ import annotations

import sys
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
EXPORTS = ("ragas", "jsonl")


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
            help="Stage 2: auto, none, a name, a folder, or all that are installed; repeatable. "
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
            help=f"The least difference from the baseline that passes. [default: {FAIL_UNDER}]",
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
    from . import eval_input

    _check_options(run, [*(reranker or []), *(stage1 or [])], run_out, export, export_to)
    _check_limit(baseline, fail_under)
    inputs = [judgments, file, baseline, *(run or [])]
    report = html_out.destination(html)
    outputs = {
        "--run-out": eval_input.writable("--run-out", run_out, inputs),
        "--export-to": eval_input.writable("--export-to", export_to, inputs),
    }
    request = _request(
        chosen, judgments, file, split, measures, reranker, stage1, run, index, baseline, fail_under
    )
    found, sources = _found(request, chosen, run, index, report is not None, outputs, export)
    _show(found, as_json, per_query)
    if report is not None:
        from ..report import Stamp, evaluation_page

        html_out.write(report, evaluation_page(found.evaluation, Stamp.now(), sources))
    return 0 if found.checked is None else _told(found.checked)


def _check_options(
    run: list[str] | None, tried: list[str], run_out: str | None, export: str | None, export_to: str | None
) -> None:
    if run and tried:
        raise InputError("--run evaluates a finished run, nothing is searched; leave out what to search with")
    if run and (run_out or export):
        raise InputError("--run evaluates a finished run; there is nothing that could be written out")
    if export is not None and export not in EXPORTS:
        raise InputError(f"--export writes {' or '.join(EXPORTS)}, got {export!r}")
    if (export is None) is not (export_to is None):
        raise InputError("--export KIND and --export-to FILE belong together; give both")


def _check_limit(baseline: str | None, fail_under: float | None) -> None:
    if fail_under is not None and baseline is None:
        raise InputError("--fail-under is about a difference from --baseline FILE; give both")
    if fail_under is not None and not -1 <= fail_under <= 1:
        raise InputError(f"--fail-under is a difference such as -0.01, got {fail_under}")


def _request(
    chosen: Settings,
    judgments: str,
    file: str | None,
    split: str,
    measures: str,
    reranker: list[str] | None,
    stage1: list[str] | None,
    run: list[str] | None,
    index: str | None,
    baseline: str | None,
    fail_under: float | None,
) -> Request:
    from ..evaluation.baseline import read_earlier
    from ..evaluation.beir import has_corpus
    from . import eval_input
    from .eval_work import Request

    path = Path(judgments).expanduser()
    if not path.exists():
        raise InputError(f"no file or folder {judgments}; judged queries are read from there")
    names = eval_input.measures(measures)
    return Request(
        judgments=path,
        queries=None if file is None else Path(file).expanduser(),
        split=split,
        measures=names,
        stage1s=eval_input.stage1s(stage1, chosen),
        rerankers=[] if run else eval_input.rerankers(reranker, chosen),
        depth=eval_input.depth(chosen.candidates, names),
        own_corpus=index is None and has_corpus(path),
        earlier=None if baseline is None else read_earlier(Path(baseline).expanduser()),
        fail_under=FAIL_UNDER if fail_under is None else fail_under,
    )


def _found(
    request: Request,
    chosen: Settings,
    run: list[str] | None,
    index: str | None,
    reported: bool,
    outputs: dict[str, Path | None],
    export: str | None,
) -> tuple[Found, Sources | None]:
    from . import eval_work

    if run:
        return eval_work.of_runs(request, run, chosen, resolving=index is not None), None
    with eval_work.of_index(request, chosen) as (found, trials, source):
        _write_runs(outputs["--run-out"], found, trials)
        _write_export(outputs["--export-to"], export, found, trials, source)
        if not reported:
            return found, None
        from ..report import sources_for

        return found, sources_for(found.evaluation, trials, found.judged, source.passage)


def _write_runs(path: Path | None, found: Found, trials: Trials) -> None:
    if path is None:
        return
    from ..evaluation.trec import write_run
    from .eval_input import run_files

    for file, setting in run_files(path, [row.setting for row in found.evaluation.rows]):
        write_run(file, trials.run(setting, found.judged.unit), setting.name.replace(" > ", "-"))
        print(f"wrote {file}: {setting.name}", file=sys.stderr)


def _write_export(path: Path | None, kind: str | None, found: Found, trials: Trials, source: Index) -> None:
    if path is None or kind is None:
        return
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
