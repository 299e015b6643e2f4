"""Training a re-ranker further on one's own documents: ``tune`` does it all. Needs the extra ``train``.

Importing this package imports no torch; ``tune`` does.
"""

from .concluding import sentences
from .core import BASE, CHECKPOINT, NAME, check_installed, tune, work_of
from .headings import made_from_headings
from .pairs import read_pairs
from .parting import LEAST_HELD_OUT, LEAST_QUERIES
from .values import HeldOut, Learnt, Outcome, Progress, Recipe, Tuned

__all__ = [
    "BASE",
    "CHECKPOINT",
    "LEAST_HELD_OUT",
    "LEAST_QUERIES",
    "NAME",
    "HeldOut",
    "Learnt",
    "Outcome",
    "Progress",
    "Recipe",
    "Tuned",
    "check_installed",
    "made_from_headings",
    "read_pairs",
    "sentences",
    "tune",
    "work_of",
]
