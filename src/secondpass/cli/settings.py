"""Settings: flags, then ``SECONDPASS_*`` variables, then the nearest ``secondpass.toml``, then defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arguments import PRECISIONS, STAGE1
from ..errors import InputError, SettingsError
from ..gating import Gate, parse_gate

__all__ = ["FILE_NAME", "KEYS", "Setting", "Settings", "find_file", "load"]

FILE_NAME = "secondpass.toml"
GATED = "gated"
"""What a re-ranker is called that is asked only where the gate says so."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works with, wherever each value came from; see ``KEYS`` for their meaning."""

    index: Path
    reranker: str
    candidates: int
    k: int
    stage1: str
    precision: str
    embedder: str
    store: str
    size: int
    overlap: int
    text_field: str | None
    encoding: str | None
    max_file_size: int
    gitignore: bool
    quiet: bool
    deadline: float | None
    cache: bool
    gate: Gate | None
    min_precision: float | None
    llm: str
    llm_url: str | None
    llm_model: str | None
    llm_window: int
    gated: bool
    """The re-ranker was given as ``gated``: ``reranker`` is the gate's, and the gate is to be asked first."""
    given: frozenset[str]
    """Keys of the settings that did not come from the defaults."""


class _WrongError(Exception):
    """A value is not what the setting wants; the message says what would be."""


Reader = Callable[[object, bool], object]
"""Takes a value and whether it is text to be parsed (a flag, a variable) or typed already (TOML)."""


def _whole(least: int) -> Reader:
    def read(value: object, is_text: bool) -> object:
        if is_text and isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _WrongError(f"a whole number of at least {least}")
        return value

    return read


def _share(value: object, is_text: bool) -> object:
    if is_text and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _WrongError("a number above 0 and at most 1, e.g. 0.8")
    return float(value)


def _choice(*options: str) -> Reader:
    def read(value: object, is_text: bool) -> object:  # noqa: ARG001  one signature for all readers
        if value not in options:
            raise _WrongError(f"one of {', '.join(options)}")
        return value

    return read


def _text(value: object, is_text: bool) -> object:  # noqa: ARG001
    if not isinstance(value, str) or not value.strip():
        raise _WrongError("text that is not empty")
    return value


def _switch(value: object, is_text: bool) -> object:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if is_text and isinstance(value, str):
        value = words.get(value.strip().lower())
    if not isinstance(value, bool):
        raise _WrongError("true or false" if not is_text else "1 or 0")
    return value


_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30}


def _size(value: object, is_text: bool) -> object:  # noqa: ARG001
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    number = text.rstrip("bkmgi ")
    unit = text[len(number) :].strip().replace("i", "")
    try:
        size = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size < 1:
        raise _WrongError("a size such as 500KB, 50MB or 1GB")
    return size


_TIMES = {"": 1.0, "ms": 1.0, "s": 1000.0}


def _time(value: object, is_text: bool) -> object:  # noqa: ARG001
    """Return milliseconds."""
    if isinstance(value, str):
        text = value.strip().lower()
        number = text.rstrip("ms ")
        try:
            value = float(number) * _TIMES[text[len(number) :].strip()]
        except (KeyError, ValueError):
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86_400_000:
        raise _WrongError("a time such as 100ms or 0.5s")
    return float(value)


def _gate(value: object, is_text: bool) -> object:  # noqa: ARG001
    try:
        return parse_gate(value if isinstance(value, str) else "")
    except InputError as exc:
        raise _WrongError("a gate such as 'minilm-l6 unless dense margin >= 0.07'") from exc


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name (a flag without dashes, a key in the file), how it is read, what it means."""

    key: str
    default: Any
    read: Reader
    meaning: str

    @property
    def field(self) -> str:
        """Its name in ``Settings``."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"SECONDPASS_{self.field.upper()}"


KEYS = (
    Setting("index", "./.secondpass", _text, "Folder of the index."),
    Setting("reranker", "auto", _text, "Stage 2: auto, none, gated, a name or a folder."),
    Setting("candidates", 20, _whole(1), "Passages that stage 1 hands to stage 2."),
    Setting("k", 3, _whole(1), "Hits that come back, at most the candidates."),
    Setting("stage1", "dense", _choice(*STAGE1), "Stage 1: dense, lexical or hybrid."),
    Setting("precision", "int8", _choice(*PRECISIONS), "Numbers of stage 2: int8 (fast) or fp32."),
    Setting("embedder", "all-MiniLM-L6-v2", _text, "Stage 1's model for a new index: a name or a folder."),
    Setting("store", "sqlite", _choice("sqlite", "chroma"), "Keeper of the vectors: sqlite or chroma."),
    Setting("size", 500, _whole(1), "Most characters of a passage."),
    Setting("overlap", 50, _whole(0), "Characters that neighbouring passages share."),
    Setting("text-field", None, _text, "Field of CSV, JSON and JSONL rows with the text."),
    Setting("encoding", None, _text, "Encoding of text files, e.g. cp1250; detected if not said."),
    Setting("max-file-size", "50MB", _size, "Skip larger files."),
    Setting("gitignore", True, _switch, "Leave out what .gitignore names."),
    Setting("quiet", False, _switch, "No progress on stderr."),
    Setting("deadline", None, _time, "Most time for an answer, e.g. 100ms; the rest stays unread."),
    Setting("cache", True, _switch, "Take scores from earlier searches."),
    Setting("gate", None, _gate, "When gated stage 2 is skipped; secondpass worth-it --write fits the rule."),
    Setting("min-precision", None, _share, "Share of hits that must be relevant, e.g. 0.8; needs calibrate."),
    Setting("llm", "auto", _text, "Who writes answers: auto, none, local, endpoint or a .gguf file."),
    Setting(
        "llm-url", None, _text, "Base URL of an OpenAI-compatible server, e.g. http://localhost:11434/v1."
    ),
    Setting("llm-model", None, _text, "Name of the model there; needed where there are several."),
    Setting("llm-window", 4096, _whole(512), "Tokens of prompt and answer that the LLM can take."),
)


def load(
    flags: Mapping[str, object],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Return the settings of one command.

    Args:
        flags: values given on the command line, by field name; None means not given.
        environment: that of the process by default.
        folder: where to look for ``secondpass.toml`` from; the working directory by default.

    Raises:
        SettingsError: a value or a key is wrong; the message names where it stands.
    """
    environment = os.environ if environment is None else environment
    file = find_file(Path.cwd() if folder is None else folder)
    written = {} if file is None else _read_file(file)
    values: dict[str, Any] = {}
    given = set()
    for setting in KEYS:
        variable = environment.get(setting.variable, "").strip()
        if flags.get(setting.field) is not None:
            value = _checked(setting, flags[setting.field], True, f"--{setting.key}")
        elif variable:
            value = _checked(setting, variable, True, setting.variable)
        elif setting.key in written:
            value = _checked(setting, written[setting.key], False, f"{setting.key} in {file}")
            value = _beside_the_file(setting.key, value, file)
        else:
            values[setting.field] = _default(setting)
            continue
        values[setting.field] = value
        given.add(setting.field)
    values["index"] = Path(values["index"]).expanduser()
    values["gated"] = values["reranker"] == GATED
    if values["gated"]:
        values["reranker"] = _gated_reranker(values["gate"])
    return Settings(**values, given=frozenset(given))


def _gated_reranker(gate: Gate | None) -> str:
    if gate is None:
        raise SettingsError(
            "the re-ranker is 'gated', but no gate is set; fit one with: secondpass worth-it --write"
        )
    return gate.reranker


def find_file(folder: Path) -> Path | None:
    """Return the nearest ``secondpass.toml``, in the folder or one above it."""
    places = (place / FILE_NAME for place in (folder, *folder.parents))
    return next((place for place in places if place.is_file()), None)


def _default(setting: Setting) -> Any:
    return setting.default if setting.default is None else setting.read(setting.default, True)


def _checked(setting: Setting, value: object, is_text: bool, where: str) -> Any:
    try:
        return setting.read(value, is_text)
    except _WrongError as exc:
        raise SettingsError(f"{where} must be {exc}, got {value!r}") from exc


def _beside_the_file(key: str, value: Any, file: Path | None) -> Any:
    """A relative folder in the file is meant from the file, not from wherever the command runs."""
    if file is None or key not in ("index", "reranker", "embedder", "llm"):
        return value
    if key == "index" or value.startswith(("./", "../")):
        return str(file.parent / Path(value).expanduser())
    return value


def _read_file(file: Path) -> dict[str, Any]:
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"cannot read {file}: {exc}; mend it or move it away") from exc
    known = [setting.key for setting in KEYS]
    for key in written:
        if key not in known:
            near = difflib.get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise SettingsError(f"unknown key {key!r} in {file}; {hint}")
    return written
