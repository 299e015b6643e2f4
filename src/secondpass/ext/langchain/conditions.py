"""Filters: what our store takes, and an engine's ``where`` in the words of other stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from ...errors import InputError

if TYPE_CHECKING:
    from langchain_core.documents import Document

__all__ = ["checked_filter", "joined"]

_ABSENT = object()


def checked_filter(given: object) -> Mapping[str, Any] | None:
    """Return a filter for an index of ours: names and plain values; an empty one lets everything pass.

    Raises:
        InputError: it is none.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InputError(f"filter must map names of metadata to values, got {type(given).__name__}")
    for name, value in given.items():
        if not isinstance(value, str | int | float):
            raise InputError(
                f"filter knows equality only: {name!r} needs a text, a number or a boolean, got {value!r}"
            )
    return given or None


def joined(store: VectorStore, where: Mapping[str, Any] | None, fixed: Any = None) -> Any:
    """Return what a store takes as ``filter``, so that its documents pass ``where`` and ``fixed``.

    Most stores take a mapping of equalities. ``InMemoryVectorStore`` takes a function; Chroma takes one
    condition, and several under ``$and``.

    Args:
        store: decides what a filter looks like.
        where: metadata and their values, all of which must agree; None or empty asks for nothing.
        fixed: a filter in the store's own words that holds, too; None is none.

    Raises:
        InputError: ``where`` is no mapping, or the two cannot be joined.
    """
    if where is not None and not isinstance(where, Mapping):
        raise InputError(f"where must map names of metadata to values, got {type(where).__name__}")
    if not where:
        return fixed
    if isinstance(store, InMemoryVectorStore):
        return _function(where, fixed)
    if fixed is not None and not isinstance(fixed, Mapping):
        raise InputError(
            f"search_kwargs has a filter of its own ({type(fixed).__name__}), which cannot be joined with "
            "where; leave one of them out"
        )
    if any(kind.__module__.partition(".")[0] == "langchain_chroma" for kind in type(store).__mro__):
        conditions = [dict(fixed)] if fixed else []
        conditions += [{name: value} for name, value in where.items()]
        return conditions[0] if len(conditions) == 1 else {"$and": conditions}
    both = dict(fixed or {})
    for name, value in where.items():
        if name in both and both[name] != value:
            raise InputError(
                f"search_kwargs filters {name!r} by {both[name]!r} already, where asks for {value!r}"
            )
        both[name] = value
    return both


def _function(where: Mapping[str, Any], fixed: Any) -> Any:
    if fixed is not None and not callable(fixed):
        raise InputError(f"a filter of InMemoryVectorStore is a function, got {type(fixed).__name__}")

    def passes(document: Document) -> bool:
        agrees = all(document.metadata.get(name, _ABSENT) == value for name, value in where.items())
        return agrees and (fixed is None or bool(fixed(document)))

    return passes
