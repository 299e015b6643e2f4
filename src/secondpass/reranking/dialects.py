"""The re-rank services that can be asked: where they are, what they want, and how they reply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

__all__ = ["DIALECTS", "Dialect", "scores_of"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of service is asked.

    Attributes:
        name: what stands before the colon in ``cohere:rerank-v3.5``.
        base_url: of the service; None for one that people run themselves.
        path: of the re-ranking call.
        keys: environment variables that may hold the key, in the order they are tried.
        texts: what the field with the passages is called.
        extra: fields that are always sent.
        hits: the field of the reply with the scores; None where the reply is the bare list.
        score: what the field with the score is called.
        batch: most passages in one request. Cohere and Voyage refuse more than 1,000, TEI by default more
            than 32 (``--max-client-batch-size``); for the others it keeps a request small.
        key_needed: whether the service never answers without a key.
        raw: whether it is asked for raw logits; else scores are the service's own, in 0..1.
    """

    name: str
    base_url: str | None
    path: str
    keys: tuple[str, ...]
    texts: str = "documents"
    extra: tuple[tuple[str, object], ...] = ()
    hits: str | None = "results"
    score: str = "relevance_score"
    batch: int = 500
    key_needed: bool = False
    raw: bool = False

    @property
    def url_variable(self) -> str:
        """The environment variable that may hold another base URL."""
        return f"SECONDPASS_{self.name.upper()}_URL"

    def url(self, base_url: str | None) -> str:
        """Return the full address: from an argument, the environment, or the service's own.

        Raises:
            InputError: none is known, or it is no http address.
        """
        base = base_url or os.environ.get(self.url_variable, "").strip() or self.base_url
        if base is None:
            raise InputError(
                f"{self.name} has no address of its own; give base_url, or set {self.url_variable}, "
                "e.g. http://127.0.0.1:8080"
            )
        if not isinstance(base, str) or not base.startswith(("http://", "https://")) or "@" in base:
            raise InputError(
                f"the address of {self.name} must begin with http:// or https:// and hold no password"
            )
        base = base.rstrip("/")
        return base if base.endswith(self.path) else base + self.path

    def key(self, given: str | None) -> str | None:
        """Return the key: an argument or the first variable that is set; None where none is needed.

        Raises:
            InputError: a key is needed and absent, or holds characters that no header can carry.
        """
        key = given or next(
            (value for name in self.keys if (value := os.environ.get(name, "").strip())), None
        )
        if key is None and self.key_needed:
            raise InputError(f"{self.name} wants a key; set {self.keys[0]}")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InputError(f"the key for {self.name} holds characters that no key has; see {self.keys[0]}")
        return key

    def body(self, model: str, query: str, passages: Sequence[str]) -> dict[str, object]:
        """Return what is sent."""
        named = {} if self.name == "tei" else {"model": model}
        return {**named, "query": query, self.texts: list(passages), **dict(self.extra)}


DIALECTS: Mapping[str, Dialect] = {
    each.name: each
    for each in (
        Dialect(
            "cohere",
            "https://api.cohere.com",
            "/v2/rerank",
            ("COHERE_API_KEY", "CO_API_KEY"),
            key_needed=True,
        ),
        Dialect(
            "jina",
            "https://api.jina.ai",
            "/v1/rerank",
            ("JINA_API_KEY",),
            extra=(("return_documents", False),),
            key_needed=True,
        ),
        Dialect(
            "voyage",
            "https://api.voyageai.com",
            "/v1/rerank",
            ("VOYAGE_API_KEY",),
            extra=(("truncation", True),),
            hits="data",
            key_needed=True,
        ),
        Dialect(
            "tei",
            None,
            "/rerank",
            ("TEI_API_KEY",),
            texts="texts",
            extra=(("raw_scores", True), ("truncate", True)),
            hits=None,
            score="score",
            batch=32,
            raw=True,
        ),
        Dialect(
            "infinity",
            None,
            "/rerank",
            ("INFINITY_API_KEY",),
            extra=(("return_documents", False), ("raw_scores", True)),
            batch=32,
            raw=True,
        ),
    )
}
"""By name."""


def scores_of(dialect: Dialect, reply: Any, count: int) -> list[float]:
    """Return the scores of a reply in input order.

    Raises:
        ValueError: the reply has another shape; the message says what is wrong with it.
    """
    hits = reply
    if dialect.hits is not None:
        hits = reply.get(dialect.hits) if isinstance(reply, dict) else None
    if not isinstance(hits, list):
        raise ValueError(f"no list {dialect.hits or ''}".strip())
    scores: dict[int, float] = {}
    for hit in hits:
        place, score = (hit.get("index"), hit.get(dialect.score)) if isinstance(hit, dict) else (None, None)
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count or place in scores:
            raise ValueError(f"index {place!r} for {count} passages")
        if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) < 1e38:
            raise ValueError(f"{dialect.score} {score!r} at index {place}")
        scores[place] = float(score)
    if len(scores) != count:
        raise ValueError(f"{len(scores)} scores for {count} passages")
    return [scores[place] for place in range(count)]
