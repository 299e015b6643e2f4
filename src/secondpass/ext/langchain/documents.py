"""LangChain's documents as documents and passages of ours, and back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from ...errors import InputError
from ...index.door import prepared
from ...splitting import passage_id
from ...types import Document as OurDocument
from ...types import MetadataValue, Passage

__all__ = [
    "OnePassage",
    "checked_documents",
    "of_file_passage",
    "of_passage",
    "prepared_all",
    "with_texts",
]

NESTED = "langchain_nested"
"""Metadata that are lists or mappings stand under this name as one JSON text: an index keeps plain values."""


class OnePassage:
    """A splitter that leaves documents whole: LangChain's have been split already."""

    NAME = "whole"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its name."""
        return {"name": self.NAME}

    def split(self, document: OurDocument) -> list[Passage]:
        """Return the document as one passage; none for a text without a visible character."""
        text = document.text
        if not text.strip():
            return []
        ends = text.count("\n") + text.count("\r") - text.count("\r\n")
        return [
            Passage(
                id=passage_id(document.id, 0, text),
                document_id=document.id,
                text=text,
                start=0,
                end=len(text),
                source=document.source or document.id,
                line_end=1 + ends - text.endswith(("\n", "\r")),
                metadata=document.metadata,
            )
        ]


def checked_documents(documents: Iterable[Document]) -> list[Document]:
    """Return a list of documents.

    Raises:
        InputError: something is no document.
    """
    given = list(documents)
    for document in given:
        if not isinstance(document, Document):
            raise InputError(f"documents are LangChain Documents, got {type(document).__name__}")
    return given


def with_texts(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    """Return LangChain documents for texts.

    Raises:
        InputError: one text alone, or not one mapping for each text.
    """
    if isinstance(texts, str):
        raise InputError("texts are several; put a single one into a list")
    listed = list(texts)
    if metadatas is not None and len(metadatas) != len(listed):
        raise InputError(f"{len(listed)} texts need as many metadatas, got {len(metadatas)}")
    return [
        Document(page_content=text, metadata=metadata or {})
        for text, metadata in zip(listed, metadatas or [{}] * len(listed), strict=True)
    ]


def prepared_all(documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[OurDocument]:
    """Return documents of ours that can all be stored.

    Args:
        documents: LangChain's.
        ids: one for each, before its own; None leaves its own, and what has none gets a random one.

    Raises:
        InputError: something is no document, an id is given twice, or one cannot be stored.
    """
    given = checked_documents(documents)
    if isinstance(ids, str):
        raise InputError("ids are several; put a single one into a list")
    if ids is not None and len(ids) != len(given):
        raise InputError(f"{len(given)} documents need as many ids, got {len(ids)}")
    ours: dict[str, OurDocument] = {}
    for place, document in enumerate(given):
        key = ids[place] if ids is not None else None
        if key is None:
            key = document.id or str(uuid.uuid4())
        if key in ours:
            raise InputError(f"the id {key!r} is given twice in one call; each document needs its own id")
        ours[key] = _to_ours(document, key)
        prepared(ours[key])
    return list(ours.values())


def _to_ours(document: Document, key: str) -> OurDocument:
    """Return a document of ours under an id.

    Raises:
        InputError: metadata cannot be written as JSON.
    """
    plain: dict[str, MetadataValue] = {}
    nested: dict[str, Any] = {}
    for name, value in document.metadata.items():
        if name == NESTED or isinstance(value, Mapping | list | tuple):
            nested[name] = value
        else:
            plain[name] = value
    if nested:
        try:
            plain[NESTED] = json.dumps(nested, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            raise InputError(
                f"metadata of the document {key!r} ({', '.join(map(str, nested))}) cannot be written as "
                f"JSON: {exc}"
            ) from exc
    source = plain.get("source")
    return OurDocument(key, document.page_content, plain, source if isinstance(source, str) else "")


def of_passage(key: str, text: str, metadata: Mapping[str, Any]) -> Document:
    """Return the LangChain document that was added under an id, with the metadata it had."""
    own = dict(metadata)
    nested = own.pop(NESTED, None)
    if nested is not None:
        own |= json.loads(nested)
    return Document(page_content=text, metadata=own, id=key)


def of_file_passage(passage: Passage) -> Document:
    """Return a passage of a file as a LangChain document: its place joins the metadata of its file."""
    place: dict[str, Any] = {
        "source": passage.source,
        "document_id": passage.document_id,
        "start_index": passage.start,
        "line_start": passage.line_start,
        "line_end": passage.line_end,
    }
    if passage.page is not None:
        place["page"] = passage.page
    return Document(page_content=passage.text, metadata={**passage.metadata, **place}, id=passage.id)
