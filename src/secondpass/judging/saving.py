"""Marks on disk: a log to which each is added before it counts, and queries and qrels written from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ..errors import InputError, LoadError, SecondpassError, StorageError
from ..types import Passage
from .asking import Asked

__all__ = ["LOG", "QRELS", "QUERIES", "Grade", "Mark", "Marks"]

LOG = "marks.jsonl"
QUERIES = "queries.jsonl"
QRELS = "qrels.txt"

Grade = Literal["yes", "no", "skip"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What was said of a passage for a query."""

    query_id: str
    passage_id: str
    grade: Grade


class Marks:
    """The marks in a folder. Use it as a context manager: it holds the folder against a second writer.

    ``marks.jsonl`` is the truth: one line a mark, forced to the disk before ``add`` returns, so that whatever
    ends the process, every mark that was acknowledged is there; a line that was cut off is dropped at the
    next start. ``queries.jsonl`` and ``qrels.txt`` (TREC) are written anew after each mark, whole or not at
    all.

    Args:
        folder: made where there is none.

    Raises:
        StorageError: another process marks in this folder, or it cannot be written.
        LoadError: the log holds what this class did not write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._marks: list[Mark] = []
        self._queries: dict[str, Asked] = {}
        self._pools: dict[str, tuple[str, tuple[str, ...]]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "judge.lock")
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            raise StorageError(
                f"somebody else is marking in {folder}; wait until they are done, or name another folder"
            ) from exc
        except OSError as exc:
            raise self._unwritable(exc) from exc
        try:
            self._read()
            self._log = (folder / LOG).open("ab")
        except BaseException as exc:
            self._lock.release()
            if isinstance(exc, OSError):
                raise self._unwritable(exc) from exc
            raise

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All marks that stand, in the order they were made; the last one of a passage counts."""
        return tuple(self._marks)

    @property
    def queries(self) -> tuple[Asked, ...]:
        """All queries of the folder, under the ids that they have there."""
        return tuple(self._queries.values())

    def pool(self, asked: Asked, how: str) -> tuple[str, ...] | None:
        """Return the ids of the passages pooled for a query, None where there are none pooled this way."""
        known, passages = self._pools.get(asked.id, ("", ()))
        return passages if known == how else None

    def keep_pool(self, asked: Asked, how: str, passages: Sequence[str]) -> None:
        """Keep which passages are to be marked for a query, in which order, and how they were found.

        Raises:
            InputError: another query stands under this id.
            StorageError: it cannot be written.
        """
        self._check_id(asked)
        entry = {**_query(asked), "pool": list(passages), "how": how}
        self._append(entry)
        self._take(entry)

    def add(self, asked: Asked, passage: Passage, grade: Grade) -> None:
        """Keep a mark; when this returns it is on the disk.

        Raises:
            InputError: another query was marked under this id.
            StorageError: it cannot be written; the mark does not count.
        """
        self._check_id(asked)
        entry = {
            **_query(asked),
            "passage": passage.id,
            "document": passage.document_id,
            "start": passage.start,
            "end": passage.end,
            "grade": grade,
        }
        self._append(entry)
        self._take(entry)
        self._write()

    def undo(self) -> Mark | None:
        """Take back the last mark and return it; None where there is none."""
        if not self._marks:
            return None
        self._append({"undo": True})
        undone = self._marks.pop()
        self._write()
        return undone

    def close(self) -> None:
        """Let go of the folder; more than once does no harm."""
        self._log.close()
        self._lock.release()

    def __enter__(self) -> Marks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_id(self, asked: Asked) -> None:
        known = self._queries.get(asked.id, asked)
        if known.query != asked.query:
            raise InputError(
                f"the query id {asked.id!r} stands for {known.query!r} in {self.folder}, not for "
                f"{asked.query!r}; give it another id, or name another folder"
            )

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        before = self._log.tell()
        try:
            self._log.write(line)
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as exc:
            self._log.truncate(before)
            raise self._unwritable(exc) from exc

    def _read(self) -> None:
        """Read the log; what stands behind its last line end was cut off and never acknowledged."""
        file = self.folder / LOG
        if not file.exists():
            return
        written = file.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as exc:
                raise LoadError(
                    file, f"line {number} is no mark ({exc}); mend it, or name another folder"
                ) from exc
        if len(whole) < len(written):
            os.truncate(file, len(whole))
        self._write()

    def _take(self, entry: Mapping[str, Any]) -> None:
        if entry.get("undo") is True:
            self._marks.pop()
            return
        asked = Asked(str(entry["id"]), str(entry["query"]), bool(entry["synthetic"]))
        if "pool" in entry:
            self._pools[asked.id] = (str(entry["how"]), tuple(map(str, entry["pool"])))
            self._queries.setdefault(asked.id, asked)
            return
        grade: Grade = entry["grade"]
        if grade not in ("yes", "no", "skip"):
            raise ValueError(f"its grade is {grade!r}")
        self._queries.setdefault(asked.id, asked)
        self._marks.append(Mark(asked.id, str(entry["passage"]), grade))

    def _write(self) -> None:
        """Write queries before qrels: a query without judgments does no harm, the other way round would."""
        final: dict[tuple[str, str], Grade] = {
            (each.query_id, each.passage_id): each.grade for each in self._marks
        }
        judged = {key: grade for key, grade in final.items() if grade != "skip"}
        asked = [self._queries[key] for key in dict.fromkeys(query_id for query_id, _ in judged)]
        lines = [
            json.dumps({"_id": each.id, "text": each.query, "synthetic": each.synthetic}, ensure_ascii=False)
            for each in asked
        ]
        qrels = [f"{query} 0 {passage} {int(grade == 'yes')}" for (query, passage), grade in judged.items()]
        self._replace(QUERIES, lines)
        self._replace(QRELS, qrels)

    def _replace(self, name: str, lines: Sequence[str]) -> None:
        unfinished = self.folder / f"{name}.tmp"
        try:
            with unfinished.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in lines)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(self.folder / name)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, exc: OSError) -> SecondpassError:
        return StorageError(f"cannot write to {self.folder}: {exc.strerror or exc}; name another folder")


def _query(asked: Asked) -> dict[str, str | bool]:
    return {"id": asked.id, "query": asked.query, "synthetic": asked.synthetic}
