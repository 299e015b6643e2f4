"""What each tool takes; the JSON schema that a host shows to a language model comes from here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Arguments", "CompareArguments", "ListArguments", "ReadArguments", "SearchArguments"]

MOST_HITS = 50
MOST_CANDIDATES = 500
"""Enough for any answer; a model that asks for all passages is told to ask for less."""

Query = Annotated[
    str, Field(description="A question in natural language, or a few words.", min_length=1, max_length=10_000)
]
K = Annotated[
    int | None,
    Field(
        description="How many passages to return; the server's own number if left out.", ge=1, le=MOST_HITS
    ),
]
Candidates = Annotated[
    int | None,
    Field(
        description="How many passages the first stage hands to the re-ranker; more is slower.",
        ge=1,
        le=MOST_CANDIDATES,
    ),
]
Stage1 = Annotated[
    Literal["dense", "lexical", "hybrid"] | None,
    Field(
        description="How the first stage searches: dense (meaning), lexical (words: names, codes), hybrid."
    ),
]
Where = Annotated[
    dict[str, str | int | float | bool] | None,
    Field(
        description='Only passages of documents whose metadata has these values, e.g. {"extension": ".md"}.',
        max_length=20,
    ),
]


class Arguments(BaseModel):
    """The arguments of a tool; one that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class SearchArguments(Arguments):
    """Those of ``search``."""

    query: Query
    k: K = None
    candidates: Candidates = None
    stage1: Stage1 = None
    reranker: Annotated[
        str | None, Field(description="What re-ranks; 'none' takes the first stage's order.", max_length=500)
    ] = None
    where: Where = None


class CompareArguments(Arguments):
    """Those of ``compare``."""

    query: Query
    rerankers: Annotated[
        list[str] | None, Field(description="What re-ranks, one list for each.", min_length=1, max_length=5)
    ] = None
    k: K = None
    candidates: Candidates = None
    stage1: Stage1 = None
    where: Where = None


class ReadArguments(Arguments):
    """Those of ``read_passage``."""

    passage_id: Annotated[str, Field(description="The id of a passage, as search gave it.", max_length=200)]
    context: Annotated[
        int, Field(description="Characters of the document to add on either side.", ge=0, le=20_000)
    ] = 1000


class ListArguments(Arguments):
    """Those of ``list_documents``."""

    contains: Annotated[
        str, Field(description="Only documents whose path or name holds this text.", max_length=1000)
    ] = ""
    after: Annotated[
        str | None,
        Field(description="Go on behind this document: next_after of the page before.", max_length=10_000),
    ] = None
    limit: Annotated[int, Field(description="Most documents to return.", ge=1, le=500)] = 100
