"""``secondpass judge``: mark top passages relevant or not, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, QueryError
from . import options, queries, settings

if TYPE_CHECKING:
    from rich.console import Console

    from ..judging.asking import Asked
    from ..judging.saving import Grade
    from ..judging.session import Question, Session, Tally
    from ..types import Passage
    from .keys import Answers
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "judge"
EXAMPLE = "secondpass judge --queries questions.txt --out judgments/"

GRADES: dict[str, Grade] = {"y": "yes", "n": "no", "?": "skip"}
SAID = {"yes": "relevant", "no": "not relevant", "skip": "skipped"}
KEYS = "relevant?  y yes, n no, ? skip, u undo, q quit"


def command(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Questions.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="A file with one query a line, or JSONL with id and query.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Folder of the judgments; goes on with those there.")
    ] = "judgments",
    index: options.IndexFolder = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            metavar="NAME",
            help="Whose best passages are marked too: auto, none, a name or a folder; repeatable. "
            "[default: auto]",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", metavar="N", help="How many passages of each way to search.")
    ] = 5,
    candidates: options.Candidates = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed, another order.")] = 0,
    as_json: options.Json = False,
) -> int:
    """Mark passages relevant or not, for eval and calibrate.

    For each query the best passages of dense, lexical, hybrid and re-ranked search come in shuffled order.
    Keys: y yes, n no, ? skip, u undo, q quit. Each mark is on the disk before the next question; run it again
    to go on. From a pipe, answers are read line by line.
    """
    chosen = settings.load({"index": index, "candidates": candidates})
    asked = _asked(texts or [], file)
    names = [name for name in dict.fromkeys(reranker or [chosen.reranker]) if name != "none"]
    folder = Path(out).expanduser()
    tally = _judge(chosen, asked, names, folder, depth, seed, as_json)
    if as_json:
        from . import jsonout

        jsonout.emit(_shape(folder, tally))
    return 0


def _asked(texts: list[str], file: str | None) -> list[Asked]:
    from ..judging.asking import from_lines, from_text

    if queries.STDIN in (*texts, file):
        raise InputError("judge reads answers from stdin, so queries cannot come from there; name a file")
    found = {asked.id: asked for asked in map(from_text, texts)}
    if file is not None:
        found.update((asked.id, asked) for asked in from_lines(queries.text(file).splitlines(), file))
    if not found:
        raise QueryError("no query to judge; give some, or a file with one a line: --queries FILE")
    return list(found.values())


def _judge(
    chosen: Settings, asked: list[Asked], names: list[str], folder: Path, depth: int, seed: int, as_json: bool
) -> Tally:
    from ..judging.pooling import pool
    from ..judging.saving import Marks
    from ..judging.session import Session
    from .keys import answers
    from .opening import opened
    from .terminal import output

    how = (
        f"depth {depth}, candidates {chosen.candidates}, re-rankers {', '.join(names) or 'none'}, seed {seed}"
    )
    console = output(stderr=as_json)
    with opened(chosen, names) as (source, rerankers), Marks(folder) as marks, answers() as given:

        def find(each: Asked) -> list[Passage]:
            return pool(source, each.query, rerankers, depth=depth, candidates=chosen.candidates, seed=seed)

        session = Session(asked, find, how, marks, source.passage)
        while (question := session.question()) is not None:
            given.forget()
            _ask(console, question)
            if not _answered(console, session, question, given):
                break
        tally = session.tally()
    _sum_up(console, folder, tally)
    return tally


def _ask(console: Console, question: Question) -> None:
    from rich.text import Text

    from .passages import QueryWords, block
    from .terminal import emit, place

    where = f"query {question.number} of {question.of}, passage {question.place} of {question.among}"
    emit(console, "", Text(where, style="dim"), Text(question.asked.query, style="bold"))
    emit(console, Text(place(question.passage), style="cyan"))
    emit(console, block(console, question.passage.text, QueryWords(question.asked.query), console.width))


def _answered(console: Console, session: Session, question: Question, given: Answers) -> bool:
    """Take keys until one of them settles the question; False for the end."""
    from rich.text import Text

    from .keys import END
    from .terminal import emit

    emit(console, Text(KEYS, style="dim"))
    while True:
        key = given.read().lower()
        if key in ("q", END):
            return False
        if key in GRADES:
            session.mark(question, GRADES[key])
            emit(console, Text(SAID[GRADES[key]], style="green"))
            return True
        if key == "u":
            undone = session.undo()
            emit(console, Text("taken back" if undone else "nothing to take back", style="yellow"))
            if undone:
                return True
        else:
            emit(console, Text(f"{key!r} is no answer; press y, n, ?, u or q", style="yellow"))


def _sum_up(console: Console, folder: Path, tally: Tally) -> None:
    from rich.text import Text

    from ..judging.saving import QRELS, QUERIES
    from .render import flowing
    from .terminal import emit, shown_path

    marked = [f"{tally.relevant:,} relevant", f"{tally.other:,} not", f"{tally.skipped:,} skipped"]
    emit(console, "", Text(f"{tally.queries:,} of {tally.of:,} queries done", style="bold"))
    emit(console, flowing(console.width, marked, style="dim"))
    if tally.relevant or tally.other:
        emit(console, f"saved in {shown_path(str(folder.absolute()))}: {QRELS}, {QUERIES}")
    if tally.queries < tally.of:
        emit(console, Text("run the same command again to go on", style="dim"))
    if tally.relevant:
        emit(console, Text(f"next: secondpass worth-it --judged {folder}", style="dim"))


def _shape(folder: Path, tally: Tally) -> dict[str, object]:
    from ..judging.saving import QRELS, QUERIES

    return {
        "folder": str(folder),
        "qrels": str(folder / QRELS),
        "queries_file": str(folder / QUERIES),
        "queries": tally.of,
        "done": tally.queries,
        "relevant": tally.relevant,
        "not_relevant": tally.other,
        "skipped": tally.skipped,
    }
