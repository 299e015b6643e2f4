"""One large file over HTTP: resumed where it broke off, checked against its sha256, never endless."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ModelError, ModelInvalidError

__all__ = ["Progress", "Stalled", "check_content", "fetch", "git_sha1"]

Progress = Callable[[int, int], None]
"""Takes the bytes that are here and the bytes that there will be."""

TRIES = 4
"""How often a broken connection is taken up again without one new byte in between."""
PAUSE = 0.5
"""Seconds before the second try; twice as long before each further one."""
LEAST_SPEED, PATIENCE = 1024, 60.0
"""Bytes a second, over so many seconds: what is slower than that has stalled."""
_PIECE = 2**20


class Stalled(ModelError):  # noqa: N818  named as what happened
    """The connection broke off again and again, or hardly moved."""


def fetch(
    open_stream: Callable[[int], contextlib.AbstractContextManager[Any]],
    target: Path,
    size: int,
    sha256: str,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a file to ``target``, whole and checked, or not at all.

    What had arrived stays beside the target as ``.part`` when the connection breaks off or the process ends;
    the next call goes on from there.

    Args:
        open_stream: asks for the file from this byte on; gives a response with ``status_code`` (200: all of
            it, 206: from that byte on) and ``iter_bytes``. May raise ``OSError``-like network errors, which
            are tried again, and ``ModelError``, which are not.
        target: where the file goes; there when this returns.
        size: its bytes.
        sha256: of its content.
        progress: called with the bytes that are here.

    Raises:
        ModelInvalidError: its content has another sha256; what was fetched is deleted.
        Stalled: no byte came in ``TRIES`` tries, or too few in a minute.
        ModelError: the file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    with _locked(part):
        if target.exists():
            return
        with _writing(part), part.open("r+b" if part.exists() else "w+b") as stream:
            stream.seek(0, os.SEEK_END)
            if stream.tell() > size:  # another file's leavings
                stream.truncate(stream.seek(0))
            _fill(open_stream, stream, size, progress)
        try:
            check_content(part, sha256)
        except ModelInvalidError:
            part.unlink()
            raise
        part.replace(target)


def check_content(file: Path, checksum: str, name: str = "") -> None:
    """Compare a file with its sha256 (64 digits), or with the sha1 that git gives its content (40 digits).

    Raises:
        ModelInvalidError: it is another.
    """
    actual = git_sha1(file) if len(checksum) == 40 else _sha256(file)
    if actual != checksum.lower():
        kind = "git sha1" if len(checksum) == 40 else "sha256"
        raise ModelInvalidError(
            f"{name or file.name} did not arrive as the hub describes it: its {kind} is {actual[:16]}..., "
            f"expected {checksum[:16]}...; it was not kept. Try again; if it stays so, something on the way "
            "is changing it"
        )


def git_sha1(file: Path) -> str:
    """Return the sha1 by which git, and the hub, name a small file's content."""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fill(
    open_stream: Callable[[int], contextlib.AbstractContextManager[Any]],
    stream: BinaryIO,
    size: int,
    progress: Callable[[int], None] | None,
) -> None:
    tries, pause, broke = TRIES, PAUSE, "it ended early"
    while (have := stream.tell()) < size:
        if progress is not None:
            progress(have)
        try:
            with open_stream(have) as response:
                if response.status_code == 200 and have:  # the server does not know ranges
                    stream.truncate(stream.seek(0))
                _copy(response, stream, size, progress)
        except ModelError:
            raise
        except Exception as exc:  # the client's own types vary by version
            if isinstance(exc, OSError) and exc.errno is not None and not isinstance(exc, ConnectionError):
                raise
            broke = " ".join(str(exc).split())[:200] or type(exc).__name__
        if stream.tell() >= size:
            break
        tries, pause = (TRIES, PAUSE) if stream.tell() > have else (tries - 1, pause * 2)
        if tries <= 0:
            raise Stalled(
                f"the download broke off at {stream.tell():,} of {size:,} bytes and could not be taken up "
                f"again ({broke}); what is here is kept: run it again to go on from there"
            )
        time.sleep(pause)
    if stream.tell() > size:
        stream.truncate(stream.seek(0))
        raise ModelInvalidError(f"more than the {size:,} bytes came that the hub announced; nothing was kept")


def _copy(response: Any, stream: BinaryIO, size: int, progress: Callable[[int], None] | None) -> None:
    begin, at_begin = time.monotonic(), stream.tell()
    for piece in response.iter_bytes():
        stream.write(piece)
        if progress is not None:
            progress(stream.tell())
        if stream.tell() > size:
            return
        if time.monotonic() - begin > PATIENCE:
            if stream.tell() - at_begin < LEAST_SPEED * PATIENCE:
                raise Stalled(
                    f"under {LEAST_SPEED} bytes a second arrived for {PATIENCE:.0f} seconds; what is here is "
                    "kept: run it again to go on from there"
                )
            begin, at_begin = time.monotonic(), stream.tell()


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[None]:
    from filelock import FileLock

    with _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        yield


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno is None or isinstance(exc, ConnectionError):
            raise
        raise ModelError(
            f"cannot write {part}: {exc.strerror}; free space, or set HF_HOME to another folder"
        ) from exc
