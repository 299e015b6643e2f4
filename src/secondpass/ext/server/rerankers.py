"""The re-rankers of a server by the names that requests give them: loaded once, off the event loop."""

from __future__ import annotations

import asyncio

from ... import models
from ...catalogue import BINARY_INTERACTION, LATE_INTERACTION
from ...errors import ModelNotFoundError
from ...reranking import AUTO_RERANKER, load_reranker
from ...types import Reranker, SupportsReadings
from .errors import ApiError
from .settings import ServerSettings
from .work import WorkPool

__all__ = ["Rerankers", "gives_logits"]

_MOST = 4
"""Re-rankers that are kept in memory besides those named at start."""
_SECONDS = 300.0
"""For opening a large model, which may have to be converted."""


class Rerankers:
    """Opens re-rankers when they are first asked for, and keeps a few.

    A request may name what was named at start and, where the settings let it, what is installed. A path is
    never taken from a request, and nothing is fetched from the network.
    """

    def __init__(self, settings: ServerSettings, work: WorkPool) -> None:
        self._settings = settings
        self._work = work
        self._named = dict.fromkeys(
            name for name in (settings.reranker, *settings.rerankers) if name not in ("auto", "none")
        )
        self._given: dict[str, Reranker] = {}
        self._open: dict[str, asyncio.Future[Reranker]] = {}

    @property
    def default(self) -> str:
        """Name of the one that serves a request that names none; ``auto`` for ``none``."""
        name = self._settings.reranker
        return AUTO_RERANKER if name in ("auto", "none") else name

    def add(self, reranker: Reranker) -> None:
        """Serve a re-ranker of your own as well, under its name."""
        self._given[reranker.name] = reranker

    def name_of(self, asked: str | None) -> str:
        """Return which re-ranker a request means.

        Raises:
            ApiError: 404 where it is known but not on this machine, or unknown and names are not aliases.
        """
        if asked is None or not asked.strip() or asked == "auto":
            return self.default
        for name in (*self._given, *self._named, AUTO_RERANKER, LATE_INTERACTION, BINARY_INTERACTION):
            if asked.casefold() == name.casefold():
                return name
        known = next((each for each in models.known_models() if each.answers_to(asked)), None)
        if self._settings.any_model:
            here = {folder.name for folder in models.installed("reranker")}
            if asked in here:
                return asked
            if known is not None and known.kind == "reranker" and known.name in here:
                return known.name
        if known is not None or not self._settings.aliases:
            raise ApiError(
                404,
                "model_not_found",
                "that model is not served here; see GET /v1/models, or leave it out",
            )
        return self.default

    def names(self) -> list[str]:
        """Return what requests may name, the default first."""
        here = [folder.name for folder in models.installed("reranker")] if self._settings.any_model else []
        return list(
            dict.fromkeys(
                [
                    self.default,
                    *self._given,
                    *self._named,
                    AUTO_RERANKER,
                    LATE_INTERACTION,
                    BINARY_INTERACTION,
                    *here,
                ]
            )
        )

    async def get(self, asked: str | None = None) -> Reranker:
        """Return the re-ranker that a request names, opened; see ``name_of``."""
        name = self.name_of(asked)
        if name in self._given:
            return self._given[name]
        opening = self._open.pop(name, None)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = asyncio.ensure_future(self._load(name))
        self._open[name] = opening  # the latest stands last
        self._forget()
        return await asyncio.shield(opening)

    async def _load(self, name: str) -> Reranker:
        precision = self._settings.precision
        try:
            found: Reranker = await self._work.run(load_reranker, name, precision=precision, seconds=_SECONDS)
        except ModelNotFoundError as exc:
            raise ApiError(404, "model_not_found", "that model is not on this machine") from exc
        return found

    def _forget(self) -> None:
        spare = [name for name in self._open if name != self.default and name not in self._named]
        for name in spare[: max(0, len(spare) - _MOST)]:
            if self._open[name].done():
                del self._open[name]


def gives_logits(reranker: Reranker) -> bool:
    """Whether the sigmoid of a score is a probability."""
    return isinstance(reranker, SupportsReadings) and reranker.logits
