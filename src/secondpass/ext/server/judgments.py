"""``/v1/judgments``: marks of passages, kept where and how ``secondpass judge`` keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ...errors import InputError, LoadError, StorageError
from ...judging.asking import Asked, from_text
from ...judging.saving import LOG, Grade, Marks
from ...types import Passage
from .errors import ApiError, JsonAnswer
from .holder import Holder
from .replies import refusals
from .state import State

__all__ = ["router"]

FOLDER = "judgments"
"""Beside the files of the index, where the settings name no other."""
_GRADES: dict[bool | None, Grade] = {True: "yes", False: "no", None: "skip"}


class JudgmentBody(BaseModel):
    """A mark."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(description="What was asked.")]
    passage_id: Annotated[str, Field(description="`id` of a passage of the index.")]
    relevant: Annotated[bool | None, Field(strict=True, description="Null takes the mark away.")]


class Judgment(BaseModel):
    """A mark that stands."""

    passage_id: str
    relevant: bool


class Judgments(BaseModel):
    """The marks of a query."""

    query: str
    judgments: list[Judgment]


class Kept(BaseModel):
    """What was kept."""

    query: str
    passage_id: str
    relevant: bool | None


def router(state: State) -> APIRouter:
    """Return both routes."""
    store = _Store(state)
    routes = APIRouter(tags=["judgments"])

    @routes.post(
        "/v1/judgments",
        summary="Mark a passage relevant or not for a query",
        responses={200: {"model": Kept}, **refusals(404)},
    )
    async def judge(body: JudgmentBody) -> JsonAnswer:
        return JsonAnswer(await state.work.run(store.keep, body))

    @routes.get(
        "/v1/judgments",
        summary="Read the marks of a query",
        responses={200: {"model": Judgments}, **refusals(body=False)},
    )
    async def judgments(query: Annotated[str, Query(description="What was asked.")]) -> JsonAnswer:
        return JsonAnswer(await state.work.run(store.read, query))

    return routes


class _Store:
    """The folder of the marks; it is held only while a request writes or reads, so that others may too."""

    def __init__(self, state: State) -> None:
        self._settings = state.settings
        self._holder: Holder = state.parts["index"]
        self._lock = threading.Lock()

    def keep(self, body: JudgmentBody) -> dict[str, Any]:
        """Keep a mark; when this returns it is on the disk."""
        wanted = self._asked(body.query)
        folder = self._folder()
        passage = self._passage(body.passage_id)
        if passage is None and (body.relevant is not None or not (folder / LOG).exists()):
            raise _unknown()
        with self._opened(folder) as marks:
            asked = _as_kept(marks, wanted)
            known = _standing(marks, asked)
            if passage is None and body.passage_id not in known:
                raise _unknown()
            if known.get(body.passage_id) != body.relevant:
                passage = passage or Passage(body.passage_id, "", "", 0, 0)  # gone since it was marked
                marks.add(asked, passage, _GRADES[body.relevant])
        return {"query": asked.query, "passage_id": body.passage_id, "relevant": body.relevant}

    def read(self, query: str) -> dict[str, Any]:
        """Return the marks of a query, in the order they were made."""
        wanted = self._asked(query)
        folder = self._folder()
        known: dict[str, bool] = {}
        if (folder / LOG).exists():
            with self._opened(folder) as marks:
                known = _standing(marks, _as_kept(marks, wanted))
        judged = [{"passage_id": passage, "relevant": relevant} for passage, relevant in known.items()]
        return {"query": wanted.query, "judgments": judged}

    def _asked(self, query: str) -> Asked:
        most = self._settings.limits.query_characters
        if len(query) > most:
            raise ApiError(422, "query_too_long", f"a query has at most {most} characters here")
        return from_text(query)

    def _folder(self) -> Path:
        if self._settings.judgments is not None:
            return self._settings.judgments
        if self._settings.index is not None:
            with self._holder.lent() as opened:  # nothing is written beside an index that is not there
                if opened.index.path.is_dir():
                    return self._settings.index / FOLDER
            raise ApiError(503, "index_away", "the folder of the index is away; ask again later", 1)
        raise ApiError(503, "index_missing", "this server was started without an index; it only re-ranks")

    def _passage(self, passage_id: str) -> Passage | None:
        with self._holder.lent() as opened:
            try:
                return opened.index.passage(passage_id)
            except InputError:
                return None

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[Marks]:
        """Open the folder; what is wrong with it is said without where it is."""
        with self._lock:
            try:
                marks = Marks(folder)
            except StorageError as exc:
                message = "the judgments are being marked elsewhere, or cannot be written; ask again later"
                raise ApiError(503, "judgments_locked", message, retry_after=5) from exc
            except LoadError as exc:
                message = "the judgments on the disk cannot be read; mend their file on the server"
                raise ApiError(503, "judgments_unreadable", message) from exc
            with marks:
                try:
                    yield marks
                except StorageError as exc:
                    message = "the judgment could not be written; look at the server's disk"
                    raise ApiError(503, "judgments_not_writable", message) from exc


def _as_kept(marks: Marks, wanted: Asked) -> Asked:
    """Return the query under the id that it has in the folder, which a file of queries may have given it."""
    return next((each for each in marks.queries if each.query == wanted.query), wanted)


def _standing(marks: Marks, asked: Asked) -> dict[str, bool]:
    last = {each.passage_id: each.grade for each in marks.marks if each.query_id == asked.id}
    return {passage: grade == "yes" for passage, grade in last.items() if grade != "skip"}


def _unknown() -> ApiError:
    return ApiError(404, "not_found", "the index holds no passage of that id")
