"""``secondpass models``: which models are known, which are here, and fetching one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import optimize, options

if TYPE_CHECKING:
    from ..models import ModelFolder

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
    as_json: options.Json = False,
    quiet: options.Quiet = None,
) -> int:
    """Fetch a re-ranker from the Hugging Face hub.

    From then on it can be named without any network.
    """
    import sys

    from .. import models
    from . import settings

    chosen = settings.load({"quiet": quiet})
    folder = models.resolve(
        name, "reranker", download=True, progress=sys.stderr.isatty() and not chosen.quiet
    )
    if as_json:
        from . import jsonout

        jsonout.emit({"name": folder.name, "path": str(folder.path), "origin": folder.origin})
    else:
        from .terminal import emit, output, without_controls

        emit(output(), without_controls(f"{folder.name} is in {folder.path}"))
    return 0


app.command(optimize.NAME, epilog=f"Example: secondpass models {optimize.EXAMPLE}")(optimize.command)


def _rows() -> list[dict[str, Any]]:
    """Return known models and then the user's own, as ``models list --json`` shows them."""
    from .. import models
    from ..reranking import AUTO_RERANKER

    here = {folder.name: folder for folder in models.installed()}
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
                "license": known.license,
                "description": known.description,
            }
        )
    unknown = {"hub_id": None, "size_mb": None, "license": None, "description": "your own"}
    own = [
        {"name": name, "kind": "reranker", "auto": False, **_where(folder), **unknown}
        for name, folder in here.items()
    ]
    return rows + own


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
        size = f"{row['size_mb']} MB" if row["size_mb"] else None
        facts = [row["kind"], row["description"], size, row["license"], place]
        pieces = [without_controls(str(fact)) for fact in facts if fact]
        emit(console, Padding(flowing(console.width - INDENT, pieces, style="dim"), (0, 0, 0, 2)))
    emit(console, "", Text("fetch one with: secondpass models pull NAME", style="dim"))
