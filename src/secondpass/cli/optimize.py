"""``secondpass models optimize``: a re-ranker in 8 bits, kept only where the top 3s stay what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from . import options, settings
from .running import TROUBLE

if TYPE_CHECKING:
    from ..drift import Asked
    from ..optimising import Optimised, Way
    from .settings import Settings

__all__ = ["EXAMPLE", "NAME", "command"]

NAME = "optimize"
EXAMPLE = "optimize ms-marco-MiniLM-L-6-v2 --index .secondpass"

_BUILT_IN = "built in"
_NAMES = {"kernels": "our own kernels", "onnxruntime": "ONNX Runtime"}


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A re-ranker by name, or a model folder.")],
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="DIR",
            help="Measure on this index. [default: that of the settings if it is there, else built-in text]",
        ),
    ] = None,
    precision: options.Precision = None,
    max_change: Annotated[
        str | None,
        typer.Option(
            "--max-change",
            metavar="SHARE",
            help="Refuse 8 bits if more queries than this share get another top 3. [default: 0.25]",
        ),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Put a re-ranker into 8 bits, and measure the drift.

    The same candidates are scored in float32 and in 8 bits. Where too many top 3s come out differently,
    float32 stays in use (exit code 1). With --precision fp32 an earlier 8-bit copy is deleted.
    """
    chosen = settings.load({"index": index, "precision": precision, "quiet": quiet})
    if chosen.precision == "fp32":
        return _forget(name, as_json)
    from ..optimising import MAX_CHANGE, optimise

    limit = MAX_CHANGE if max_change is None else _share(max_change)
    asked, text = _asked(chosen)
    _announce(name, len(asked), chosen, as_json)
    done = optimise(name, asked, max_change=limit, text=text)
    if as_json:
        from . import jsonout

        jsonout.emit(_shape(done, text))
    else:
        _show(done, text)
    return 0 if done.used else TROUBLE


def _share(given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError(f"--max-change must be a share of queries from 0 to 1, got {given!r}")
    return share


def _asked(chosen: Settings) -> tuple[list[Asked], str]:
    """Return what to measure on, and what it was made of."""
    from ..drift import asked_of, built_in_text

    if "index" not in chosen.given and not (chosen.index / "index.db").is_file():
        return built_in_text(), _BUILT_IN
    from ..index import Index

    with Index.open(chosen.index, create=False) as index:
        asked = [each for each in asked_of(index) if len(each[1]) > 1]
        if not asked:
            raise InputError(f"the index in {chosen.index} holds too little text to measure on; index more")
        return asked, str(index.path)


def _announce(name: str, queries: int, chosen: Settings, as_json: bool) -> None:
    import sys

    if not as_json and not chosen.quiet and sys.stderr.isatty():
        print(
            f"{name}: into 8 bits, then {queries} queries in both precisions; a minute or so", file=sys.stderr
        )


def _forget(name: str, as_json: bool) -> int:
    from ..optimising import forget
    from .terminal import emit, output, shown_path, without_controls

    deleted = forget(name)
    if as_json:
        from . import jsonout

        shape: dict[str, Any] = {
            "name": name,
            "precision": "fp32",
            "used": None,
            "file": deleted and str(deleted),
            "ways": {},
        }
        jsonout.emit(shape)
    elif deleted is None:
        emit(output(), without_controls(f"{name} had no 8-bit copy; it stays in float32 on ONNX Runtime"))
    else:
        emit(output(), f"deleted {shown_path(str(deleted))}")
    return 0


def _shape(done: Optimised, text: str) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": done.name,
        "precision": "int8",
        "used": done.used,
        "file": str(done.file) if done.file else None,
        "megabytes": {"fp32": _megabytes(done.source_bytes), "int8": _megabytes(done.file_bytes)},
        "text": text,
        "max_change": done.max_change,
        "ways": {name: {"accepted": way.accepted, **asdict(way.drift)} for name, way in done.ways.items()},
    }


def _show(done: Optimised, text: str) -> None:
    from rich.text import Text

    from .render import flowing
    from .terminal import emit, output, shown_path, without_controls

    console = output()
    where = "Python's own documentation" if text == _BUILT_IN else shown_path(text)
    size = f"{_megabytes(done.source_bytes):,} MB to {_megabytes(done.file_bytes):,} MB"
    head = Text(without_controls(done.name), style="bold")
    emit(console, head, flowing(console.width, [size, f"measured on {where}"], style="dim"))
    for name, way in done.ways.items():
        emit(console, "", Text(f"8 bits on {_NAMES[name]}: ", style="bold") + _verdict(way))
        emit(console, flowing(console.width, _figures(way)))
    emit(console, "", *_outcome(done))
    if done.file is not None:
        emit(console, Text(shown_path(str(done.file)), style="dim"))


def _verdict(way: Way) -> Any:
    from rich.text import Text

    return Text("accepted", style="green") if way.accepted else Text("refused", style="yellow")


def _figures(way: Way) -> list[str]:
    found = way.drift
    return [
        f"top 3 another set: {found.top3_changed:.0%} of {found.queries} queries",
        f"another first: {found.first_changed:.0%}",
        f"scores differ by {found.mean:.3f} on average",
        f"{found.largest:.3f} at most",
        f"Spearman {found.spearman:.3f}",
    ]


def _outcome(done: Optimised) -> list[str]:
    if done.used:
        return [f"In use from now on: 8 bits on {_NAMES[done.used]}. Compare any time with --precision fp32."]
    limit = f"More than {done.max_change:.0%} of the top 3s changed"
    return [f"{limit}: the 8-bit copy was deleted, and float32 stays in use."]


def _megabytes(size: int) -> float:
    return round(size / 1e6, 1)
