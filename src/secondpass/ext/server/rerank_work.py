"""From a re-rank request of any dialect to a ranking: checks, texts, scores in 0..1, best first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ... import models
from ...ranking import rank, sigmoid
from ...tokenizing import load_tokenizer
from ...types import Reading, Reranker
from .errors import ApiError
from .rerank_bodies import Document
from .settings import Limits
from .state import State

__all__ = ["Asked", "Ranked", "RankedHit", "check_lengths", "reranked", "texts_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants, whatever its dialect.

    Attributes:
        texts: to be ranked.
        model: a name, or None for the server's own choice.
        top: how many come back; None for all.
        raw: the re-ranker's own scores.
        whole: refuse a text that cannot be read whole.
        max_tokens: of a text that are read; None for what the re-ranker reads.
        client: who asks.
    """

    query: str
    texts: Sequence[str]
    model: str | None
    top: int | None
    client: str
    raw: bool = False
    whole: bool = False
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RankedHit:
    """A text's place: its index in the request, its score, and whether it was too long to be read whole."""

    index: int
    score: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranking, best first; ``tokens`` are those of the texts that were read, 0 where nothing tells."""

    hits: tuple[RankedHit, ...]
    model: str
    tokens: int


def check_lengths(limits: Limits, query: str, texts: Sequence[str], what: str = "documents") -> None:
    """Refuse what is empty or too much.

    Raises:
        ApiError: 422, or 413 for texts that are too many or too long.
    """
    if not query.strip():
        raise ApiError(422, "query_empty", "the query is empty; ask for something")
    if len(query) > limits.query_characters:
        raise ApiError(422, "query_too_long", f"a query has at most {limits.query_characters:,} characters")
    if not texts:
        raise ApiError(422, "documents_empty", f"{what} is empty; there is nothing to rank")
    if len(texts) > limits.documents:
        raise ApiError(
            413, "too_many_documents", f"{what} holds at most {limits.documents:,} texts a request"
        )
    for place, text in enumerate(texts):
        if len(text) > limits.text_characters:
            raise ApiError(
                413,
                "document_too_long",
                f"{what}[{place}] has more than {limits.text_characters:,} characters; cut it into several",
            )


def texts_of(documents: Sequence[Document], fields: Sequence[str] | None = None) -> list[str]:
    """Return the text of each document: its own, its ``text``, or the fields named, one a line.

    Raises:
        ApiError: an object has none of them.
    """
    texts = []
    for place, document in enumerate(documents):
        if isinstance(document, str):
            texts.append(document)
            continue
        values = [document[name] for name in fields or ("text",) if name in document]
        if not values or not all(isinstance(each, str | int | float) for each in values):
            wanted = ", ".join(fields or ("text",))
            raise ApiError(
                422, "document_without_text", f"documents[{place}] has no text under: {wanted}"[:300]
            )
        texts.append("\n".join(map(str, values)))
    return texts


async def reranked(state: State, asked: Asked) -> Ranked:
    """Return the ranking of a request.

    Raises:
        ApiError: it asks for too much, or there is too much to do.
        SecondpassError: the re-ranker refuses it.
    """
    limits = state.settings.limits
    check_lengths(limits, asked.query, asked.texts)
    reranker = await state.rerankers.get(asked.model)
    texts, cut = asked.texts, frozenset[int]()
    if asked.max_tokens is not None and any(len(text) > asked.max_tokens for text in texts):
        texts, cut = await state.work.run(_cut, state.rerankers.name_of(asked.model), texts, asked.max_tokens)
    try:
        async with asyncio.timeout(limits.seconds):
            given = await state.batcher.score(reranker, asked.query, texts, asked.client)
    except TimeoutError as exc:
        raise ApiError(
            504, "too_slow", f"not scored within {limits.seconds:g} s; send fewer texts", 1
        ) from exc
    return _ranked(asked, reranker, given, cut)


def _ranked(
    asked: Asked, reranker: Reranker, given: Sequence[Reading | float], cut: frozenset[int]
) -> Ranked:
    readings = [each for each in given if isinstance(each, Reading)]
    short = {
        place
        for place, each in enumerate(given)
        if isinstance(each, Reading) and each.tokens_seen < each.tokens_total
    }
    if asked.whole and short | cut:
        raise ApiError(
            413,
            "document_too_long",
            f"document {min(short | cut)} is longer than the model reads; cut it, or allow truncation",
        )
    order = rank(
        (place, each.score if isinstance(each, Reading) else each) for place, each in enumerate(given)
    )
    hits = [
        RankedHit(place, score if asked.raw else sigmoid(score), place in short or place in cut)
        for place, score in order[: asked.top]
    ]
    return Ranked(tuple(hits), reranker.name, sum(each.tokens_seen for each in readings))


def _cut(name: str, texts: Sequence[str], most: int) -> tuple[list[str], frozenset[int]]:
    """Return the texts without what follows their first ``most`` tokens, and the places of those cut."""
    tokenizer = load_tokenizer(models.resolve(name, "reranker"))
    kept, cut = [], set()
    for place, text in enumerate(texts):
        if len(text) > most:  # a token has at least one character
            offsets = tokenizer.encode(text, add_special_tokens=False).offsets
            if len(offsets) > most:
                text = text[: offsets[most - 1][1]]
                cut.add(place)
        kept.append(text)
    return kept, frozenset(cut)
