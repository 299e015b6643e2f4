"""``secondpass models``: which models are known and here; fetching, checking and moving them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import optimize, options

if TYPE_CHECKING:
    from ..models import ModelFolder
    from ..supply import Speed

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, no_args_is_help=False)


@app.command("list", epilog="Example: secondpass models list --json")
def list_models(as_json: options.Json = False) -> int:
    """List known models and your own.

    Shown are those with a short name and those in your model folder. No network is touched.
    """
    rows = _rows()
    if as_json:
        from . import jsonout

        jsonout.emit({"models": rows})
        return 0
    _show(rows)
    return 0


@app.command("pull", epilog="Example: secondpass models pull ms-marco-MiniLM-L-6-v2")
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A short name, or owner/name on the Hugging Face hub.")
    ],
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Fetch a re-ranker or an embedder from the Hugging Face hub.

    Of several ONNX files the one in 8 bits for this processor is taken, with --precision fp32 the exact one;
    where there is none, safetensors, converted if need be. A download that broke off goes on where it was.
    Every file is compared with the hub's sha256. From then on the model can be named without any network.
    """
    from .. import supply
    from . import progress, settings

    chosen = settings.load({"quiet": quiet, "precision": precision})
    with progress.downloading("fetching", chosen.quiet) as show:
        done = supply.pull(name, chosen.precision, show)
    folder, weights = done.folder, done.weights
    if as_json:
        from . import jsonout

        jsonout.emit(
            {
                "name": folder.name,
                "kind": done.record.kind,
                "path": str(folder.path),
                "origin": folder.origin,
                "weights": str(weights),
                "files": len(done.record.files),
                "speed": _speed(done.record.speed),
            }
        )
    else:
        used = weights.relative_to(folder.path) if weights.is_relative_to(folder.path) else weights
        _say(f"{folder.name} is in {folder.path}", f"weights: {used}{_told(done.record.speed)}")
    return 0


@app.command("verify", epilog="Example: secondpass models verify minilm-l6")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models on this machine. Default: all.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Check the files of models, and what they say.

    Files are compared with their sha256, answers to a few fixed texts with those recorded. No network
    is touched. Their speed is measured along the way, for: secondpass models list.
    """
    from .. import supply
    from ..errors import ModelError

    checked: list[dict[str, Any]] = []
    for name in names or supply.verifiable():
        try:
            done = supply.verify(name)
        except ModelError as exc:
            if names and len(names) == 1 and not as_json:
                raise
            checked.append({"name": name, "ok": False, "error": str(exc)})
            continue
        facts = {"files": done.files, "values": done.values, "precision": done.precision}
        facts |= {"difference": done.difference, "tolerance": done.tolerance, "speed": _speed(done.speed)}
        checked.append({"name": done.name, "ok": True, **facts})
    if as_json:
        from . import jsonout

        jsonout.emit({"verified": checked})
    else:
        for each in checked:
            _say(*_verdict(each))
    return int(not all(each["ok"] for each in checked))


@app.command("export", epilog="Example: secondpass models export bge-reranker-base bge.tar")
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model on this machine.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to write.")],
    as_json: options.Json = False,
) -> int:
    """Write a model into one file.

    On a machine without a network: secondpass models import FILE.
    """
    from pathlib import Path

    from .. import supply

    record = supply.export_model(name, Path(file))
    size = Path(file).stat().st_size
    if as_json:
        from . import jsonout

        jsonout.emit({"name": record.name, "file": file, "bytes": size, "files": len(record.files)})
    else:
        _say(f"{record.name} is in {file} ({size / 1e6:,.1f} MB)", f"there: secondpass models import {file}")
    return 0


@app.command("import", epilog="Example: secondpass models import bge.tar")
def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What models export wrote.")],
    as_json: options.Json = False,
) -> int:
    """Unpack a model that was exported elsewhere.

    Its files are compared with their sha256, and what it says of a few texts with what it said there.
    """
    from pathlib import Path

    from .. import supply

    folder, record = supply.import_model(Path(file))
    if as_json:
        from . import jsonout

        jsonout.emit(
            {
                "name": folder.name,
                "kind": record.kind,
                "path": str(folder.path),
                "files": len(record.files),
                "speed": _speed(record.speed),
            }
        )
    else:
        _say(f"{folder.name} is in {folder.path}", f"{len(record.files)} files checked{_told(record.speed)}")
    return 0


app.command(optimize.NAME, epilog=f"Example: secondpass models {optimize.EXAMPLE}")(optimize.command)


def _rows() -> list[dict[str, Any]]:
    """Return known models and then the user's own, as ``models list --json`` shows them."""
    from .. import models, supply
    from ..reranking import AUTO_RERANKER

    here = {folder.name: folder for folder in supply.on_this_machine()}
    measured = supply.speeds(list(here))
    rows = []
    for known in models.known_models():
        folder = here.pop(known.name, None)
        rows.append(
            {
                "name": known.name,
                "kind": known.kind,
                "auto": known.name == AUTO_RERANKER,
                **_where(folder),
                "hub_id": known.hub_id,
                "size_mb": known.size_mb,
                "layers": known.layers,
                "window": known.window,
                "languages": known.languages,
                "license": known.license,
                "description": known.description,
                "speed": _speed(measured.get(known.name)),
            }
        )
    unknown = dict.fromkeys(("hub_id", "size_mb", "layers", "window", "languages", "license"))
    own = [
        {
            "name": name,
            "kind": models.kind_of(folder),
            "auto": False,
            **_where(folder),
            **unknown,
            "description": "your own",
            "speed": _speed(measured.get(name)),
        }
        for name, folder in here.items()
    ]
    return rows + own


def _speed(speed: Speed | None) -> dict[str, Any] | None:
    """Return a measured speed as JSON shows it."""
    if speed is None:
        return None
    return {"ms": speed.ms, "passages": speed.passages, "precision": speed.precision}


def _told(speed: Speed | None) -> str:
    return "" if speed is None else f", {speed.ms:,.0f} ms for {speed.passages} passages here"


def _verdict(checked: dict[str, Any]) -> tuple[str, str]:
    """Return two lines about one verified model."""
    if not checked["ok"]:
        return f"✗ {checked['name']}", f"  {checked['error']}"
    speed = checked["speed"]
    return (
        f"✓ {checked['name']}",
        f"  {checked['files']} files by sha256, {checked['values']} values differ by at most "
        f"{checked['difference']:.6f} (allowed {checked['tolerance']:g}), "
        f"{speed['ms']:,.0f} ms for {speed['passages']} passages",
    )


def _say(*lines: str) -> None:
    from .terminal import emit, output, without_controls

    for line in lines:
        emit(output(), without_controls(line))


def _where(folder: ModelFolder | None) -> dict[str, Any]:
    if folder is None:
        return {"installed": False, "origin": None, "path": None}
    return {"installed": True, "origin": folder.origin, "path": str(folder.path)}


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from .render import flowing
    from .terminal import INDENT, emit, output, without_controls

    console = output()
    for row in rows:
        head = Text("✓ " if row["installed"] else "  ", style="green")
        head.append(without_controls(row["name"]), style="bold")
        head.append("  (auto)" if row["auto"] else "", style="cyan")
        emit(console, head)
        place = {"package": "came with the package", None: "not here"}.get(row["origin"], f"in {row['path']}")
        speed = row["speed"]
        facts = [
            row["kind"],
            row["description"],
            row["languages"],
            f"{row['size_mb']} MB" if row["size_mb"] else None,
            f"{row['layers']} layers" if row["layers"] else None,
            f"{row['window']:,} tokens" if row["window"] else None,
            row["license"],
            place,
            f"{speed['ms']:,.0f} ms for {speed['passages']} passages here" if speed else None,
        ]
        pieces = [without_controls(str(fact)) for fact in facts if fact]
        emit(console, Padding(flowing(console.width - INDENT, pieces, style="dim"), (0, 0, 0, 2)))
    emit(console, "", Text("fetch one with: secondpass models pull NAME", style="dim"))
