"""Judgments for who has none: queries made from an index, and a loop to mark passages relevant or not.

``synthetic`` makes queries from ``headings``; ``pooling`` finds what is worth marking; ``session`` is the
loop's logic; ``saving`` keeps the marks on disk and writes queries and qrels.
"""

from __future__ import annotations

__all__: list[str] = []
