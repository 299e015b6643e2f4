"""HTML and SVG that cannot be written unescaped: text becomes ``Markup`` only by ``tag`` and ``text``."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping

__all__ = ["Attributes", "Child", "Markup", "joined", "number", "tag", "text"]


class Markup(str):
    """Text that is HTML already. Any other string is escaped where it is put into a tag."""

    __slots__ = ()


Child = str | Iterable["Child"]
"""A string (escaped unless it is ``Markup``), or any nesting of them."""
Attributes = Mapping[str, str | int | float | bool | None]
"""Names to values; True gives a bare name, None and False leave the attribute out."""

_VOID = frozenset({"br", "hr", "input", "meta"})
# What is no text, or would turn what follows it around: controls, bidirectional overrides, surrogates.
_REPLACED = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_NEWLINES = re.compile(r"\r\n|\r|\f")


def text(value: str) -> Markup:
    """Return text as it may stand between tags and inside quoted attributes."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_REPLACED.sub("\ufffd", _NEWLINES.sub("\n", value))))


def joined(*children: Child) -> Markup:
    """Return the children one after the other, each escaped unless it is ``Markup``."""
    return Markup("".join(_flat(children)))


def _flat(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, str):
            yield text(child)
        else:
            yield from _flat(child)


def tag(name: str, attributes: Attributes | None = None, *children: Child) -> Markup:
    """Return an element; names of tags and attributes come from code, never from data."""
    given = "".join(_attribute(key, value) for key, value in (attributes or {}).items())
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    shown = value if isinstance(value, str) else number(value)
    return f' {name}="{text(shown)}"'


def number(value: float) -> str:
    """Return a coordinate with at most two decimals, without trailing zeros; what is not finite is 0."""
    if not math.isfinite(value):
        return "0"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
