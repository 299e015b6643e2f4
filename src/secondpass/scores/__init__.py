"""Scores that were given once and need not be computed again: a cache, and re-rankers that ask it first.

``cache`` is the class; ``memory`` and ``disk`` keep the scores, ``packing`` is how one lies on the disk;
``cached`` is a re-ranker in front of another one, ``asking`` checks what one gives.
"""

from __future__ import annotations

from .asking import ask, check_finite
from .cache import SCORES_FILE, ScoreCache
from .cached import CachedReranker
from .packing import Given

__all__ = ["SCORES_FILE", "CachedReranker", "Given", "ScoreCache", "ask", "check_finite"]
