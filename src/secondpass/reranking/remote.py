"""``RemoteReranker``: lets a service elsewhere score passages. The query and the passages leave this machine.

Nothing here is used unless it is asked for: by making one of these, or by a name such as
``cohere:rerank-v3.5`` together with ``remote=True`` or ``SECONDPASS_REMOTE=1``.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..arguments import checked_count
from ..errors import InputError, RemoteError
from ..tokenizing import checked_query, checked_texts
from .asking_elsewhere import Call, http_library, post
from .dialects import DIALECTS, Dialect, scores_of

if TYPE_CHECKING:
    from ..types import Floats

__all__ = ["OPT_IN", "RemoteReranker", "check_opted_in", "is_remote"]

OPT_IN = "SECONDPASS_REMOTE"
"""The environment variable that allows remote re-rankers by name."""

_REQUEST_CHARACTERS = 1_000_000
"""Of passages in one request, so that no request grows beyond what services and proxies take."""


def is_remote(name: object) -> bool:
    """Whether a name means a service: one of ours before a colon, and something behind it."""
    provider, colon, model = name.partition(":") if isinstance(name, str) else ("", "", "")
    return bool(colon and model.strip()) and provider.strip().lower() in DIALECTS


def check_opted_in(name: str, remote: bool) -> None:
    """Refuse a service unless somebody said that text may leave this machine.

    Raises:
        InputError: nobody did.
    """
    if remote or os.environ.get(OPT_IN, "").strip().lower() in ("1", "true", "yes", "on"):
        return
    raise InputError(
        f"{name} is a service on another machine: the query and every candidate would be sent to it. "
        f"If that is meant, set {OPT_IN}=1 (in Python: remote=True)"
    )


class RemoteReranker:
    """A re-ranker behind an address: Cohere, Jina, Voyage, or your own TEI or infinity server.

    The query and the passages are sent to it. Its scores are kept in memory only and never beyond this
    object, since nobody here knows when the service changes its model. From Cohere, Jina and Voyage a score
    is the service's own relevance, in 0..1, and no probability is derived from it; TEI and infinity are asked
    for raw logits, which do not run together near 1. Safe to use from several threads.

    Args:
        name: ``cohere:rerank-v3.5``, ``jina:MODEL``, ``voyage:MODEL``, ``tei:LABEL`` or ``infinity:MODEL``.
        base_url: where the service is; else from ``SECONDPASS_COHERE_URL`` and its like, else its own.
        api_key: else from ``COHERE_API_KEY``, ``JINA_API_KEY``, ``VOYAGE_API_KEY``, ``TEI_API_KEY`` or
            ``INFINITY_API_KEY``. It is never shown.
        timeout: seconds that connecting, and each wait for bytes, may take.
        retries: how often a request is sent again after a refused connection, a timeout, 408, 429 or 5xx.
        backoff: seconds before the first repetition, doubled each time; a ``Retry-After`` counts instead.
        longest_wait: seconds; a service that asks for more is given up at once.
        batch: most passages in one request; by default what the service takes.
        max_characters: of a passage; what lies behind is not sent.

    Raises:
        InputError: an unknown service, no key, no address, or a number out of range.
    """

    logits = False

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.5,
        longest_wait: float = 60.0,
        batch: int | None = None,
        max_characters: int = 32_000,
    ) -> None:
        self._dialect, self._model = _parsed(name)
        self.name = f"{self._dialect.name}:{self._model}"
        self.url = self._dialect.url(base_url)
        self._call = Call(
            name=self.name,
            url=self.url,
            key=self._dialect.key(api_key),
            key_variable=self._dialect.keys[0],
            timeout=_seconds("timeout", timeout),
            retries=checked_count("retries + 1", retries + 1) - 1,
            backoff=_seconds("backoff", backoff),
            longest_wait=_seconds("longest_wait", longest_wait),
        )
        self._batch = checked_count("batch", self._dialect.batch if batch is None else batch)
        self._max_characters = checked_count("max_characters", max_characters)
        self._client: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RemoteReranker({self.name!r}, url={self.url!r})"

    def score(self, query: str, passages: Sequence[str]) -> Floats:
        """Return the service's scores ``(n,)`` float32 in input order.

        Raises:
            QueryError: the query is empty or too long.
            InputError: ``passages`` is not a list of strings.
            RemoteError: no usable answer came, see its ``status``.
        """
        import numpy as np

        query = checked_query(query)
        texts = [text[: self._max_characters] for text in checked_texts(passages, "passages")]
        scores: list[float] = []
        for part in _batches(texts, self._batch):
            reply = post(self._opened(), self._call, self._dialect.body(self._model, query, part))
            try:
                scores += scores_of(self._dialect, reply, len(part))
            except ValueError as exc:
                raise RemoteError(
                    f"{self.name} at {self.url} answered, but not as a {self._dialect.name} re-ranker does "
                    f"({exc}); is it the right address?",
                    200,
                ) from exc
        return np.array(scores, dtype=np.float32)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> RemoteReranker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = http_library().Client(timeout=self._call.timeout, follow_redirects=False)
                weakref.finalize(self, self._client.close)
            return self._client


def _parsed(name: str) -> tuple[Dialect, str]:
    if not is_remote(name):
        raise InputError(
            f"a remote re-ranker is called SERVICE:MODEL with one of {', '.join(DIALECTS)}, got {name!r}; "
            "e.g. cohere:rerank-v3.5"
        )
    provider, _, model = name.partition(":")
    return DIALECTS[provider.strip().lower()], model.strip()


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 86_400:
        raise InputError(f"{name} must be a number of seconds from 0 to a day, got {value!r}")
    return float(value)


def _batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) >= most or characters + len(text) > _REQUEST_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part
