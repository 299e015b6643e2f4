"""The commands by name. To add one: a module with a function ``command``, and a line in ``COMMANDS``."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import (
    ask,
    bench,
    calibrate,
    compare,
    demo,
    index,
    judge,
    make_queries,
    mcp,
    models,
    rerank,
    search,
    serve,
    status,
    train,
    worth_it,
)
from . import eval as evaluate

__all__ = ["app"]

app = typer.Typer(
    name="secondpass",
    help="Two-stage retrieval over your own documents: search broadly, re-rank precisely, see what changed.",
    epilog="Start with: secondpass index notes.txt docs/",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"secondpass {__version__}")
        raise typer.Exit


@app.callback()
def _secondpass(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


for _module in (
    index,
    search,
    ask,
    compare,
    rerank,
    status,
    evaluate,
    worth_it,
    make_queries,
    judge,
    calibrate,
    train,
    demo,
    bench,
    mcp,
    serve,
):
    app.command(_module.NAME, epilog=f"Example: {_module.EXAMPLE}")(_module.command)
app.add_typer(models.app, name="models", help="The models that secondpass knows and has.")
