"""An LLM behind any endpoint that speaks OpenAI's chat completions: Ollama, llama.cpp, vLLM, a cloud."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..arguments import checked_count
from ..errors import InputError, LlmError, MissingExtraError
from .replies import Reply
from .values import Message, Usage

__all__ = ["KEY_VARIABLE", "Endpoint"]

KEY_VARIABLE = "SECONDPASS_LLM_KEY"
"""Holds the key; never read from a settings file, which is easily shared."""
OPENAI_HOST = "api.openai.com"
"""The one host that ``OPENAI_API_KEY`` is sent to."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 120.0
"""Of silence, not of the whole answer: a large model on a slow machine reads long before its first word."""
RETRIES = 1
"""Of a request that was refused for want of room (429, 5xx) or whose connection failed."""
NAMES_SHOWN = 8
"""Of the models that a server offers, in an error."""


class Endpoint:
    """A chat model behind a URL.

    Args:
        url: base URL, e.g. ``http://localhost:11434/v1``.
        model: its name there; None asks the server, which then must have exactly one.
        key: by default ``SECONDPASS_LLM_KEY``, and for OpenAI itself ``OPENAI_API_KEY``.
        context_window: tokens of prompt and answer together; servers do not tell it reliably.
        connect_seconds: until a connection stands.
        read_seconds: between two pieces of the answer, and before the first.

    Raises:
        InputError: the URL is none, or no model was named and the server has none or several.
        MissingExtraError: the package openai is not installed.
        LlmError: the server had to be asked for its models and cannot be reached or refuses.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        key: str | None = None,
        context_window: int = 4096,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.url = _checked_url(url)
        self.context_window = checked_count("context_window", context_window)
        self._read_seconds = read_seconds
        self._client = _client(self.url, key, connect_seconds, read_seconds)
        self.model = self._only_model() if model is None else model

    @property
    def name(self) -> str:
        """The model and the host it runs on."""
        return f"{self.model} at {urlsplit(self.url).netloc.rpartition('@')[2]}"

    def stream(self, messages: Sequence[Message], most_tokens: int) -> Reply:
        """Ask; the request is sent when the first piece is wanted. Errors as for ``Llm.stream``."""
        return Reply(lambda reply: self._speak(reply, messages, most_tokens))

    def _speak(
        self, reply: Reply, messages: Sequence[Message], most_tokens: int
    ) -> Generator[str, None, None]:
        said: list[str] = []
        finished = False
        try:
            with self._opened(messages, most_tokens) as events:
                for event in events:
                    choice = event.choices[0] if event.choices else None
                    if event.usage is not None:
                        reply.usage = Usage(event.usage.prompt_tokens, event.usage.completion_tokens)
                    if choice is not None and choice.finish_reason is not None:
                        finished = True
                        reply.cut_off = choice.finish_reason == "length"
                    if choice is not None and choice.delta is not None and choice.delta.content:
                        said.append(choice.delta.content)
                        yield choice.delta.content
        except LlmError:
            raise
        except Exception as exc:  # the client lets through whatever its HTTP library raises
            raise self._broke_off("".join(said), _reason(exc)) from exc
        if not finished:
            raise self._broke_off("".join(said), "the stream ended before the answer did")

    def _broke_off(self, text: str, reason: str) -> LlmError:
        if not text:
            return LlmError(
                f"{self.url} gave no answer that a chat model gives ({reason}); is it the base URL of an "
                "OpenAI-compatible server? It usually ends in /v1"
            )
        return LlmError(
            f"{self.name} broke off in its answer ({reason}); what it said is incomplete, ask again", text
        )

    def _opened(self, messages: Sequence[Message], most_tokens: int) -> Any:
        import openai

        request: dict[str, Any] = {
            "model": self.model,
            "messages": [dict(each) for each in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": most_tokens,
            "temperature": 0.0,
        }
        while True:
            try:
                return self._client.chat.completions.create(**request)
            except openai.APIError as exc:
                other = _asked_otherwise(request, exc)
                if other is None:
                    raise self._refused(exc) from exc
                request = other

    def _refused(self, exc: Any) -> LlmError:
        import openai

        if isinstance(exc, openai.APITimeoutError):
            return LlmError(
                f"{self.url} did not answer in time; is it overloaded, or still loading its model?"
            )
        if isinstance(exc, openai.APIConnectionError):
            return LlmError(f"cannot reach {self.url} ({_reason(exc)}); is the server running there?")
        if isinstance(exc, openai.AuthenticationError | openai.PermissionDeniedError):
            return LlmError(f"{self.url} refused the key ({_reason(exc)}); set {KEY_VARIABLE}")
        if isinstance(exc, openai.NotFoundError):
            return LlmError(f"{self.url} has no {self.model!r} ({_reason(exc)}); {self._offer()}")
        return LlmError(f"{self.url} refused ({_reason(exc)})")

    def _offer(self) -> str:
        """Return what the server has instead, as far as it tells."""
        import openai

        try:
            names = self._model_names()
        except openai.OpenAIError:
            return "is this its base URL? It usually ends in /v1"
        return f"set llm-model to one of: {_listed(names)}" if names else "it offers no model at all"

    def _model_names(self) -> list[str]:
        return sorted(each.id for each in self._client.models.list())

    def _only_model(self) -> str:
        import openai

        self.model = "a list of its models"  # what a 404 was about
        try:
            names = self._model_names()
        except openai.APIError as exc:
            raise self._refused(exc) from exc
        if len(names) != 1:
            have = f"several models ({_listed(names)})" if names else "no model"
            raise InputError(f"{self.url} has {have}; name the one to ask with llm-model")
        return names[0]


def _checked_url(url: object) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"the URL of an LLM is like http://localhost:11434/v1, got {url!r}")
    return str(url).rstrip("/")


def _client(url: str, key: str | None, connect_seconds: float, read_seconds: float) -> Any:
    try:
        import openai
    except ImportError as exc:
        raise MissingExtraError("openai", "llm", "an LLM behind a URL") from exc
    host = urlsplit(url).hostname or ""
    key = key or os.environ.get(KEY_VARIABLE, "").strip()
    if not key and host == OPENAI_HOST:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    timeout = openai.Timeout(read_seconds, connect=connect_seconds)
    local = host in ("localhost", "127.0.0.1", "::1")
    return openai.OpenAI(
        base_url=url,
        api_key=key or "none",  # the client insists on one; local servers do not look
        max_retries=RETRIES,
        timeout=timeout,
        # A proxy of the environment is for what lies outside, whatever NO_PROXY forgot to name.
        http_client=openai.DefaultHttpxClient(base_url=url, timeout=timeout, trust_env=False)
        if local
        else None,
    )


def _asked_otherwise(request: dict[str, Any], exc: Any) -> dict[str, Any] | None:
    """Return the request without what this server cannot take, where its refusal names that."""
    if getattr(exc, "status_code", None) not in (400, 422):
        return None
    told = str(exc)
    if "max_completion_tokens" in told and "max_tokens" in request:
        return {
            **{key: value for key, value in request.items() if key != "max_tokens"},
            "max_completion_tokens": request["max_tokens"],
        }
    for name in ("temperature", "stream_options"):
        if name in told and name in request:
            return {key: value for key, value in request.items() if key != name}
    return None


def _reason(exc: BaseException) -> str:
    """Return what went wrong in a few words: the server's own message, else the innermost cause."""
    status = getattr(exc, "status_code", None)
    body = getattr(exc, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    if isinstance(told, str) and told.strip():
        text = told
    else:
        cause: BaseException = exc
        while cause.__cause__ is not None:
            cause = cause.__cause__
        text = str(cause) or type(cause).__name__
    text = " ".join(text.split())[:200]
    return f"{status}: {text}" if status is not None and str(status) not in text else text


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
