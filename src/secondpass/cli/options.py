"""The options that several commands share; each stands for a setting (see ``settings.KEYS``) or an act."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Candidates",
    "IndexFolder",
    "Json",
    "K",
    "Quiet",
    "RerankerName",
    "Stage1",
    "Where",
]

IndexFolder = Annotated[
    str | None,
    typer.Option("--index", metavar="DIR", help="Folder of the index.", show_default="./.secondpass"),
]
RerankerName = Annotated[
    str | None,
    typer.Option(
        "--reranker", metavar="NAME", help="Stage 2: auto, none, a name or a folder.", show_default="auto"
    ),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates", metavar="N", help="Passages that stage 1 hands to stage 2.", show_default="20"
    ),
]
K = Annotated[
    int | None,
    typer.Option(
        "--k", "-k", metavar="N", help="Hits that come back, at most --candidates.", show_default="3"
    ),
]
Stage1 = Annotated[
    str | None,
    typer.Option(
        "--stage1",
        metavar="HOW",
        help="How stage 1 searches: dense, lexical or hybrid.",
        show_default="dense",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only passages with this metadata, e.g. extension=.md; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md) instead of text.")]
Quiet = Annotated[
    bool | None, typer.Option("--quiet", "-q", help="No progress on stderr.", show_default=False)
]
