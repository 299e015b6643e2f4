"""How many tokens a model reads at once, and how many of them a query leaves to the passage."""

from __future__ import annotations

from typing import Any

from ..errors import InputError, QueryError
from ..models import ModelFolder

__all__ = ["DEFAULT_WINDOW", "PASSAGE_ROOM", "pair_window", "passage_room"]

DEFAULT_WINDOW = 512
"""Tokens of a pair, if the model does not say less. Models with longer windows are read in windows of this
length too, unless ``max_length`` asks for more: the cost of attention grows with its square."""
PASSAGE_ROOM = 64
"""Tokens that a query must leave to the passage (half of the window, if that is less)."""

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"}


def pair_window(folder: ModelFolder, config: dict[str, Any], wanted: int | None) -> int:
    """Return the tokens of a pair: the model's positions and its tokenizer's limit bound what was wanted.

    Raises:
        InputError: more was wanted than the model reads, or fewer than 8.
    """
    positions = _integer(config.get("max_position_embeddings"), DEFAULT_WINDOW)
    if config.get("model_type") in _OFFSET_POSITIONS:  # their positions start behind that of the padding
        positions -= _integer(config.get("pad_token_id"), 0) + 1
    settings = folder.json("tokenizer_config.json", required=False)
    longest = min(positions, _integer(settings.get("model_max_length"), positions))
    if wanted is None:
        return min(longest, DEFAULT_WINDOW)
    if not 8 <= wanted <= longest:
        raise InputError(f"max_length must be 8..{longest} for {folder.name}, got {wanted}")
    return wanted


def passage_room(name: str, max_length: int, frame: int, query: int) -> int:
    """Return how many tokens of a passage fit beside a query.

    Args:
        name: of the re-ranker.
        max_length: tokens of a pair.
        frame: how many of them the model's own marks take.
        query: how many tokens the query has.

    Raises:
        QueryError: the query leaves too little.
    """
    free = max_length - frame
    least = min(PASSAGE_ROOM, free // 2)
    if free - query < least:
        raise QueryError(
            f"the query has {query} tokens, but {name} reads {max_length} at once and a "
            f"passage needs {least} of them: at most {free - least} are left; ask a shorter question"
        )
    return free - query


def _integer(value: object, default: int) -> int:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**31
    return int(value) if usable else default  # type: ignore[call-overload]
