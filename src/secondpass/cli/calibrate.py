"""``secondpass calibrate``: probabilities that mean what they say, from judged queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import options, settings

if TYPE_CHECKING:
    from ..calibration import Calibration
    from ..evaluation.values import Judged
    from ..index import Index
    from ..types import Reranker
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "calibrate"
EXAMPLE = "secondpass calibrate judgments/ --reranker minilm-l6"


def command(
    judgments: Annotated[
        str,
        typer.Argument(
            metavar="JUDGMENTS", help="What is relevant: as for eval (a judge folder, qrels, JSONL, CSV)."
        ),
    ],
    file: Annotated[
        str | None,
        typer.Option("--queries", metavar="FILE", help="The queries, where the judgments hold only ids."),
    ] = None,
    index: options.IndexFolder = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Whose scores: auto, a name or a folder; repeatable. [default: auto]",
            show_default=False,
        ),
    ] = None,
    candidates: options.Candidates = None,
    stage1: options.Stage1 = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Turn scores into probabilities one can trust.

    Fitted on judged queries, measured on held-out ones, and kept beside the index: search then shows
    calibrated probabilities, and --min-precision leaves out what is not relevant (docs/judging.md).
    """
    flags = {
        "index": index,
        "candidates": candidates,
        "stage1": stage1,
        "precision": precision,
        "quiet": quiet,
    }
    chosen = settings.load(flags)
    names = list(dict.fromkeys(reranker or [chosen.reranker]))
    if "none" in names:
        raise InputError("calibrate works on a re-ranker's scores, 'none' has none; name another one")
    made, asked = _calibrated(chosen, names, judgments, file)
    if as_json:
        from . import calibration_json, jsonout

        jsonout.emit(calibration_json.calibrations(made))
    else:
        from . import calibration_render
        from .terminal import emit, output

        console = output()
        for number, (calibration, path) in enumerate(made):
            lines = calibration_render.report(console, calibration, asked, path)
            emit(console, *([""] if number else []), *lines)
    return 0


def _calibrated(
    chosen: Settings, names: list[str], judgments: str, file: str | None
) -> tuple[list[tuple[Calibration, Path]], int]:
    """Return each calibration with its file, and how many queries are judged."""
    from ..evaluation.judgments import read_judged
    from .opening import opened

    with opened(chosen, names) as (source, rerankers):
        judged = read_judged(
            Path(judgments).expanduser(),
            queries=None if file is None else Path(file).expanduser(),
            index=source,
        )
        made = [_one(chosen, source, judged, each) for each in rerankers]
        return made, len(judged.queries)


def _one(chosen: Settings, source: Index, judged: Judged, reranker: Reranker) -> tuple[Calibration, Path]:
    from ..calibration import calibrate, save
    from ..scores import SCORES_FILE, CachedReranker, ScoreCache
    from .progress import counting

    reader: Reranker = reranker
    if chosen.cache:
        reader = CachedReranker(reranker, ScoreCache(chosen.index / SCORES_FILE))
    with counting(reranker.name, len(judged.queries), chosen.quiet) as advance:
        made = calibrate(
            source,
            judged,
            reader,
            candidates=chosen.candidates,
            stage1=chosen.stage1,
            progress=advance,
        )
    return made, save(made, source.path)
