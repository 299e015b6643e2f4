"""``secondpass rerank``: candidates that another search found, JSON lines in and out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from . import options, settings

if TYPE_CHECKING:
    from ..types import Hit, Reranker

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "rerank"
EXAMPLE = 'secondpass rerank candidates.jsonl --query "When is the deposit returned?"'

STDIN = "-"
Line = dict[str, Any]


def command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON lines with the candidates; - is stdin.")
    ] = STDIN,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="TEXT", help="What to ask of lines without a query of their own."),
    ] = None,
    reranker: options.RerankerName = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", metavar="N", min=1, help="Print only the best N of a query.")
    ] = None,
    text_field: Annotated[
        str, typer.Option("--text-field", metavar="KEY", help="Key of a line that holds its text.")
    ] = "text",
    precision: options.Precision = None,
    deadline: options.Deadline = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Report lines that cannot be read, and go on (exit code 1).")
    ] = False,
) -> int:
    """Re-rank candidates that you already have.

    Each line is an object with a text, or just a text in quotes. All its keys come back, with
    relevance_score, rerank_rank and candidate_rank added. Lines of the same query stand together; they are
    printed, best first, as soon as the next query begins.
    """
    chosen = settings.load({"reranker": reranker, "precision": precision, "deadline": deadline})
    if chosen.reranker == "none" or chosen.gated:
        raise InputError(
            f"--reranker {'gated' if chosen.gated else 'none'} would leave the lines as they are; "
            "name one: secondpass models list"
        )
    bad: list[str] | None = [] if skip_bad else None
    with _opened(file) as stream:
        groups = _groups(_lines(stream, file, text_field, query, bad))
        reader: Reranker | None = None
        for asked, lines in groups:
            if reader is None:
                from ..reranking import load_reranker

                reader = load_reranker(chosen.reranker, precision=chosen.precision)
            _print_group(reader, asked, lines, text_field, k, chosen.deadline)
    for told in bad or ():
        print(told, file=sys.stderr)
    return 1 if bad else 0


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115, PTH123  closed below
    except OSError as exc:
        raise InputError(f"cannot read the candidates in {file}: {exc.strerror}") from exc
    with stream:
        yield stream


def _lines(
    stream: IO[bytes], file: str, text_field: str, query: str | None, bad: list[str] | None
) -> Iterator[tuple[str, Line]]:
    """Yield each line with its query; what cannot be read is raised, or kept in ``bad``."""
    where = "stdin" if file == STDIN else file
    for number, raw in enumerate(stream, start=1):
        if not raw.strip():
            continue
        try:
            yield _line(raw.removeprefix(b"\xef\xbb\xbf"), text_field, query)
        except ValueError as exc:
            message = f"{where}, line {number}: {exc}"
            if bad is None:
                raise InputError(f"{message}; --skip-bad goes on without such lines") from exc
            bad.append(f"skipped {message}")


def _line(raw: bytes, text_field: str, query: str | None) -> tuple[str, Line]:
    """Return a line's query and its values.

    Raises:
        ValueError: it cannot be used; the message says why.
    """
    try:
        found = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ValueError("not UTF-8 text") from exc
    except json.JSONDecodeError as exc:
        raise ValueError(f"not JSON ({exc.msg}, column {exc.colno})") from exc
    except RecursionError as exc:
        raise ValueError("not JSON that can be read: too deeply nested") from exc
    if isinstance(found, str):
        found = {text_field: found}
    if not isinstance(found, dict):
        raise ValueError(f"an object or a text in quotes is wanted, got {type(found).__name__}")
    if not isinstance(found.get(text_field), str):
        raise ValueError(f"no text under {text_field!r}" + _meant(found))
    asked = found.get("query", query)
    if not isinstance(asked, str) or not asked.strip():
        raise ValueError('no query: give the line a "query", or all of them one with --query')
    return asked, found


def _meant(found: Line) -> str:
    texts = [key for key, value in found.items() if isinstance(value, str) and key != "query"]
    return f"; --text-field {max(texts, key=lambda key: len(found[key]))} would take another" if texts else ""


def _groups(lines: Iterator[tuple[str, Line]]) -> Iterator[tuple[str, list[Line]]]:
    """Yield lines that stand together with the same query."""
    asked, group = "", list[Line]()
    for query, line in lines:
        if group and query != asked:
            yield asked, group
            group = []
        asked = query
        group.append(line)
    if group:
        yield asked, group


def _print_group(
    reader: Reranker, query: str, lines: list[Line], text_field: str, k: int | None, deadline: float | None
) -> None:
    from ..engine import rerank

    result = rerank(query, [line[text_field] for line in lines], reader, k, deadline_ms=deadline)
    for hit in result.hits:
        candidate = hit.candidate or hit
        _print(lines[candidate.rank - 1] | _numbers(hit, candidate.rank, result.reranker))
    sys.stdout.flush()


def _numbers(hit: Hit, candidate_rank: int, reranker: str) -> Line:
    """Return what stage 2 adds to a line, under the names that all our integrations use."""
    numbers: Line = {
        "relevance_score": None if hit.unread else hit.score,
        "rerank_rank": hit.rank,
        "candidate_rank": candidate_rank,
        "reranker": reranker,
    }
    if hit.probability is not None:
        numbers["relevance_probability"] = hit.probability
    if hit.unread:
        numbers["unread"] = True
    if hit.reading is not None and hit.reading.tokens_seen < hit.reading.tokens_total:
        numbers["truncated"] = True
    return numbers


def _print(line: Line) -> None:
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(line)
    print(text)
