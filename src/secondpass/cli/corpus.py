"""The demo's text: the documentation that every Python carries in its standard library's docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["MODULES", "TOPICS", "build_corpus"]

MODULES = tuple(
    """
    abc argparse asyncio.events asyncio.locks asyncio.queues asyncio.streams asyncio.subprocess
    asyncio.taskgroups asyncio.tasks asyncio.timeouts base64 bisect calendar codecs collections
    concurrent.futures configparser contextlib contextvars copy csv dataclasses datetime decimal difflib
    email.utils enum fileinput fnmatch fractions functools getpass glob graphlib gzip hashlib heapq hmac
    html http.client http.server io ipaddress itertools json linecache locale logging logging.handlers
    math mimetypes multiprocessing.managers multiprocessing.pool multiprocessing.shared_memory operator
    os os.path pathlib pickle platform pprint queue random re reprlib sched secrets selectors shelve
    shlex shutil signal smtplib socket socketserver sqlite3 stat statistics string struct subprocess sys
    tarfile tempfile textwrap threading time timeit traceback tracemalloc types unicodedata
    unittest.case urllib.error urllib.parse urllib.request urllib.robotparser uuid warnings weakref
    webbrowser xml.etree.ElementTree zipfile zlib zoneinfo
    """.split()  # noqa: SIM905  words read best as words
)
"""Modules that import without side effects and are documented in their own source."""

TOPICS = tuple(
    """
    assert async break class context-managers continue del dict exceptions execmodel for formatstrings
    function global import in integers lambda lists nonlocal pass raise return sequence-types
    string-methods strings truth try typesmapping typesseq while with yield
    """.split()  # noqa: SIM905  words read best as words
)
"""Pages of Python's own ``help()`` about the language and its built-in types."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST_SIGNATURE = 160
_STAMP = "made-for.txt"


def build_corpus(folder: Path) -> Path:
    """Write one text file a module and one a help page below a folder, and return the folder.

    The text depends on the version of Python alone; where the folder holds that of this version already,
    nothing is written.
    """
    stamp = folder.parent / f"{folder.name}-{_STAMP}"
    version = f"{sys.implementation.name} {sys.version.split()[0]} {sys.platform} corpus 2"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == version and folder.is_dir():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.txt"):
        old.unlink()
    for name, text in (*_modules(), *_topics()):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
    stamp.write_text(version, encoding="utf-8")
    return folder


def _modules() -> Iterator[tuple[str, str]]:
    """Yield name and text of each module that this Python has."""
    for name in MODULES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecated modules; they are documented all the same
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            text = "\n\n".join(_module(name, module))
        if text.strip():
            yield name, text + "\n"


def _topics() -> Iterator[tuple[str, str]]:
    """Yield name and text of each help page that this Python has; some systems leave them out."""
    try:
        pages: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except (ImportError, AttributeError):
        return
    for name in TOPICS:
        if name in pages:
            yield f"help-{name}", pages[name].strip() + "\n"


def _module(name: str, module: ModuleType) -> Iterator[str]:
    doc = _doc(module)
    if doc:
        yield f"{name}\n\n{doc}"
    for symbol, value in sorted(_public(module).items()):
        if inspect.isclass(value):
            yield from _class(f"{name}.{symbol}", value)
        elif callable(value):
            yield from _function(f"{name}.{symbol}", value)


def _public(module: ModuleType) -> dict[str, Any]:
    """Return what the module offers as its own, hooks left out: whoever runs us may have set others."""
    names = getattr(module, "__all__", None) or [each for each in vars(module) if not each.startswith("_")]
    found = {each: getattr(module, each, None) for each in names if not each.endswith("hook")}
    exported = hasattr(module, "__all__")
    return {
        each: value
        for each, value in found.items()
        if exported or getattr(value, "__module__", None) == module.__name__
    }


def _class(name: str, value: type) -> Iterator[str]:
    yield from _function(name, value)
    for symbol, member in sorted(vars(value).items()):
        if not symbol.startswith("_") and _doc(member):
            called = getattr(member, "__func__", member)
            yield from _function(f"{name}.{symbol}", called)


def _function(name: str, value: Any) -> Iterator[str]:
    doc = _doc(value)
    if doc:
        yield f"{name}{_signature(value)}\n{textwrap.indent(doc, '    ')}"


def _signature(value: Any) -> str:
    """Return the parameters; nothing where they are unknown, long, or name things of this machine."""
    if not callable(value):
        return ""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
    usable = (
        len(text) <= _LONGEST_SIGNATURE and not _ADDRESS.search(text) and "/" not in text.replace(", /", "")
    )
    return text if usable else "(...)"


def _doc(value: Any) -> str:
    """Return a docstring, unindented; that which a plain value has from its type is none of its own."""
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str) or doc == type(value).__doc__:
        return ""
    return _ADDRESS.sub("", inspect.cleandoc(doc)).strip()
