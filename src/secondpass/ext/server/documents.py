"""Adding and removing documents over HTTP: as JSON, as files, or by path where that is allowed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from ...errors import LoadError
from ...index import Index, Progress
from ...loading import read
from ...types import Document, MetadataValue
from .errors import ApiError, JsonAnswer
from .holder import Holder
from .jobs import Failure, Job, Writer
from .replies import refusals
from .security import allowed_path
from .state import State

__all__ = ["router"]

MOST = 1000
"""Documents, files or paths in one request."""
_NAME_LENGTH = 200

Work = Callable[[Index, Job], None]
Wait = Annotated[bool, Query(description="Answer when it is indexed, not when it is lined up.")]


class DocumentBody(BaseModel):
    """A document."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=1000)]
    text: str
    metadata: dict[str, str | int | float | bool | None] = Field(default_factory=dict)


class AddBody(BaseModel):
    """What to index: documents, or paths on the server."""

    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[DocumentBody] | None, Field(min_length=1, max_length=MOST)] = None
    paths: Annotated[list[str] | None, Field(min_length=1, max_length=MOST)] = None


class LinedUp(BaseModel):
    """A job that will be done."""

    job: str


class JobBody(BaseModel):
    """How far a job is; `done` means that all of it is in the index, safe from a kill."""

    id: str
    state: str = Field(examples=["queued", "running", "done", "failed"])
    done: int
    total: int
    added: int
    changed: int
    unchanged: int
    removed: int
    failed: list[Failure]


class Deleted(BaseModel):
    """A document that is gone."""

    deleted: str


_MULTIPART = {
    "schema": {
        "type": "object",
        "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        "required": ["files"],
    }
}


def router(state: State) -> APIRouter:
    """Return the routes that write."""
    writer = Writer()
    holder: Holder = state.parts["index"]
    folder = state.settings.index

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await run_in_threadpool(writer.close)

    routes = APIRouter(tags=["write"], lifespan=lifespan)

    def line_up(work: Work) -> Job:
        return writer.submit(_on(folder, holder, work))

    async def answered(job: Job, wait: bool) -> JsonAnswer:
        if not wait:
            return JsonAnswer({"job": job.id}, 202)
        return JsonAnswer(_or_raise(await writer.ended(job)).shape())

    @routes.post(
        "/v1/documents",
        summary="Index documents, files or paths",
        responses={200: {"model": JobBody}, 202: {"model": LinedUp}, **refusals(507)},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": AddBody.model_json_schema()},
                    "multipart/form-data": _MULTIPART,
                },
            }
        },
    )
    async def add(request: Request, wait: Wait = False) -> JsonAnswer:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            return await answered(line_up(await _files(request)), wait)
        given = _given(_body(await request.body()), state.settings.allowed_folders)
        return await answered(line_up(lambda index, job: _add(index, job, given)), wait)

    @routes.get(
        "/v1/jobs/{id}",
        summary="How far a job is",
        responses={200: {"model": JobBody}, **refusals(404, body=False)},
    )
    async def job(id: str) -> JsonAnswer:  # noqa: A002
        return JsonAnswer(writer.job(id).shape())

    @routes.delete(
        "/v1/documents/{id:path}",
        summary="Take a document out of the index",
        responses={200: {"model": Deleted}, **refusals(404, 507, body=False)},
    )
    async def delete(id: str) -> JsonAnswer:  # noqa: A002
        ended = await writer.ended(line_up(lambda index, job: _remove(index, job, id)))
        _or_raise(ended)
        return JsonAnswer({"deleted": id})

    return routes


def _on(folder: Path | None, holder: Holder, work: Work) -> Callable[[Job], None]:
    """Return the work with the index open for it; one is made where there is none."""
    if folder is None:
        raise ApiError(503, "index_missing", "this server was started without an index; it only re-ranks")

    def run(job: Job) -> None:
        holder.wait_for_folder()
        with Index.open(folder) as index:
            work(index, job)

    return run


def _given(body: AddBody, allowed: Sequence[Path]) -> list[Document] | list[Path]:
    if body.paths is not None:
        return [allowed_path(path, allowed) for path in body.paths]
    return [Document(each.id, each.text, each.metadata, each.id) for each in body.documents or ()]


def _body(raw: bytes) -> AddBody:
    try:
        given = AddBody.model_validate_json(raw)
    except ValidationError as exc:
        raise RequestValidationError(exc.errors(include_url=False, include_input=False)) from exc
    if (given.documents is None) == (given.paths is None):
        raise ApiError(422, "request_invalid", "give either documents or paths")
    ids = [each.id for each in given.documents or ()]
    if len(set(ids)) < len(ids):
        twice = next(place for place, each in enumerate(ids) if each in ids[:place])
        raise ApiError(422, "document_twice", f"documents[{twice}] has the id of one before it")
    return given


async def _files(request: Request) -> Work:
    """Return what indexes the files of a form; they are kept on the disk until then."""
    kept = Path(tempfile.mkdtemp(prefix="secondpass-upload-"))
    names: list[str] = []
    try:
        async with request.form(max_files=MOST, max_fields=0) as form:
            for place, file in enumerate(form.getlist("files")):
                if not isinstance(file, UploadFile):
                    raise ApiError(422, "request_invalid", "files: must be files")
                name = _safe_name(file.filename)
                if name in names:
                    raise ApiError(422, "document_twice", f"files[{place}] has the name of one before it")
                names.append(name)
                await run_in_threadpool(_keep, file, kept / str(place) / name)
        if not names:
            raise ApiError(422, "request_invalid", "the form has no files; send them in the field `files`")
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise

    def work(index: Index, job: Job) -> None:
        with _removed_at_the_end(kept):
            documents: list[Document] = []
            for place, name in enumerate(names):
                documents += _documents_of(kept / str(place) / name, name, job)
            _add(index, job, documents)

    return work


def _safe_name(given: str | None) -> str:
    """Return the last part of a file's name, which may come from any system.

    Raises:
        ApiError: nothing is left of it.
    """
    name = PurePosixPath((given or "").replace("\\", "/")).name
    name = "".join(letter for letter in name if letter.isprintable()).strip()[-_NAME_LENGTH:]
    if name in ("", ".", ".."):
        raise ApiError(
            422, "file_without_name", "each file needs a name, since its ending says how to read it"
        )
    return name


def _keep(file: UploadFile, path: Path) -> None:
    path.parent.mkdir()
    try:
        with path.open("xb") as into:
            shutil.copyfileobj(file.file, into)
    except (OSError, ValueError) as exc:
        raise ApiError(
            507, "index_not_writable", "the file could not be kept; look at the server's disk"
        ) from exc


@contextmanager
def _removed_at_the_end(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _documents_of(path: Path, name: str, job: Job) -> list[Document]:
    """Return the documents of a file under the name that it was sent with; what is none is noted."""
    try:
        found = read(path)
    except LoadError as exc:
        job.failed.append({"source": name, "reason": exc.reason})
        return []
    if not found:
        job.failed.append({"source": name, "reason": "empty: no text in it"})
    return [_renamed(document, path, name) for document in found]


def _renamed(document: Document, path: Path, name: str) -> Document:
    behind = document.id.removeprefix(str(path.absolute()))
    metadata: dict[str, MetadataValue] = {
        key: value for key, value in document.metadata.items() if value != str(path.absolute().parent)
    }
    source = document.source.replace(str(path.absolute()), name)
    return replace(document, id=name + behind, source=source, metadata=metadata)


def _add(index: Index, job: Job, given: Sequence[Document] | Sequence[Path]) -> None:
    job.total = len(given)

    def progress(now: Progress) -> None:
        job.done = now.documents_done
        job.total = now.documents_total or job.total

    if not given:
        return
    report = index.add(list(given), progress=progress)
    job.added, job.changed, job.unchanged = report.added, report.changed, report.unchanged
    job.removed = report.removed
    job.failed += [{"source": Path(each.path).name, "reason": each.reason} for each in report.skipped]
    job.done = report.added + report.changed + report.unchanged
    job.total = max(job.total, job.done)


def _remove(index: Index, job: Job, document_id: str) -> None:
    job.removed = index.remove(document_id)
    if not job.removed:
        raise ApiError(404, "document_not_found", "the index has no document of that id")


def _or_raise(job: Job) -> Job:
    if job.error is not None:
        raise job.error
    return job
