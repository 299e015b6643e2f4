"""Which re-ranker a request wants, whether a gate is asked before it, and which hits are good enough.

As ``secondpass search`` decides it: nothing is gated and nothing left out unless somebody asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from ...gating import Gate
from ...types import Reranker
from .errors import ApiError
from .state import State

__all__ = ["OFF", "Chosen", "MinPrecision", "RerankerName", "chosen"]

OFF = "none"
GATED = "gated"

RerankerName = Annotated[
    str | None, Field(description="`none` turns stage 2 off, `gated` asks the server's gate first.")
]
MinPrecision = Annotated[
    float | None,
    Field(
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Share of hits that must be relevant; the others are left out. Needs a calibration. Null "
        "leaves none out, also where the server's settings say so.",
    ),
]


class Deciding(Protocol):
    """A body that says how."""

    reranker: str | None
    min_precision: float | None

    @property
    def model_fields_set(self) -> set[str]:
        """What the request gave."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a request, or else the settings, want of stage 2.

    Attributes:
        reader: None where stage 2 is off.
        gate: asked before it; None lets all through.
        precision: share of the hits that must be relevant; None leaves none out.
    """

    reader: Reranker | None
    gate: Gate | None
    precision: float | None


async def chosen(state: State, body: Deciding) -> Chosen:
    """Return it, the re-ranker opened.

    Raises:
        ApiError: there is no such re-ranker here, or no gate.
    """
    settings = state.settings
    name = body.reranker or (GATED if settings.gated else settings.reranker)
    precision = body.min_precision if "min_precision" in body.model_fields_set else settings.min_precision
    gate = None
    if name == GATED:
        if settings.gate is None:
            message = "this server has no gate; secondpass worth-it --write fits one, then start it again"
            raise ApiError(422, "setting_invalid", message)
        name = settings.gate.reranker
        # A precision is promised of probabilities, and where the gate skips stage 2 there are none.
        gate = settings.gate if precision is None else None
    reader = None if name == OFF else await state.rerankers.get(name)
    return Chosen(reader, gate, precision)
