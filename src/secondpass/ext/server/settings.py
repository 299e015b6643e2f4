"""What a server serves, to whom, and how much of it: frozen values, checked when they are made."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields
from pathlib import Path

from ...arguments import checked_precision, checked_stage1
from ...errors import SettingsError
from ...gating import Gate

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "Limits", "ServerSettings", "is_loopback"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
_LEAST_KEY = 16
"""Characters of an API key; shorter ones can be guessed over the network."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for, and all of them together.

    Attributes:
        body_bytes: of a request's body, also where it does not say its length.
        upload_bytes: of the body of ``POST /v1/documents``.
        bodies_bytes: of all bodies that are held at once.
        documents: texts in one re-rank or embedding request.
        text_characters: of one text.
        query_characters: of a query.
        candidates: that one search may ask for.
        requests: that are taken at once; more are answered 429.
        queue: pieces of work that wait for a worker; more are answered 429.
        pairs: query-passage pairs that wait to be scored; more are answered 429.
        seconds: from the first byte of a request to its answer.
        shutdown_seconds: that requests in flight get to finish when the server stops.
    """

    body_bytes: int = 8 * 2**20
    upload_bytes: int = 64 * 2**20
    bodies_bytes: int = 256 * 2**20
    documents: int = 1000
    text_characters: int = 200_000
    query_characters: int = 20_000
    candidates: int = 1000
    requests: int = 128
    queue: int = 128
    pairs: int = 20_000
    seconds: float = 60.0
    shutdown_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
                raise SettingsError(f"the limit {each.name} must be a number above 0, got {value!r}")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server needs to know.

    Attributes:
        index: folder of the index; None serves re-ranking alone.
        reranker: stage 2 where a request names none: ``auto``, ``none``, a name or a folder.
        rerankers: further re-rankers that a request may name; with ``any_model`` also every one that is on
            this machine. None is fetched from the network.
        aliases: accept names that are no model of ours (``rerank-v3.5``) and take ``reranker`` for them.
        any_model: whether a request may name any model that is on this machine.
        candidates, stage1, precision: as for ``secondpass search``.
        gate: asked first where a request wants the re-ranker ``gated``; that re-ranker is the gate's.
        gated: whether requests that name no re-ranker want it.
        min_precision: share of hits that must be relevant, above 0 and at most 1, where a request says
            nothing else; the index must be calibrated.
        cache: whether searches keep the scores that the re-ranker gave beside the index.
        host, port: where it listens; needed for checks of the Host header and of the key.
        api_key: that every request must bring; None asks for none.
        insecure: says that another address than loopback may be served without a key.
        allowed_folders: below which paths may be indexed over HTTP.
        allowed_hosts: further names under which the server may be addressed.
        cors_origins: web pages of other origins that may use it, e.g. ``https://example.org``.
        judgments: folder where judgments are kept; None keeps them beside the index, in ``judgments``.
        llm, llm_url, llm_model, llm_window: who writes answers, see ``answering.load_llm``; ``auto``
            quotes where there is no URL.
        workers: threads that work; None takes one for each usable core.
        batch_ms: how long a small request waits at most for others to share its micro-batch.
        limits: see ``Limits``.
    """

    index: Path | None = None
    reranker: str = "auto"
    rerankers: tuple[str, ...] = ()
    aliases: bool = True
    any_model: bool = True
    candidates: int = 20
    stage1: str = "dense"
    precision: str = "int8"
    gate: Gate | None = None
    gated: bool = False
    min_precision: float | None = None
    cache: bool = True
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    api_key: str | None = field(default=None, repr=False)
    insecure: bool = False
    allowed_folders: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    judgments: Path | None = None
    llm: str = "auto"
    llm_url: str | None = None
    llm_model: str | None = None
    llm_window: int = 4096
    workers: int | None = None
    batch_ms: float = 2.0
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse what cannot be served with.

        Raises:
            SettingsError: a key that can be guessed, or none where there must be one.
            InputError: a way to search or a precision that does not exist.
        """
        checked_stage1(self.stage1)
        checked_precision(self.precision)
        self._check_decisions()
        if self.api_key is not None:
            _check_key(self.api_key)
        elif not is_loopback(self.host) and not self.insecure:
            raise SettingsError(
                f"{self.host} can be reached from other machines, and no API key is set; give --api-key FILE "
                "or SECONDPASS_API_KEY, or say --insecure if everyone there may use it"
            )
        for folder in self.allowed_folders:
            if not folder.is_dir():
                raise SettingsError(f"the folder {folder} that documents may come from is not there")
        if not 0 <= self.batch_ms <= 1000:
            raise SettingsError(f"batch_ms must be 0 to 1000 milliseconds, got {self.batch_ms}")
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"workers must be at least 1, got {self.workers}")

    def _check_decisions(self) -> None:
        if self.gated and self.gate is None:
            raise SettingsError("no gate is set; fit one with: secondpass worth-it --write")
        if self.gated and self.gate is not None and self.gate.stage1 != self.stage1:
            raise SettingsError(
                f"the gate was fitted on {self.gate.stage1} scores, stage 1 is {self.stage1}; search "
                f"{self.gate.stage1}, or fit the gate again: secondpass worth-it --write"
            )
        if self.min_precision is not None and not 0 < self.min_precision <= 1:
            raise SettingsError(f"min_precision must be above 0 and at most 1, got {self.min_precision}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_key(key: str) -> None:
    if len(key) < _LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            f"an API key is at least {_LEAST_KEY} printable ASCII characters without spaces; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
