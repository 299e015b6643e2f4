"""Measures in the field's notation (``nDCG@10``, ``RR@10``, ``AP``), computed by ir-measures.

What counts is the order of a run: it is ranked here (best score first, ties by id), and ir-measures gets
strictly decreasing scores, so that nothing depends on what one of its engines makes of ties. trec_eval, which
computes most of them, also keeps scores in 32 bits only. Needs the extra ``eval``.
"""

from __future__ import annotations

import ast
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingExtraError
from ..ranking import rank
from .values import Qrels, Run

if TYPE_CHECKING:
    from ir_measures import Measure

__all__ = ["evaluate_run", "parse_measures"]

DEEPEST = 1_000_000
"""Largest cutoff or grade in a measure. trec_eval crashes on a cutoff of 0 and on one beyond 64 bits."""

_EXAMPLES = "e.g. nDCG@10, RR@10, R@20, P@3, AP"
_FAILURES = (
    ArithmeticError,
    AssertionError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    subprocess.CalledProcessError,
)
"""How ir-measures and its engines (C code, Python, a Perl program for ERR) refuse."""


def parse_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Return the measures under their canonical names, in order, each once (``MRR@10`` is ``RR@10``).

    Raises:
        InputError: no name; or ir-measures does not know one, cannot compute it here, or it is a count.
        MissingExtraError: ir-measures is not installed.
    """
    if isinstance(names, str) or not names:
        raise InputError(f"measures are one or more names, {_EXAMPLES}; got {names!r}")
    return tuple(dict.fromkeys(str(_checked(name)) for name in names))


def evaluate_run(qrels: Qrels, run: Run, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return each measure's value for each judged query, in the order of ``qrels``.

    A judged query that the run lacks, and one for which nothing is relevant, has the value 0: so it is with
    ``trec_eval -c``, too. A negative grade means judged and not relevant, like 0. Queries of the run without
    judgments are left out.

    Args:
        qrels: query id to (id to grade).
        run: query id to (id to score); higher is better, ties rank by id.
        measures: names, canonical or not.

    Returns:
        Canonical name to (query id to value).

    Raises:
        InputError: no query is judged, a score is NaN, or a measure cannot be computed.
        MissingExtraError: ir-measures is not installed.
    """
    canonical = parse_measures(measures)
    if not qrels:
        raise InputError("no judged query; a measure needs at least one")
    library = _library()
    parsed = {_parsed(name): name for name in canonical}
    numbered = {str(number): query_id for number, query_id in enumerate(qrels)}
    plain_qrels, plain_run = _plain(qrels, run)
    values = {name: dict.fromkeys(qrels, 0.0) for name in canonical}
    try:
        for metric in library.iter_calc(list(parsed), plain_qrels, plain_run):
            if math.isfinite(metric.value):  # one that is undefined for a query is no merit of the run
                values[parsed[metric.measure]][numbered[metric.query_id]] = float(metric.value)
    except _FAILURES as exc:
        raise InputError(f"ir-measures could not compute {' '.join(canonical)}: {exc}") from exc
    return values


def _plain(qrels: Qrels, run: Run) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Return both with numbers for ids, in the ids' order: engines read files, and ids can hold spaces."""
    plain_qrels: dict[str, dict[str, int]] = {}
    plain_run: dict[str, dict[str, float]] = {}
    for number, (query_id, grades) in enumerate(qrels.items()):
        order = [key for key, _ in rank(run.get(query_id, {}).items())]
        names = {key: f"d{place:09}" for place, key in enumerate(sorted({*order, *grades}))}
        plain_qrels[str(number)] = {names[key]: max(0, grade) for key, grade in grades.items()}
        if order:
            plain_run[str(number)] = {
                names[key]: float(len(order) - place) for place, key in enumerate(order)
            }
    return plain_qrels, plain_run


def _library() -> Any:
    try:
        import ir_measures
        import pytrec_eval  # noqa: F401  most measures are computed by it
    except ImportError as exc:
        raise MissingExtraError("ir-measures", "eval", "measuring a ranking") from exc
    return ir_measures


@lru_cache(maxsize=256)
def _checked(name: str) -> Measure:
    """Return a measure that can be computed here: a list of two is tried."""
    library, measure = _library(), _parsed(name)
    if isinstance(measure.aggregator(), library.SumAgg):
        raise InputError(f"{measure} is a count, it does not say how good a ranking is; take {_EXAMPLES}")
    try:
        measure.validate_params()  # type: ignore[no-untyped-call]
        list(library.iter_calc([measure], {"1": {"d1": 1, "d2": 0}}, {"1": {"d1": 2.0, "d2": 1.0}}))
    except _FAILURES as exc:
        raise InputError(
            f"ir-measures cannot compute the measure {name!r} here: {_reason(exc)}; take {_EXAMPLES}"
        ) from exc
    return measure


def _reason(exc: Exception) -> str:
    """Return the first line of what an engine said, a parameter's placeholder put into words."""
    said = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    return re.sub(r"invalid param (\w+)=<object.*", r"it needs a \1", said).rstrip(".")


def _parsed(name: str) -> Measure:
    """Return ``Name(parameter=value)@cutoff`` as a measure.

    ir-measures has a parser of its own, on parts of ``ast`` that Python 3.14 no longer has.
    """
    library = _library()
    try:
        node = ast.parse(name, mode="eval").body
        at: object = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            at, node = _value(node.right), node.left
        parameters: dict[str, object] = {}
        if isinstance(node, ast.Call):
            if node.args:
                raise ValueError("its parameters need names, as in P(rel=2)@5")
            parameters = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
            node = node.func
        kind = library.measures.registry[node.id] if isinstance(node, ast.Name) else None
        if kind is None:
            raise ValueError("it does not read as a measure")
        if at is not None:
            parameters[kind.AT_PARAM] = at
        measure: Measure = kind(**parameters)
    except KeyError as exc:
        raise InputError(f"ir-measures knows no measure {name!r}; take {_EXAMPLES}") from exc
    except (SyntaxError, TypeError, ValueError) as exc:
        raise InputError(f"cannot read the measure {name!r}: {exc}; take {_EXAMPLES}") from exc
    return measure


def _value(node: ast.expr) -> object:
    """Return a parameter's value; numbers stay where every engine survives them."""
    try:
        value = ast.literal_eval(node)
    except ValueError as exc:
        raise ValueError("its parameters must be numbers, texts or {number: number}") from exc
    numbers = list(value.values()) if isinstance(value, Mapping) else [value]
    least = 0 if isinstance(value, Mapping) else 1
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            continue
        if not least <= number <= DEEPEST:
            raise ValueError(f"numbers in it must lie in {least}..{DEEPEST:,}, got {number}")
    if isinstance(value, float) and not 0 <= value <= DEEPEST:
        raise ValueError(f"numbers in it must lie in 0..{DEEPEST:,}, got {value}")
    return value
