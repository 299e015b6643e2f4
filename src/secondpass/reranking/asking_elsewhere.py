"""One JSON request over HTTP: sent again where that may help, and every failure told in one clear error."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any

from ..errors import MissingExtraError, RemoteError

__all__ = ["Call", "http_library", "post"]

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_MOST_BYTES = 32 * 2**20
"""Of a reply: a thousand scores take some 60 KB, and a reply without end must not fill the memory."""
_QUOTED = 300
"""Characters of a service's own words that an error repeats."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a service is asked.

    Attributes:
        name: of the re-ranker, for messages.
        url: the full address.
        key: goes into the header ``Authorization``; never shown, not even in ``repr``.
        key_variable: the environment variable to name where the key is refused.
        timeout, backoff, longest_wait: seconds, see ``RemoteReranker``.
        retries: how often it is asked again.
    """

    name: str
    url: str
    key: str | None = field(repr=False)
    key_variable: str
    timeout: float
    retries: int
    backoff: float
    longest_wait: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that gave nothing, and how long to wait before the next; None where another is of no use."""

    message: str
    status: int | None
    wait: float | None


def http_library() -> Any:
    """Return ``httpx``, or its successor ``httpx2``, which newer versions of huggingface-hub bring.

    Raises:
        MissingExtraError: neither is installed.
    """
    for name in ("httpx", "httpx2"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise MissingExtraError("httpx", "remote", "a remote re-ranker")


def post(client: Any, call: Call, body: Mapping[str, object]) -> Any:
    """Send a body, and return the JSON of the reply.

    Args:
        client: an ``httpx.Client``.
        call: where to and how often.
        body: what is sent as JSON.

    Raises:
        RemoteError: no usable reply came within the tries.
    """
    tries = call.retries + 1
    for number in range(tries):
        outcome = _once(client, call, body, number)
        if not isinstance(outcome, _Failure):
            return outcome[0]
        if outcome.wait is None or number + 1 == tries:
            after = f" ({number + 1} tries)" if number else ""
            raise RemoteError(f"{outcome.message}{after}", outcome.status)
        time.sleep(outcome.wait)
    raise AssertionError("a call is tried at least once")


def _once(client: Any, call: Call, body: Mapping[str, object], number: int) -> tuple[Any] | _Failure:
    httpx = http_library()
    # Half of the wait is chance: callers that failed together do not come back together.
    wait = call.backoff * 2**number * (0.5 + random.random() / 2)  # noqa: S311  no secret hangs on it
    headers = {"Authorization": f"Bearer {call.key}"} if call.key else {}
    try:
        with client.stream("POST", call.url, json=body, headers=headers) as reply:
            content = _read(reply)
            status, given = reply.status_code, reply.headers
    except httpx.TimeoutException:
        message = (
            f"{call.name} at {call.url} did not answer within {call.timeout:g} s; try later, or raise timeout"
        )
        return _Failure(message, None, wait)
    except httpx.InvalidURL as exc:
        return _Failure(f"{call.url} is no address ({exc})", None, None)
    except httpx.HTTPError as exc:
        why = _clean(str(exc) or type(exc).__name__, call)
        return _Failure(f"{call.name} at {call.url} cannot be reached: {why}; is it running?", None, wait)
    if content is None:
        return _Failure(
            f"{call.name} at {call.url} answered with more than {_MOST_BYTES} bytes", status, None
        )
    if status != 200:
        return _refused(call, status, content, given, wait)
    try:
        return (json.loads(content),)
    except (ValueError, RecursionError):
        start = _clean(content.decode("utf-8", "replace"), call)
        return _Failure(f"{call.name} at {call.url} answered with no JSON: {start!r}", status, None)


def _read(reply: Any) -> bytes | None:
    """Return the body, or None where it is longer than any honest one."""
    parts, size = [], 0
    for part in reply.iter_bytes():
        size += len(part)
        if size > _MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _refused(call: Call, status: int, content: bytes, headers: Mapping[str, str], wait: float) -> _Failure:
    said = _clean(_words(content), call)
    said = f": {said}" if said else ""
    where = f"{call.name} at {call.url}"
    if status in (401, 403):
        return _Failure(f"{where} refused the key ({status}){said}; see {call.key_variable}", status, None)
    if status == 404:
        return _Failure(f"{where} does not know this model or address (404){said}", status, None)
    if status == 429:
        message = f"{where} wants fewer requests (429){said}; wait, or ask for fewer candidates"
    elif status >= 500:
        message = f"{where} failed ({status}){said}; try later"
    else:
        message = f"{where} refused the request ({status}){said}"
    if status not in _AGAIN:
        return _Failure(message, status, None)
    asked = _retry_after(headers.get("retry-after"))
    if asked is not None and asked > call.longest_wait:
        return _Failure(f"{message}; it asks to wait {asked:.0f} s", status, None)
    return _Failure(message, status, wait if asked is None else asked)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` asks for, which is a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _words(content: bytes) -> str:
    """Return what a service says of its refusal, wherever it puts that."""
    text = content[:10_000].decode("utf-8", "replace")
    try:
        said: Any = json.loads(text)
    except ValueError:
        return text
    for name in ("message", "detail", "error"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else json.dumps(said)


def _clean(text: str, call: Call) -> str:
    """Return a service's words in one short printable line, without the key, should they repeat it."""
    if call.key:
        text = text.replace(call.key, "***")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _QUOTED else line[:_QUOTED] + "..."
