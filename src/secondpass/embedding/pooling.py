"""How a model wants its texts introduced, and its token states made one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import models
from ..catalogue import Pooling
from ..errors import ModelInvalidError
from ..models import ModelFolder

__all__ = ["Pool", "pool_of"]

_MODES: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True, slots=True)
class Pool:
    """Prefixes and pooling of an embedder."""

    pooling: Pooling
    query_prefix: str = ""
    passage_prefix: str = ""


def pool_of(folder: ModelFolder) -> Pool:
    """Return prefixes and pooling: those of a known model, else those that the folder names.

    Files of sentence-transformers name them: ``1_Pooling/config.json``, and the prompts ``query`` and
    ``passage`` (or ``document``) in ``config_sentence_transformers.json``. Without them it is the mean, and
    no prefix.

    Raises:
        ModelInvalidError: the folder wants a pooling that is not known here.
    """
    known = models.known_as(folder.name)
    if known is not None and folder.origin != "folder":
        return Pool(known.pooling, known.query_prefix, known.passage_prefix)
    prompts = folder.json("config_sentence_transformers.json", required=False).get("prompts")
    prompts = prompts if isinstance(prompts, dict) else {}
    return Pool(
        _pooling(folder, folder.json("1_Pooling/config.json", required=False)),
        str(prompts.get("query") or ""),
        str(prompts.get("passage") or prompts.get("document") or ""),
    )


def _pooling(folder: ModelFolder, settings: dict[str, Any]) -> Pooling:
    named = settings.get("pooling_mode")
    wanted = (
        [str(named)]
        if isinstance(named, str)
        else [
            _MODES.get(mode, mode)
            for mode, on in settings.items()
            if mode.startswith("pooling_mode_") and on is True
        ]
    )
    if wanted in ([], ["mean"]):
        return "mean"
    if wanted == ["cls"]:
        return "cls"
    raise ModelInvalidError(
        f"{folder.path} pools token states by {' and '.join(wanted)}; secondpass knows mean and cls"
    )
