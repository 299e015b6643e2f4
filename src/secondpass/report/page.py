"""The frame of every report: head, policy, style, script, and when and where it was made."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from .. import __version__
from .markup import Child, Markup, joined, tag

__all__ = ["Stamp", "joined_with", "page", "section", "table", "toolbar"]

VERSIONS_OF = ("onnxruntime", "numpy", "tokenizers")


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and where a report was made.

    Attributes:
        made: the time; shown in UTC.
        machine: the processor and how many cores were used.
        versions: ``name version`` of what the figures depend on.
    """

    made: datetime
    machine: str
    versions: tuple[str, ...]

    @classmethod
    def now(cls) -> Stamp:
        """Return the stamp of this moment on this machine."""
        from ..cores import usable_cores

        cores = usable_cores()
        machine = f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}, {platform.system()}"
        return cls(datetime.now(UTC), machine, tuple(_versions()))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> list[str]:
    found = [f"secondpass {__version__}", f"Python {platform.python_version()}"]
    for name in VERSIONS_OF:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def page(kind: str, title: str, lead: Child, body: Child, stamp: Stamp) -> str:
    """Return a whole HTML document that loads nothing.

    Its policy allows only the style and the script that are written into it, by their hashes, so that
    nothing in a document's text could load or run anything even if it got past the escaping.

    Args:
        kind: the command the report is of, e.g. ``compare``.
        title: the one thing to read, in plain words.
        lead: what stands under the title.
        body: the sections.
        stamp: when and where it was made.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        None,
        tag("meta", {"charset": "utf-8"}),
        tag("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", {"name": "color-scheme", "content": "light dark"}),
        tag("meta", {"name": "referrer", "content": "no-referrer"}),
        tag("meta", {"name": "generator", "content": f"secondpass {__version__}"}),
        tag("title", None, f"{title} · secondpass {kind}"),
        tag("style", None, style),
    )
    header = tag(
        "header",
        {"class": "masthead"},
        tag("p", {"class": "brand"}, tag("b", None, "secondpass"), " ", kind),
        tag("h1", {"dir": "auto"}, title),
        lead,
    )
    main = tag("main", {"id": "main"}, header, body)
    document = tag(
        "html",
        {"lang": "en"},
        head,
        tag("body", {"class": kind}, main, _footer(stamp), tag("script", None, script)),
    )
    return f"<!DOCTYPE html>\n{document}\n"


def _footer(stamp: Stamp) -> Markup:
    made = stamp.made.astimezone(UTC)
    shown = f"{made.day} {made:%B %Y}, {made:%H:%M} UTC"
    return tag(
        "footer",
        None,
        tag("p", None, "Made ", tag("time", {"datetime": made.isoformat(timespec="seconds")}, shown), "."),
        tag("p", None, stamp.machine, " · ", " · ".join(stamp.versions)),
        tag("p", None, "This file stands alone: it asks nothing of the network, now or later."),
    )


@cache
def _asset(name: str) -> Markup:
    """Return a file of ours as it is: it is trusted, and it must not end its own element."""
    return Markup(files(__package__).joinpath("assets", name).read_text(encoding="utf-8"))


def _hash(source: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script (CSP Level 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def section(heading: Child, *children: Child, **attributes: str) -> Markup:
    """Return a section with a heading of the second level; ``attributes`` are those of the section."""
    return tag("section", attributes, tag("h2", None, heading), *children)


def table(
    caption: str,
    head: Sequence[Child],
    rows: Sequence[Sequence[Child]],
    *,
    sortable: bool = False,
    chosen: int | None = None,
) -> Markup:
    """Return a table whose first column names the row and whose other columns are figures.

    A cell whose text begins with a number is sorted by it where the table is sortable; ``chosen`` is the
    place of the row to set off.
    """
    titles = [tag("th", {"scope": "col"}, each) for each in head]
    body = [
        tag(
            "tr",
            {"class": "chosen" if place == chosen else None},
            tag("th", {"scope": "row"}, first),
            *(tag("td", None, each) for each in cells),
        )
        for place, (first, *cells) in enumerate(rows)
    ]
    return tag(
        "div",
        {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption},
        tag(
            "table",
            {"data-sortable": sortable},
            tag("caption", None, caption),
            tag("thead", None, tag("tr", None, titles)),
            tag("tbody", None, body),
        ),
    )


def toolbar(label: str, placeholder: str, orders: list[tuple[str, str]] | None = None) -> Markup:
    """Return the filter and the orders of the list that follows it; hidden where no script runs.

    Args:
        label: what the filter is for, read aloud.
        placeholder: shown in the empty filter.
        orders: key of the ``data-`` attribute to sort by, largest first, and its name; ``-key`` sorts
            smallest first. The first is the order of the list as it is.
    """
    buttons = [
        tag(
            "button",
            {"type": "button", "data-order": key, "aria-pressed": "false" if place else "true"},
            name,
        )
        for place, (key, name) in enumerate(orders or [])
    ]
    return tag(
        "div",
        {"class": "tools", "hidden": True},
        tag("input", {"type": "search", "aria-label": label, "placeholder": placeholder}),
        tag("div", {"class": "orders", "role": "group", "aria-label": "Order"}, buttons) if buttons else "",
        tag("p", {"class": "found", "role": "status"}),
    )


def joined_with(separator: Child, pieces: Sequence[Child]) -> Markup:
    """Return the pieces with a separator between them."""
    parts: list[Child] = []
    for piece in pieces:
        parts.extend([separator, piece] if parts else [piece])
    return joined(parts)
