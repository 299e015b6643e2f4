"""From a question to its answer: search, pack the passages, have the LLM write, check what it cites."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from ..arguments import checked_count
from ..calibration import relevant_only
from ..engine import Cancel, Engine
from ..engine.reading import Limits
from ..errors import InputError, LlmError
from ..sentences import Span, sentences
from ..types import Hit, Reranker, SearchResult
from .citing import checked
from .extracting import best_quotes, quoted
from .packing import arranged, estimated_tokens, pack
from .prompt import block, boundary_for, messages
from .values import (
    NOT_IN_DOCUMENTS,
    Answer,
    AnswerTimings,
    Citation,
    Flag,
    Given,
    Llm,
    Message,
    Refusal,
    SupportsTokens,
    SupportsUsage,
    Usage,
)

__all__ = ["MOST_TOKENS", "Asked", "answer", "prepare", "write"]

MOST_TOKENS = 512
"""Of an answer; room for it is kept free in the context window."""
TEMPLATE_TOKENS = 64
"""Kept free for what a chat template puts around two messages; those of today's models take 10 to 40."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its passages, ready to be answered.

    Attributes:
        query: the question.
        llm: who is to write; None for an extractive answer.
        reranker: that of the search.
        result: the search; its hits are those above the threshold.
        passages: what the answer may rest on, by number.
        prompt: what the LLM will be sent; empty without one, or where there is no passage.
        left_out: how many hits lay below the threshold.
        most_tokens: of the answer.
        began: when the search began, on the clock of ``perf_counter``.
    """

    query: str
    llm: Llm | None
    reranker: Reranker | None
    result: SearchResult
    passages: tuple[Given, ...]
    prompt: tuple[Message, ...]
    left_out: int
    most_tokens: int
    began: float


def answer(
    engine: Engine,
    query: str,
    *,
    llm: Llm | None = None,
    k: int = 3,
    budget: int | None = None,
    threshold: float | None = None,
    most_tokens: int = MOST_TOKENS,
    candidates: int | None = None,
    where: Mapping[str, str] | None = None,
    deadline_ms: float | None = None,
    cancel: Cancel | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Answer a question from the documents of an index.

    With an LLM it writes the answer from the best passages and cites them; without, the answer is the best
    sentences, quoted. Where no passage is left, no LLM is asked and the answer is ``NOT_IN_DOCUMENTS``.

    Args:
        engine: searches.
        query: a question.
        llm: writes, see ``load_llm``; None quotes.
        k: most passages, 1 to ``candidates``.
        budget: most tokens for the passages; what the context window leaves by default.
        threshold: least probability, 0..1, of a passage; see ``Calibration.threshold``. By default none is
            left out: an uncalibrated score says which passage is best, not whether it is any good.
        most_tokens: of the answer.
        candidates: as for ``Engine.search``.
        where: as for ``Engine.search``.
        deadline_ms: as for ``Engine.search``; the LLM has no deadline.
        cancel: as for ``Engine.search``, and asked between the pieces of the answer.
        on_text: is given each piece of the answer as it is written.

    Raises:
        QueryError: the query is empty or not text.
        InputError: a number is out of range, no passage fits the budget, or a threshold was given where
            scores are no probabilities.
        LlmError: the LLM cannot be reached, refuses, or breaks off (``text`` is what it had said).
        SearchCancelledError: ``cancel`` said so.
    """
    asked = prepare(
        engine,
        query,
        llm=llm,
        k=k,
        budget=budget,
        threshold=threshold,
        most_tokens=most_tokens,
        candidates=candidates,
        where=where,
        deadline_ms=deadline_ms,
        cancel=cancel,
    )
    pieces = write(asked, cancel)
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            finished: Answer = end.value
            return finished
        if on_text is not None:
            on_text(piece)


def prepare(
    engine: Engine,
    query: str,
    *,
    llm: Llm | None = None,
    k: int = 3,
    budget: int | None = None,
    threshold: float | None = None,
    most_tokens: int = MOST_TOKENS,
    candidates: int | None = None,
    where: Mapping[str, str] | None = None,
    deadline_ms: float | None = None,
    cancel: Cancel | None = None,
) -> Asked:
    """Search and pack, without asking the LLM; arguments and errors as for ``answer``."""
    if llm is not None and not isinstance(llm, Llm):
        raise InputError(
            "an LLM has a name, a context_window and stream(messages, most_tokens), got "
            f"{type(llm).__name__}; see answering.load_llm"
        )
    checked_count("most_tokens", most_tokens)
    if budget is not None:
        checked_count("budget", budget)
    began = perf_counter()
    result = engine.search(
        query, k, candidates=candidates, where=where, deadline_ms=deadline_ms, cancel=cancel
    )
    kept = result if threshold is None else relevant_only(result, _checked_share(threshold))
    passages, prompt = _packed(query, kept.hits, llm, budget, most_tokens)
    left_out = len(result.hits) - len(kept.hits)
    return Asked(query, llm, engine.reranker, kept, passages, prompt, left_out, most_tokens, began)


def _checked_share(threshold: object) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise InputError(f"threshold must be a probability, 0 to 1, got {threshold!r}")
    return float(threshold)


def _packed(
    query: str, hits: Sequence[Hit], llm: Llm | None, budget: int | None, most_tokens: int
) -> tuple[tuple[Given, ...], tuple[Message, ...]]:
    if llm is None or not hits:
        whole = (Given(number, hit, (0, len(hit.passage.text))) for number, hit in enumerate(hits, start=1))
        return tuple(whole), ()
    boundary = boundary_for(
        [query, *(hit.passage.text for hit in hits), *(hit.passage.source for hit in hits)]
    )
    frame = "\n".join(each["content"] for each in messages(query, (), boundary))
    room = llm.context_window - most_tokens - TEMPLATE_TOKENS - _tokens(llm, frame)
    if budget is not None:
        room = min(room, budget)

    def count(number: int, hit: Hit, span: Span) -> int:
        return _tokens(llm, block(number, hit, hit.passage.text[slice(*span)], boundary) + "\n\n")

    passages = pack(hits, room, count)
    if not passages:
        raise InputError(
            f"no passage fits: there is room for {max(room, 0):,} tokens (the window of {llm.name} is "
            f"{llm.context_window:,}, {most_tokens:,} of it for the answer), and the best passage takes "
            f"{count(1, hits[0], (0, len(hits[0].passage.text))):,}; allow more, or ask a shorter question"
        )
    return passages, messages(query, arranged(passages), boundary)


def _tokens(llm: Llm, text: str) -> int:
    return llm.count_tokens(text) if isinstance(llm, SupportsTokens) else estimated_tokens(text)


def write(asked: Asked, cancel: Cancel | None = None) -> Generator[str, None, Answer]:
    """Yield the text of the answer as it is written, and return the ``Answer``; errors as for ``answer``."""
    start = perf_counter()
    if not asked.passages:
        yield NOT_IN_DOCUMENTS
        return _finished(
            asked, NOT_IN_DOCUMENTS, (), (), "threshold" if asked.left_out else "no passage", start
        )
    if asked.llm is None:
        text, citations = quoted(best_quotes(asked.query, asked.passages, asked.reranker))
        yield text
        return _finished(asked, text, citations, (), "", start)
    return (yield from _written(asked, asked.llm, Limits.of(start, None, cancel), start))


def _written(asked: Asked, llm: Llm, limits: Limits, start: float) -> Generator[str, None, Answer]:
    said: list[str] = []
    first = 0.0
    with _closed_after(llm.stream(asked.prompt, asked.most_tokens)) as pieces:
        for piece in pieces:
            limits.check()
            if piece:
                first = first or _milliseconds(start)
                said.append(piece)
                yield piece
        usage, cut_off = _told(pieces)
    text = "".join(said).strip()
    if not text:
        raise LlmError(f"{llm.name} answered nothing; try again, or another model")
    citations, flags = checked(text, asked.passages)
    return _finished(
        asked,
        text,
        citations,
        flags,
        "llm" if _says_no(text) else "",
        start,
        first=first,
        usage=usage or _counted(llm, asked.prompt, text),
        cut_off=cut_off,
    )


@contextmanager
def _closed_after(pieces: Iterator[str]) -> Iterator[Iterator[str]]:
    """Let the LLM stop where nobody listens any more."""
    try:
        yield pieces
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _told(pieces: Iterator[str]) -> tuple[Usage | None, bool]:
    return (pieces.usage, pieces.cut_off) if isinstance(pieces, SupportsUsage) else (None, False)


def _counted(llm: Llm, prompt: Sequence[Message], text: str) -> Usage:
    sent = "\n".join(each["content"] for each in prompt)
    return Usage(_tokens(llm, sent), _tokens(llm, text), estimated=not isinstance(llm, SupportsTokens))


def _says_no(text: str) -> bool:
    """Return whether an answer is one sentence that says what the LLM was told to say for no."""
    return NOT_IN_DOCUMENTS in " ".join(text.casefold().split()) and len(sentences(text)) <= 1


def _finished(
    asked: Asked,
    text: str,
    citations: tuple[Citation, ...],
    flags: tuple[Flag, ...],
    why: Refusal,
    start: float,
    first: float = 0.0,
    usage: Usage | None = None,
    cut_off: bool = False,
) -> Answer:
    timings = AnswerTimings(
        search=asked.result.timings.total,
        first=first,
        write=_milliseconds(start),
        total=_milliseconds(asked.began),
    )
    return Answer(
        query=asked.query,
        text=text,
        citations=citations,
        flags=flags,
        passages=asked.passages,
        refused=bool(why),
        why=why,
        prompt=asked.prompt,
        llm="none" if asked.llm is None else asked.llm.name,
        result=asked.result,
        timings=timings,
        left_out=asked.left_out,
        cut_off=cut_off,
        usage=usage,
    )


def _milliseconds(start: float) -> float:
    return (perf_counter() - start) * 1000
