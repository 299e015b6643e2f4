"""``secondpass queries``: queries made from the index itself, for who has none yet."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import options, settings

if TYPE_CHECKING:
    from ..judging.synthetic import SyntheticQuery, Unit
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "queries"
EXAMPLE = "secondpass queries -n 50 --out queries.jsonl"

STDOUT = "-"
SHOWN = 5


def command(
    number: Annotated[int, typer.Option("-n", "--number", metavar="N", help="How many, at most.")] = 50,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write them, as JSONL; - is stdout.")
    ] = "queries.jsonl",
    index: options.IndexFolder = None,
    unit: Annotated[
        str,
        typer.Option(
            "--unit",
            metavar="WHAT",
            help="What counts as found: document, passage (of the section), or auto (by their number).",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed gives other queries.")] = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Make queries from the index itself.

    Telling headings, titles and first sentences become queries, each with the place it came from as its
    judgment. Nobody asked them: they are marked as synthetic wherever they are used (docs/judging.md).
    """
    chosen = settings.load({"index": index, "quiet": quiet})
    target = _target(out, as_json)
    what, made = _made(chosen, number, unit, seed)
    lines = "".join(f"{json.dumps(_line(each), ensure_ascii=False)}\n" for each in made)
    if target is None:
        sys.stdout.write(lines)
        return 0
    target.write_text(lines, encoding="utf-8")
    if as_json:
        from . import jsonout

        jsonout.emit(_shape(target, what, made))
    else:
        _show(target, what, made, number)
    return 0


def _target(out: str, as_json: bool) -> Path | None:
    if out == STDOUT:
        if as_json:
            raise InputError("--out - and --json both want stdout; name a file with --out")
        return None
    target = Path(out).expanduser()
    if target.exists():
        raise InputError(f"{target} is there already; name another file with --out, or move it away")
    return target


def _made(chosen: Settings, number: int, unit: str, seed: int) -> tuple[str, list[SyntheticQuery]]:
    from ..index import Index
    from ..judging.synthetic import MOST_DOCUMENTS, make_queries
    from .progress import counting

    units: dict[str, Unit | None] = {"auto": None, "document": "document", "passage": "passage"}
    if unit not in units:
        raise InputError(f"--unit is document, passage or auto, got {unit!r}")
    with Index.open(chosen.index, create=False) as source:
        total = min(source.status().documents, MOST_DOCUMENTS)
        with counting("reading", total, chosen.quiet) as advance:
            return make_queries(source, number, unit=units[unit], seed=seed, progress=advance)


def _line(made: SyntheticQuery) -> dict[str, object]:
    return {
        "id": made.id,
        "query": made.query,
        "relevant": list(made.relevant),
        "synthetic": True,
        "kind": made.kind,
        "source": made.source,
        "verbatim": made.verbatim,
    }


def _shape(target: Path, unit: str, made: Sequence[SyntheticQuery]) -> dict[str, object]:
    return {
        "file": str(target),
        "synthetic": True,
        "unit": unit,
        "documents": len({each.document_id for each in made}),
        "kinds": dict(Counter(each.kind for each in made)),
        "verbatim": sum(each.verbatim for each in made),
        "queries": [_line(each) for each in made],
    }


def _show(target: Path, unit: str, made: Sequence[SyntheticQuery], wanted: int) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from .render import flowing
    from .terminal import INDENT, count, emit, output, shown_path

    console = output()
    kinds = [count(number, kind) for kind, number in Counter(each.kind for each in made).items()]
    documents = count(len({each.document_id for each in made}), "document")
    head = Text(f"{count(len(made), 'query')} from {documents}", style="bold")
    emit(console, head, flowing(console.width, [*kinds, f"a {unit} counts as found"], style="dim"))
    for each in made[:SHOWN]:
        line = Text(each.query).append(f"  {shown_path(each.source)}", style="dim cyan")
        emit(console, Padding(line, (0, 0, 0, INDENT)))
    if len(made) > SHOWN:
        emit(console, Padding(Text(f"... and {len(made) - SHOWN} more", style="dim"), (0, 0, 0, INDENT)))
    if len(made) < wanted:
        emit(
            console, Text(f"{wanted} were asked for; the documents give no more telling ones", style="yellow")
        )
    leaked = sum(each.verbatim for each in made)
    bias = (
        f"Synthetic: nobody asked these. {leaked} of {len(made)} stand word for word in what they should "
        "find, which makes lexical search look better than it is."
    )
    emit(console, "", Text(bias), "", f"written to {shown_path(str(target.absolute()))}")
    emit(console, Text(f"next: secondpass worth-it --judged {target}", style="dim"))
