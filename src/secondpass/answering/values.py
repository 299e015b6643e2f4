"""The values of an answer: its text, what it cites, what is wrong with that; and what a language model is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ..sentences import Span
from ..types import Hit, SearchResult

__all__ = [
    "NOT_IN_DOCUMENTS",
    "Answer",
    "AnswerTimings",
    "Citation",
    "Flag",
    "Given",
    "Llm",
    "Message",
    "Refusal",
    "SupportsTokens",
    "SupportsUsage",
    "Usage",
]

Message = Mapping[str, str]
"""``{"role": "system" or "user", "content": text}``, as chat models take them."""

Refusal = Literal["", "no passage", "threshold", "llm"]
"""Why there is no answer: stage 1 found nothing, no hit reached the threshold, or the LLM said so itself."""

NOT_IN_DOCUMENTS = "not in your documents"
"""The text of an answer that there is none; the LLM is told to say the same."""


@runtime_checkable
class Llm(Protocol):
    """A chat model that answers piece by piece.

    One that can count tokens is a ``SupportsTokens`` too; an iterator that knows at its end what was used
    is a ``SupportsUsage``.
    """

    @property
    def name(self) -> str:
        """What people call it, and what is recorded and shown."""
        ...

    @property
    def context_window(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    def stream(self, messages: Sequence[Message], most_tokens: int) -> Iterator[str]:
        """Yield the answer as it is written, at most ``most_tokens`` tokens.

        An empty piece says that the model still reads: who listens can see whether to go on. Closing the
        iterator ends the work. Raises LlmError where the model cannot be reached, refuses, or breaks off;
        what it said until then has been yielded.
        """
        ...


@runtime_checkable
class SupportsTokens(Protocol):
    """An LLM whose tokenizer is at hand."""

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is, without any that the chat template adds."""
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer took.

    Attributes:
        prompt_tokens, answer_tokens: as the LLM told, else counted by its tokenizer or estimated.
        estimated: they are an estimate, see ``packing.estimated_tokens``.
    """

    prompt_tokens: int
    answer_tokens: int
    estimated: bool = False


@runtime_checkable
class SupportsUsage(Protocol):
    """An iterator of ``Llm.stream`` that tells at its end what was used, and whether it was cut off."""

    @property
    def usage(self) -> Usage | None:
        """None before the end, and where the LLM does not tell."""
        ...

    @property
    def cut_off(self) -> bool:
        """Whether the answer ended because ``most_tokens`` were reached."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A passage as the LLM was given it.

    Attributes:
        number: its number in the prompt and in the answer, from 1, in order of rank.
        hit: the hit it is.
        span: what was given of ``hit.passage.text``: all of it, or as much as the budget had room for.
        tokens: that text took, fence and heading included; 0 where no LLM was asked.
    """

    number: int
    hit: Hit
    span: Span
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A number in the answer that stands for a passage.

    Attributes:
        number: as in the answer.
        hit: what it stands for.
        quotes: spans of ``hit.passage.text``, in order: what an extractive answer quotes, or the sentences
            that share most words with those that cite the passage. Empty where there is none.
    """

    number: int
    hit: Hit
    quotes: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """Something about a citation that a reader should know.

    Attributes:
        number: as in the answer.
        sentence: that cites it.
        reason: ``no such passage``, or ``nothing in common``: the sentence shares no word of content with
            the passage. That is a hint and no proof: other words, or another language, can say the same.
    """

    number: int
    sentence: str
    reason: Literal["no such passage", "nothing in common"]


@dataclass(frozen=True, slots=True)
class AnswerTimings:
    """Wall time of one answer, in milliseconds.

    Attributes:
        search: both stages.
        first: from the call of the LLM to the first piece of its answer; 0 without an LLM.
        write: from the call of the LLM to the end of its answer; without an LLM, choosing sentences.
        total: all of it.
    """

    search: float
    first: float
    write: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question, and what it rests on.

    Attributes:
        query: the question.
        text: the answer; ``NOT_IN_DOCUMENTS`` where it was refused before an LLM was asked.
        citations: one for each passage that is cited, by number.
        flags: citations to nothing, and sentences that share nothing with what they cite.
        passages: what the answer could rest on, by number.
        refused: the documents do not say; ``why`` tells who found so.
        why: empty where it was not refused.
        prompt: what the LLM was sent; empty without one.
        llm: its name; ``none`` for an extractive answer.
        result: the search behind it.
        left_out: how many hits lay below the threshold.
        cut_off: the LLM had more to say than it was allowed tokens.
        usage: None where no LLM was asked.
    """

    query: str
    text: str
    citations: tuple[Citation, ...]
    flags: tuple[Flag, ...]
    passages: tuple[Given, ...]
    refused: bool
    why: Refusal
    prompt: tuple[Message, ...]
    llm: str
    result: SearchResult
    timings: AnswerTimings
    left_out: int = 0
    cut_off: bool = False
    usage: Usage | None = None
