"""``POST /v1/embeddings``: vectors of texts, in OpenAI's shape."""

from __future__ import annotations

import base64
import threading
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ... import models
from ...catalogue import EMBEDDER
from ...embedding import MAX_CHARACTERS, load_embedder
from ...errors import IndexMissingError, ModelNotFoundError
from ...tokenizing import clean, load_tokenizer
from ...types import Embedder
from .errors import ApiError, JsonAnswer
from .holder import Holder
from .replies import refusals
from .settings import ServerSettings
from .state import State

__all__ = ["router"]

_SECONDS = 300.0
"""For opening a model, which may have to be converted."""


class EmbeddingsBody(BaseModel):
    """What to embed. Fields that nobody here knows are let pass, as clients send more with every release."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[
        str | list[str], Field(description="A text or several; of a long one the model's window is read.")
    ]
    model: Annotated[
        str | None, Field(description="An embedder of this machine; without one, that of the index.")
    ] = None
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description="base64 is of little-endian float32.")
    ] = "float"
    dimensions: Annotated[int | None, Field(ge=1, le=2**31, description="The model's own, or none.")] = None
    input_type: Annotated[Literal["query", "document"], Field(description="What the texts are.")] = "document"


class Embedding(BaseModel):
    """The vector of one text, of unit length."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """OpenAI's list."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def router(state: State) -> APIRouter:
    """Return the route."""
    embedders = _Embedders(state.settings, state.parts["index"])
    routes = APIRouter(tags=["embeddings"])

    @routes.post(
        "/v1/embeddings",
        summary="Turn texts into vectors (OpenAI)",
        responses={200: {"model": EmbeddingsAnswer}, **refusals(404)},
    )
    async def embed(body: EmbeddingsBody) -> JsonAnswer:
        texts = _texts(state.settings, body)
        name = embedders.name_of(body.model)
        embedder = await state.work.run(embedders.get, name, seconds=_SECONDS)
        return JsonAnswer(await state.work.run(partial(_answer, embedder, texts, body)))

    return routes


class _Embedders:
    """The embedders of this machine by name, opened once; nothing is fetched, and a path is never taken."""

    def __init__(self, settings: ServerSettings, holder: Holder) -> None:
        self._settings = settings
        self._holder = holder
        self._lock = threading.Lock()
        self._open: dict[str, Embedder] = {}

    def name_of(self, asked: str | None) -> str | None:
        """Return which embedder a request means, None for that of the index, as is a name of nobody's."""
        if asked is None or not asked.strip():
            return None
        if models.is_name_of(asked, EMBEDDER):
            return EMBEDDER
        known = next((each for each in models.known_models() if each.answers_to(asked)), None)
        if self._settings.any_model:
            here = {folder.name for folder in models.installed("embedder")}
            if asked in here:
                return asked
            if known is not None and known.name in here:
                return known.name
        if known is not None or not self._settings.aliases:
            raise ApiError(404, "model_not_found", "that model embeds nothing here; leave model out")
        return None

    def get(self, name: str | None) -> Embedder:
        """Return an embedder, opened; for None that of the index, or our own where there is no index."""
        if name is None and self._settings.index is not None:
            try:
                with self._holder.lent() as opened:
                    return opened.index.embedder
            except IndexMissingError:  # whoever makes one will make it with our own
                pass
        name = name or EMBEDDER
        with self._lock:
            if name not in self._open:
                try:
                    self._open[name] = load_embedder(name, precision=self._settings.precision)
                except ModelNotFoundError as exc:
                    raise ApiError(404, "model_not_found", "that model is not on this machine") from exc
            return self._open[name]


def _texts(settings: ServerSettings, body: EmbeddingsBody) -> list[str]:
    limits = settings.limits
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts:
        raise ApiError(422, "input_empty", "input is an empty list; send a text or several")
    if len(texts) > limits.documents:
        raise ApiError(422, "too_many_texts", f"input may have {limits.documents} texts here")
    for place, text in enumerate(texts):
        if len(text) > limits.text_characters:
            message = f"input[{place}] has {len(text):,} characters, {limits.text_characters:,} are allowed"
            raise ApiError(422, "text_too_long", message)
        if not text.strip():
            raise ApiError(422, "input_empty", f"input[{place}] is empty; leave it out")
    return texts


def _answer(embedder: Embedder, texts: list[str], body: EmbeddingsBody) -> dict[str, Any]:
    if body.dimensions not in (None, embedder.dimension):
        message = f"{_shown(embedder)} has {embedder.dimension} dimensions; ask for these, or leave it out"
        raise ApiError(422, "dimensions_unsupported", message)
    embed = embedder.embed_queries if body.input_type == "query" else embedder.embed_passages
    vectors = embed(texts)
    tokens = _tokens(embedder.name, texts)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": place,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
                if body.encoding_format == "base64"
                else row.tolist(),
            }
            for place, row in enumerate(vectors)
        ],
        "model": _shown(embedder),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _shown(embedder: Embedder) -> str:
    """Return the name of an embedder; where that is a folder, not where it lies."""
    return Path(embedder.name).name if Path(embedder.name).is_absolute() else embedder.name


def _tokens(name: str, texts: list[str]) -> int:
    """Return how many tokens the texts have, special ones left out."""
    tokenizer = load_tokenizer(models.resolve(name, "embedder"))
    read = [clean(text[:MAX_CHARACTERS]) for text in texts]
    return sum(len(each.ids) for each in tokenizer.encode_batch_fast(read, add_special_tokens=False))
