"""Whether stage 2 is worth its time on one's own documents: sweep, decision, gate.

``asking`` is the way in; ``budget`` plans, ``sweep`` and ``table`` hold what was tried;
``held_out`` chooses and measures on other queries, ``decide`` is the rule, ``words`` says it,
``concluding`` puts them together; ``changes`` needs no judgments; ``gate_fit`` fits the gate.
"""

from __future__ import annotations

from .asking import BUDGET, DEPTHS, Wishes, worth_it
from .decide import LEAST_GAIN
from .values import Change, GateReceipt, HeldOut, Kind, SweepRow, Verdict

__all__ = [
    "BUDGET",
    "DEPTHS",
    "LEAST_GAIN",
    "Change",
    "GateReceipt",
    "HeldOut",
    "Kind",
    "SweepRow",
    "Verdict",
    "Wishes",
    "worth_it",
]
