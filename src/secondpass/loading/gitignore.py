"""What git ignores inside a repository, rule for rule (gitignore(5)).

Written here because the library for this looks at whole paths, where directories that are
ignored and taken back (``*`` followed by ``!*/``) come out otherwise than with git; a walk that
goes from the top down asks about one name at a time, as git does.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import LoadError
from .decoding import read_bytes

__all__ = ["Rules", "is_repository", "rules_for"]

_LARGEST_RULE_FILE = 2**20
_POSIX_CLASSES = {
    b"alnum": rb"[0-9A-Za-z]",
    b"alpha": rb"[A-Za-z]",
    b"blank": rb"[ \t]",
    b"cntrl": rb"[\x00-\x1f\x7f]",
    b"digit": rb"[0-9]",
    b"graph": rb"[!-~]",
    b"lower": rb"[a-z]",
    b"print": rb"[ -~]",
    b"punct": rb"[!-/:-@\[-`{-~]",
    b"space": rb"[ \t\n\r\v\f]",
    b"upper": rb"[A-Z]",
    b"xdigit": rb"[0-9A-Fa-f]",
}


@dataclass(frozen=True, slots=True)
class _Rule:
    regex: re.Pattern[bytes]
    ignore: bool
    folders_only: bool
    whole_path: bool


@dataclass(frozen=True, slots=True)
class _RuleFile:
    folder: str
    rules: tuple[_Rule, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rule files in force in a folder of a repository, weakest first."""

    files: tuple[_RuleFile, ...] = ()

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Say whether git ignores this real path, given that it does not ignore the folder it is in."""
        name = os.fsencode(path.rpartition(os.sep)[2])
        for file in reversed(self.files):
            inner = os.fsencode(path[len(file.folder) :].replace(os.sep, "/").lstrip("/"))
            for rule in reversed(file.rules):
                if rule.folders_only and not is_folder:
                    continue
                if rule.regex.fullmatch(inner if rule.whole_path else name):
                    return rule.ignore
        return False

    def inside(self, folder: str) -> Rules:
        """Return the rules in force in a real folder just below: these and its own.

        The top of another repository starts anew.
        """
        before = _excludes(Path(folder)) if is_repository(folder) else self.files
        return Rules((*before, *_rule_file(folder, Path(folder, ".gitignore"))))


def is_repository(folder: str) -> bool:
    """Say whether a folder is the top of a git work tree."""
    return os.path.lexists(Path(folder, ".git"))


def rules_for(folder: str) -> Rules | None:
    """Return the rules in force in a real folder, or None outside a repository.

    A folder that is itself ignored was asked for all the same, so rules from above it do not count.
    """
    tops = (str(above) for above in (Path(folder), *Path(folder).parents) if is_repository(str(above)))
    top = next(tops, None)
    if top is None:
        return None
    rules = Rules().inside(top)
    current = Path(top)
    for name in Path(folder).relative_to(top).parts:
        current = current / name
        kept = Rules() if rules.ignores(str(current), is_folder=True) else rules
        rules = kept.inside(str(current))
    return rules


def _excludes(top: Path) -> tuple[_RuleFile, ...]:
    """Return the rules of ``info/exclude``; where ``.git`` is a file, those it leads to."""
    git = top / ".git"
    if git.is_file():
        git = top / os.fsdecode(_content(git).removeprefix(b"gitdir:").strip())
        git = git / os.fsdecode(_content(git / "commondir").strip())
    return _rule_file(str(top), git / "info" / "exclude")


def _rule_file(folder: str, path: Path) -> tuple[_RuleFile, ...]:
    lines = _content(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rules = tuple(rule for line in lines if (rule := _rule(line)) is not None)
    return (_RuleFile(folder, rules),) if rules else ()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, _LARGEST_RULE_FILE)
    except LoadError:
        return b""


def _rule(line: bytes) -> _Rule | None:
    pattern = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not pattern or pattern.startswith(b"#"):
        return None
    ignore = not pattern.startswith(b"!")
    pattern = pattern if ignore else pattern[1:]
    folders_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if folders_only else pattern
    whole_path = b"/" in pattern
    regex = _translate(pattern.removeprefix(b"/"))
    if regex is None:
        return None
    return _Rule(re.compile(regex, re.DOTALL), ignore, folders_only, whole_path)


def _without_trailing_spaces(line: bytes) -> bytes:
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if backslashes % 2 and kept != line else kept


def _translate(pattern: bytes) -> bytes | None:
    """Turn a glob into a regular expression over bytes; None for one that can match nothing."""
    parts: list[bytes] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            part, at = _stars(pattern, at)
        elif byte == b"[":
            bracket = _bracket(pattern, at)
            if bracket is None:
                return None
            part, at = bracket
        elif byte == b"\\":
            if at + 1 == len(pattern):
                return None
            part, at = re.escape(pattern[at + 1 : at + 2]), at + 2
        else:
            part, at = (b"[^/]" if byte == b"?" else re.escape(byte)), at + 1
        parts.append(part)
    return b"".join(parts)


def _stars(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Translate the stars from ``at``: two that fill a place between slashes also match slashes."""
    end = at
    while pattern[end : end + 1] == b"*":
        end += 1
    fills = pattern[at - 1 : at] in (b"", b"/") if at else True
    rest = pattern[end:]
    if end - at < 2 or not fills or not (rest == b"" or rest.startswith((b"/", b"\\/"))):
        return b"[^/]*", end
    if rest.startswith(b"/"):
        return b"(?:.*/)?", end + 1
    return b".*", end


def _bracket(pattern: bytes, start: int) -> tuple[bytes, int] | None:
    """Translate a bracket expression; None where it is not closed or names an unknown class."""
    at = start + 1
    negated = pattern[at : at + 1] in (b"!", b"^") and at < len(pattern)
    at += negated
    members: set[int] = set()
    first = True
    previous: int | None = None
    while first or pattern[at : at + 1] != b"]":
        first = False
        if at >= len(pattern):
            return None
        if pattern.startswith(b"[:", at) and (close := pattern.find(b"]", at + 2)) >= 0:
            name = pattern[at + 2 : close]
            if name.endswith(b":"):
                members_of = _POSIX_CLASSES.get(name[:-1])
                if members_of is None:
                    return None
                members.update(byte for byte in range(256) if re.match(members_of, bytes([byte])))
                at, previous = close + 1, None
                continue
        is_range = (
            previous is not None
            and pattern[at : at + 1] == b"-"
            and pattern[at + 1 : at + 2] not in (b"", b"]")
        )
        at += is_range
        at += pattern[at : at + 1] == b"\\"
        if at >= len(pattern):
            return None
        byte = pattern[at]
        members.update(range(previous, byte + 1) if is_range and previous is not None else (byte,))
        previous = None if is_range else byte
        at += 1
    members = (set(range(256)) - members if negated else members) - {ord("/")}
    if not members:
        return b"(?!)", at + 1
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(members)) + b"]", at + 1
