"""Answers from the passages that a search finds: written by a language model that cites them, or quoted.

``asking`` is the whole way; ``packing`` fits passages into a token budget; ``prompt`` fences them as data;
``citing`` checks what the answer cites; ``extracting`` answers without a model; ``llms`` finds the model:
``endpoint`` speaks to any OpenAI-compatible server, ``gguf`` runs a file in this process.
"""

from __future__ import annotations

from .asking import MOST_TOKENS, Asked, answer, prepare, write
from .llms import check_llm, load_llm
from .shapes import shape
from .values import (
    NOT_IN_DOCUMENTS,
    Answer,
    AnswerTimings,
    Citation,
    Flag,
    Given,
    Llm,
    Message,
    SupportsTokens,
    SupportsUsage,
    Usage,
)

__all__ = [
    "MOST_TOKENS",
    "NOT_IN_DOCUMENTS",
    "Answer",
    "AnswerTimings",
    "Asked",
    "Citation",
    "Flag",
    "Given",
    "Llm",
    "Message",
    "SupportsTokens",
    "SupportsUsage",
    "Usage",
    "answer",
    "check_llm",
    "load_llm",
    "prepare",
    "shape",
    "write",
]
