"""The options that several commands share; each stands for a setting (see ``settings.KEYS``) or an act.

Numbers come as text: ``settings`` reads them, so that a wrong one is told in the same words from anywhere.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .settings import KEYS

__all__ = [
    "Cache",
    "Candidates",
    "Deadline",
    "IndexFolder",
    "Json",
    "K",
    "LlmModel",
    "LlmName",
    "LlmUrl",
    "LlmWindow",
    "MinPrecision",
    "Precision",
    "Quiet",
    "RerankerName",
    "Stage1",
    "Where",
    "option",
]


def option(*names: str, key: str, metavar: str | None = None) -> Any:
    """Return an option that stands for a setting: its help and its default are the setting's."""
    setting = next(each for each in KEYS if each.key == key)
    shown = {None: "", False: "", True: " [default: yes]"}.get(
        setting.default, f" [default: {setting.default}]"
    )
    return typer.Option(*names, metavar=metavar, help=f"{setting.meaning}{shown}", show_default=False)


IndexFolder = Annotated[str | None, option("--index", key="index", metavar="DIR")]
RerankerName = Annotated[str | None, option("--reranker", key="reranker", metavar="NAME")]
Candidates = Annotated[str | None, option("--candidates", key="candidates", metavar="N")]
K = Annotated[str | None, option("--k", "-k", key="k", metavar="N")]
Stage1 = Annotated[str | None, option("--stage1", key="stage1", metavar="HOW")]
Deadline = Annotated[str | None, option("--deadline", key="deadline", metavar="TIME")]
Cache = Annotated[bool | None, option("--cache/--no-cache", key="cache")]
Precision = Annotated[str | None, option("--precision", key="precision", metavar="KIND")]
MinPrecision = Annotated[str | None, option("--min-precision", key="min-precision", metavar="SHARE")]
LlmName = Annotated[str | None, option("--llm", key="llm", metavar="NAME")]
LlmUrl = Annotated[str | None, option("--llm-url", key="llm-url", metavar="URL")]
LlmModel = Annotated[str | None, option("--llm-model", key="llm-model", metavar="NAME")]
LlmWindow = Annotated[str | None, option("--llm-window", key="llm-window", metavar="N")]
Quiet = Annotated[bool | None, option("--quiet", "-q", key="quiet")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only passages with this metadata, e.g. extension=.md; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md) instead of text.")]
