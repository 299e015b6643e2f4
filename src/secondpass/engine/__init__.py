"""Stage 1 and stage 2 in one call: ask an index for candidates, read them with the query, keep the best.

``core`` is the class; ``second_pass`` turns candidates into hits; ``reading`` has them read, all at once
or in micro-batches under a deadline; ``twins`` finds candidates that need not be read twice; ``given``
re-ranks candidates that came from elsewhere.
"""

from __future__ import annotations

from ..arguments import STAGE1
from .core import CandidateSource, Engine
from .given import Candidate, rerank
from .reading import Cancel

__all__ = ["STAGE1", "Cancel", "Candidate", "CandidateSource", "Engine", "rerank"]
