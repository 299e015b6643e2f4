"""What clients of each dialect send to be re-ranked, and what tells the dialects of one path apart."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Document", "OneBody", "PlainBody", "TwoBody", "dialect_of", "plain_dialect_of"]

Document = str | dict[str, Any]
"""A text, or an object with a text in it."""
Count = Annotated[int, Field(ge=1, le=2**31)]

_VOYAGE = re.compile(r"rerank-(lite-)?\d+(\.\d+)?(-lite)?")
_COHERE = re.compile(r"rerank-(v\d|english-|multilingual-)")


class _Body(BaseModel):
    """Fields that nobody here knows are let pass, as clients send more with every release."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: Annotated[str | None, Field(description="A re-ranker of this server; see GET /v1/models.")] = None
    query: Annotated[str, Field(description="A question or a few words.")]


class TwoBody(_Body):
    """Cohere, v2."""

    documents: list[Document]
    top_n: Count | None = None
    max_tokens_per_doc: Count | None = None


class OneBody(_Body):
    """Cohere v1, Jina and Voyage, who share a path; see ``dialect_of``."""

    documents: list[Document]
    top_n: Count | None = None
    return_documents: bool | None = None
    rank_fields: Annotated[list[str] | None, Field(description="Cohere v1: read these of an object.")] = None
    max_chunks_per_doc: Annotated[Count | None, Field(description="Cohere v1; not needed here.")] = None
    max_tokens_per_doc: Annotated[Count | None, Field(description="Cohere: read so much of each.")] = None
    top_k: Annotated[Count | None, Field(description="Voyage: what others call top_n.")] = None
    truncation: Annotated[bool | None, Field(description="Voyage: false refuses what is too long.")] = None


class PlainBody(_Body):
    """TEI (``texts``) and infinity (``documents``)."""

    texts: Annotated[list[str] | None, Field(description="TEI.")] = None
    truncate: Annotated[bool | None, Field(description="TEI: false refuses what is too long.")] = None
    truncation_direction: Annotated[
        Literal["left", "right", "Left", "Right"] | None, Field(description="TEI: which end may be cut.")
    ] = None
    return_text: Annotated[bool, Field(description="TEI.")] = False
    documents: Annotated[list[Document] | None, Field(description="infinity.")] = None
    return_documents: Annotated[bool, Field(description="infinity.")] = False
    top_n: Annotated[Count | None, Field(description="infinity.")] = None
    raw_scores: Annotated[bool, Field(description="The re-ranker's own scores in place of 0..1.")] = False


def dialect_of(body: OneBody) -> Literal["voyage", "cohere", "jina"]:
    """Return whose client sent a body to ``/v1/rerank``, by the first of these that holds.

    1. ``top_k`` or ``truncation`` is there, or the model is called as Voyage's are (``rerank-2``): Voyage.
    2. ``rank_fields``, ``max_chunks_per_doc`` or ``max_tokens_per_doc`` is there, or the model is called as
       Cohere's are (``rerank-v3.5``, ``rerank-english-v3.0``): Cohere, version 1.
    3. Jina. Its answer holds all that Cohere's does, so that a client told apart wrongly is served as well.
    """
    sent, model = body.model_fields_set, body.model or ""
    if sent & {"top_k", "truncation"} or _VOYAGE.fullmatch(model):
        return "voyage"
    if sent & {"rank_fields", "max_chunks_per_doc", "max_tokens_per_doc"} or _COHERE.match(model):
        return "cohere"
    return "jina"


def plain_dialect_of(body: PlainBody) -> Literal["tei", "infinity"] | None:
    """Return whose client sent a body to ``/rerank``: TEI's sends ``texts``, infinity's ``documents``.

    None where both or neither are there.
    """
    if (body.texts is None) == (body.documents is None):
        return None
    return "infinity" if body.texts is None else "tei"
