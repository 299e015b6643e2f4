"""HTML to the text that a reader sees, with a line or a paragraph where blocks end."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LoadError
from .options import printable

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import PageElement, Tag

__all__ = ["looks_like_html", "visible_text"]

_UNSEEN = ("script", "style", "template", "noscript", "svg", "canvas", "head", "nav")
_BREAKS = {1: " | ", 2: "\n", 3: "\n\n"}
_CELLS = ("td", "th")
_LINES = (
    *("body", "br", "caption", "dd", "div", "dl", "dt", "figcaption", "form", "html"),
    *("li", "main", "ol", "option", "summary", "tr", "ul"),
)
_PARAGRAPHS = (
    *("address", "article", "aside", "blockquote", "details", "fieldset", "figure", "footer", "header"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "p", "pre", "section", "table"),
)
_STRENGTH = {**dict.fromkeys(_CELLS, 1), **dict.fromkeys(_LINES, 2), **dict.fromkeys(_PARAGRAPHS, 3)}
"""How strong a break each block makes: between cells, between lines, between paragraphs."""

_BLANK_CHARACTERS = " \t\r\n\f"
_BLANKS = re.compile(f"[{_BLANK_CHARACTERS}]+")
_START = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)


def looks_like_html(text: str) -> bool:
    """Say whether a text starts the way a whole HTML page does."""
    return _START.match(text[:2000]) is not None


def visible_text(path: Path, html: str) -> tuple[str, str]:
    """Return the text of a page and its title (``""`` without one).

    Left out: scripts, styles, templates, drawings, navigation, and what is hidden by the
    ``hidden`` attribute. Blanks collapse except inside ``pre``; cells of a table row are
    separated by ``" | "``.

    Raises:
        LoadError: the page cannot be parsed.
    """
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "looks like a URL", "looks like XML": guesses about our intent
            soup = BeautifulSoup(html, "html.parser")
    except (ParserRejectedMarkup, RecursionError) as exc:
        raise LoadError(printable(path), "HTML that cannot be parsed") from exc
    title = _BLANKS.sub(" ", soup.title.get_text()).strip() if soup.title else ""
    for unseen in [*soup(_UNSEEN), *soup(hidden=True)]:
        unseen.extract()
    return _collect(soup), title


def _collect(soup: BeautifulSoup) -> str:
    from bs4.element import CData, NavigableString, Tag

    writer = _Writer()
    blocks = _Blocks()
    current = ""
    holder: object = soup
    for element in soup.descendants:
        if isinstance(element, Tag):
            writer.end(element.name)
        elif type(element) in (NavigableString, CData):
            block = blocks.of(element)
            if block is not holder and str(element).strip(_BLANK_CHARACTERS):
                writer.end(current)
                holder, current = block, block.name if block is not None else ""
            writer.write(str(element), keep_blanks=current == "pre" and block is holder)
    return writer.text()


class _Blocks:
    """Nearest enclosing block of an element, remembered so that deep nesting costs no more than flat."""

    def __init__(self) -> None:
        self._known: dict[int, Tag | None] = {}

    def of(self, element: PageElement) -> Tag | None:
        passed: list[int] = []
        found: Tag | None = None
        parent = element.parent
        while parent is not None:
            if id(parent) in self._known:
                found = self._known[id(parent)]
                break
            passed.append(id(parent))
            if parent.name in _STRENGTH:
                found = parent
                break
            parent = parent.parent
        self._known.update(dict.fromkeys(passed, found))
        return found


class _Writer:
    """Joins stretches of text, with the strongest of the breaks that lie between two of them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._break = 0
        self._blank = False

    def end(self, name: str) -> None:
        self._break = max(self._break, _STRENGTH.get(name, 0))

    def write(self, text: str, keep_blanks: bool) -> None:
        if not text.strip(_BLANK_CHARACTERS) and not (keep_blanks and not self._break):
            self._blank = True
            return
        if not keep_blanks:
            self._blank = self._blank or text[0] in _BLANK_CHARACTERS
            trailing = text[-1] in _BLANK_CHARACTERS
            text = _BLANKS.sub(" ", text).strip(" ")
        else:
            trailing = False
        if self._parts:
            self._parts.append(_BREAKS[self._break] if self._break else " " * self._blank)
        self._parts.append(text)
        self._break, self._blank = 0, trailing

    def text(self) -> str:
        return "".join(self._parts)
