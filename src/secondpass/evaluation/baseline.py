"""An earlier evaluation, kept as the JSON of ``eval``, and whether the present one is worse."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .significance import paired
from .values import Evaluation, Judged, Paired, Setting

__all__ = ["Checked", "Earlier", "RowChange", "check", "check_same", "judgments_digest", "read_earlier"]

DIGITS = 6
"""Of a mean in the JSON; differences below that are none."""

Key = tuple[str, str, int]
"""Stage 1, re-ranker, candidates; 0 candidates for stage 1 alone."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier evaluation found.

    Attributes:
        path: the file.
        measures: the first decides.
        judgments: digest of the judged queries, see ``judgments_digest``.
        queries: query id to text.
        refused: ids of those that were left out as too long.
        rows: setting to the mean of the first measure.
        values: setting to (query id to the first measure).
    """

    path: Path
    measures: tuple[str, ...]
    judgments: str
    queries: Mapping[str, str]
    refused: frozenset[str]
    rows: Mapping[Key, float]
    values: Mapping[Key, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One setting then and now: the means, and the paired difference (now minus then)."""

    setting: Setting
    before: float
    after: float
    paired: Paired


@dataclass(frozen=True, slots=True)
class Checked:
    """What the comparison came to.

    Attributes:
        path: the earlier evaluation.
        measure: what was compared.
        fail_under: the least difference that passes.
        rows: one for each setting.
    """

    path: Path
    measure: str
    fail_under: float
    rows: tuple[RowChange, ...]

    @property
    def failed(self) -> tuple[RowChange, ...]:
        """The settings that fell by more than is allowed."""
        return tuple(
            row for row in self.rows if round(row.after - row.before, DIGITS) < round(self.fail_under, DIGITS)
        )


def judgments_digest(judged: Judged) -> str:
    """Return a digest of the queries (ids, texts) and of how many were judged how.

    The ids of what was judged are left out: they can be paths, which differ from machine to machine.
    """
    told = [judged.unit] + [
        [key, text, sorted(judged.qrels[key].values())] for key, text in sorted(judged.queries.items())
    ]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def read_earlier(path: str | Path) -> Earlier:
    """Read what ``eval --json`` printed.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise InputError(
            f"no baseline {path}; make one with: secondpass eval ... --json > {path.name}"
        ) from exc
    except OSError as exc:
        raise InputError(f"cannot read the baseline {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise InputError(
            f"the baseline {path} holds no JSON ({exc}); write it with eval --json, and not with '>' into "
            "the file that is compared with"
        ) from exc
    try:
        return _earlier(path, value)
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise InputError(
            f"the baseline {path} is not what 'secondpass eval --json' prints; make it anew"
        ) from exc


def check(earlier: Earlier, now: Evaluation, judged: Judged, fail_under: float) -> Checked:
    """Compare the first measure, setting by setting.

    Args:
        earlier: the baseline.
        now: the present evaluation.
        judged: what it was made from.
        fail_under: the least difference (now minus then) that passes, e.g. -0.01.

    Raises:
        InputError: as for ``check_same``, other queries were too long, or ``fail_under`` is no number.
    """
    if not math.isfinite(fail_under):
        raise InputError(f"--fail-under is a difference such as -0.01, got {fail_under}")
    check_same(earlier, now.measures, judged, [row.setting for row in now.rows])
    if {each.query_id for each in now.per_query} != set(earlier.queries):
        raise InputError(
            f"the baseline {earlier.path} left out other queries as too long; make a new baseline"
        )
    measure = now.measures[0]
    rows = []
    for place, row in enumerate(now.rows):
        old = earlier.values[_key(row.setting)]
        ours = [round(each.values[measure][place], DIGITS) for each in now.per_query]
        theirs = [old[each.query_id] for each in now.per_query]
        before = earlier.rows[_key(row.setting)]
        rows.append(RowChange(row.setting, before, row.means[measure], paired(ours, theirs)))
    return Checked(earlier.path, measure, fail_under, tuple(rows))


def check_same(
    earlier: Earlier, measures: Sequence[str], judged: Judged, settings: Sequence[Setting]
) -> None:
    """Refuse a comparison that would say nothing. It can be made before anything is searched.

    Raises:
        InputError: the measure that decides, the queries, their judgments or the settings differ.
    """
    if earlier.measures[0] != measures[0]:
        raise InputError(
            f"the baseline {earlier.path} was decided by {earlier.measures[0]}, this by {measures[0]}; "
            f"put {earlier.measures[0]} first in --measures, or make a new baseline"
        )
    asked = {key: query for key, query in judged.queries.items() if key not in earlier.refused}
    if earlier.queries != asked:
        raise InputError(
            f"the baseline {earlier.path} has other queries: {_differing(earlier.queries, asked)}; "
            "make a new baseline"
        )
    if earlier.judgments != judgments_digest(judged):
        raise InputError(
            f"the baseline {earlier.path} has the same queries with other judgments (how many, or which "
            "grades); make a new baseline"
        )
    keys = [_key(each) for each in settings]
    if set(keys) != set(earlier.rows):
        only_then = [_named(key) for key in earlier.rows if key not in keys]
        only_now = [_named(key) for key in keys if key not in earlier.rows]
        told = [f"only there: {', '.join(only_then)}"] if only_then else []
        told += [f"only here: {', '.join(only_now)}"] if only_now else []
        raise InputError(
            f"the baseline {earlier.path} has other settings ({'; '.join(told)}); give the same --stage1, "
            "--reranker and --candidates, or make a new baseline"
        )


def _earlier(path: Path, value: Any) -> Earlier:
    measures = tuple(str(name) for name in value["measures"])
    decides = measures[0]
    keys = [_written_key(row) for row in value["rows"]]
    per_query = value["per_query"]
    return Earlier(
        path=path,
        measures=measures,
        judgments=str(value["judgments"]),
        queries={str(each["id"]): str(each["query"]) for each in per_query},
        refused=frozenset(map(str, value.get("refused", ()))),
        rows={key: float(row["means"][decides]) for key, row in zip(keys, value["rows"], strict=True)},
        values={
            key: {str(each["id"]): float(each["values"][decides][place]) for each in per_query}
            for place, key in enumerate(keys)
        },
    )


def _written_key(row: Mapping[str, Any]) -> Key:
    return _key(Setting(str(row["stage1"]), str(row["reranker"]), int(row["candidates"])))


def _key(setting: Setting) -> Key:
    return setting.stage1, setting.reranker, 0 if setting.reranker == "none" else setting.candidates


def _named(key: Key) -> str:
    return Setting(*key).name


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    told = []
    for names, where in (
        ([key for key in then if key not in now], "only there"),
        ([key for key in now if key not in then], "only here"),
        ([key for key in now if key in then and now[key] != then[key]], "with another text"),
    ):
        if names:
            told.append(f"{len(names)} {where} ({_some(names)})")
    return ", ".join(told)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
