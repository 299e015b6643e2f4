"""LlamaIndex: a second pass as a node postprocessor, and a retriever over our own index.

    from secondpass.ext.llamaindex import SecondpassRerank, SecondpassRetriever

    engine = index.as_query_engine(similarity_top_k=20, node_postprocessors=[SecondpassRerank(top_n=3)])
    nodes = SecondpassRetriever(Engine(Index.open("my_index"), load_reranker()), k=3).retrieve("What ...?")

Needs the extra ``llamaindex``; importing this module without llama-index-core raises MissingExtraError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..arguments import checked_count
from ..engine import Engine
from ..errors import InputError, MissingExtraError, QueryError
from ..types import Hit, Reranker, SearchResult
from ._rescoring import hit_metadata, loaded, rescored

try:
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        MetadataMode,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ModuleNotFoundError as error:
    raise MissingExtraError("llama-index-core", "llamaindex", "secondpass.ext.llamaindex") from error

__all__ = ["SecondpassRerank", "SecondpassRetriever"]

_dispatcher = get_dispatcher(__name__)


class SecondpassRerank(BaseNodePostprocessor):
    """Reads each retrieved node together with the query and keeps the best ``top_n``.

    The nodes that come back are copies. Their score is the re-ranker's, and their metadata have
    ``relevance_score``, ``relevance_probability`` (where the score is a logit), ``rerank_rank``,
    ``candidate_score`` (what the retriever gave), ``candidate_rank`` and ``reranker``; prompts and embeddings
    leave these out.

    Args:
        model: a name, a hub id or a folder; with ``reranker`` it is its name.
        top_n: how many come back, at least 1.
        metadata_mode: which metadata the re-ranker reads with the text; none by default.
        download: fetch the model from its hub if it is not on this machine.
        reranker: an object with ``name`` and ``score`` to use instead of loading ``model``; it is not
            serialised.
        callback_manager: LlamaIndex's.

    Raises:
        InputError: ``top_n`` is below 1, or no re-ranker.
        ModelError: the model is unknown, absent or damaged.
    """

    model: str = Field(default="auto", description="Name, hub id or folder of the re-ranker.")
    top_n: int = Field(default=3, description="How many nodes come back.")
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.NONE, description="Which metadata the re-ranker reads with the text."
    )
    download: bool = Field(default=False, description="Fetch the model if it is not on this machine.")
    _reranker: Reranker = PrivateAttr()

    def __init__(
        self,
        model: str = "auto",
        top_n: int = 3,
        *,
        metadata_mode: MetadataMode = MetadataMode.NONE,
        download: bool = False,
        reranker: Reranker | None = None,
        callback_manager: CallbackManager | None = None,
        **more: Any,
    ) -> None:
        checked_count("top_n", top_n)
        chosen = loaded(model, download=download) if reranker is None else loaded(reranker)
        fields: dict[str, Any] = {
            "model": model if reranker is None else chosen.name,
            "top_n": top_n,
            "metadata_mode": metadata_mode,
            "download": download,
            "callback_manager": callback_manager or CallbackManager(),
        }
        super().__init__(**fields, **more)
        self._reranker = chosen

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises it."""
        return "SecondpassRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise QueryError("a second pass needs the query; give query_str or query_bundle")
        name = self._reranker.name
        _dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=name)
        )
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [each.node.get_content(metadata_mode=self.metadata_mode) for each in nodes]
            best = rescored(self._reranker, query_bundle.query_str, texts)[: self.top_n]
            kept = [
                _scored(nodes[each.place], each.score, each.metadata(name, nodes[each.place].score))
                for each in best
            ]
            event.on_end(payload={EventPayload.NODES: kept})
        _dispatcher.event(ReRankEndEvent(nodes=kept))
        return kept


def _scored(found: NodeWithScore, score: float, numbers: Mapping[str, Any]) -> NodeWithScore:
    """Return a copy: stores in memory hand out the very nodes they keep."""
    node = found.node
    changes: dict[str, Any] = {"metadata": {**node.metadata, **numbers}}
    for name in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys"):
        own = getattr(node, name)
        changes[name] = [*own, *(key for key in numbers if key not in own)]
    return NodeWithScore(node=node.model_copy(update=changes), score=score)


class SecondpassRetriever(BaseRetriever):
    """Both stages over our index, as a LlamaIndex retriever.

    A node's id, text and offsets are the passage's; its metadata are the passage's, ``source``, lines, and
    the numbers of both stages as in ``SecondpassRerank``. A node that a deadline left unread has no score.
    ``aretrieve`` works in a thread.

    Args:
        engine: ``Engine(Index.open(folder), load_reranker())``; without a re-ranker it gives stage 1's list.
        k: how many nodes come back.
        where: only passages whose metadata have these values.
        deadline_ms: as for ``Engine.search``.
        callback_manager: LlamaIndex's.

    Raises:
        InputError: no engine, or ``k`` out of range.
    """

    def __init__(
        self,
        engine: Engine,
        k: int = 3,
        *,
        where: Mapping[str, str] | None = None,
        deadline_ms: float | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if not isinstance(engine, Engine):
            raise InputError(
                f"the retriever searches an Engine, got {type(engine).__name__}; "
                "see Engine(Index.open(folder), load_reranker())"
            )
        super().__init__(callback_manager=callback_manager)
        self.engine = engine
        self.k = checked_count("k", k)
        self.where = where
        self.deadline_ms = deadline_ms

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        result = self.engine.search(
            query_bundle.query_str, self.k, where=self.where, deadline_ms=self.deadline_ms
        )
        return [_node(hit, result) for hit in result.hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit, result: SearchResult) -> NodeWithScore:
    passage, numbers = hit.passage, hit_metadata(hit, result)
    shown = {*passage.metadata, "source", "page"}
    hidden = [name for name in numbers if name not in shown]
    node = TextNode(
        id_=passage.id,
        text=passage.text,
        metadata=numbers,
        start_char_idx=passage.start,
        end_char_idx=passage.end,
        excluded_llm_metadata_keys=hidden,
        excluded_embed_metadata_keys=hidden,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document_id)},
    )
    return NodeWithScore(node=node, score=None if hit.unread else hit.score)
