"""The models that have a short name: which they are, how large, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BINARY_INTERACTION",
    "CROSS_ENCODER",
    "EMBEDDER",
    "KNOWN",
    "LATE_INTERACTION",
    "MINILM_ONNX_SHA256",
    "Kind",
    "KnownModel",
    "Pooling",
]

Kind = Literal["embedder", "reranker"]
Pooling = Literal["mean", "cls"]

EMBEDDER = "all-MiniLM-L6-v2"
LATE_INTERACTION = "late-interaction"
BINARY_INTERACTION = "late-interaction-1bit"
CROSS_ENCODER = "minilm-l6"
MINILM_ONNX_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be asked for by its short name.

    Attributes:
        name: the short name.
        hub_id: ``owner/name`` on the Hugging Face hub, or None for a model that is not there.
        languages: what its makers trained it on.
        size_mb: weights in fp32 (as they ship, for shipped ones), in megabytes: parameters times four.
        layers: of attention.
        window: tokens it was made to read at once, special ones included; secondpass reads at most 512 of a
            longer window at once, see ``secondpass.reranking.lengths``.
        sha256: of ``model.onnx`` where one file is pinned; shipped folders are pinned in
            ``weights/SHA256SUMS``.
        shipped: whether the weights come with the package.
        aliases: further names under which the same weights are known.
        pooling: of an embedder: the mean of its token states, or the state of its first token.
        query_prefix, passage_prefix: what an embedder's makers put before a query and a passage.
    """

    name: str
    kind: Kind
    hub_id: str | None
    description: str
    license: str
    languages: str
    size_mb: int
    layers: int
    window: int
    sha256: str | None = None
    shipped: bool = False
    aliases: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` means this model; capitals do not matter."""
        names = (self.name, self.hub_id or self.name, *self.aliases)
        return name.casefold() in {each.casefold() for each in names}


KNOWN = (
    KnownModel(
        EMBEDDER,
        "embedder",
        None,
        "sentence embeddings, 384 dimensions, 256 tokens",
        "Apache-2.0",
        "English",
        size_mb=23,
        layers=6,
        window=256,
        sha256=MINILM_ONNX_SHA256,
        shipped=True,
        aliases=("sentence-transformers/all-MiniLM-L6-v2",),
    ),
    KnownModel(
        LATE_INTERACTION,
        "reranker",
        None,
        "training-free: cosine + token max-sim over all-MiniLM-L6-v2",
        "Apache-2.0",
        "English",
        size_mb=23,
        layers=6,
        window=256,
        sha256=MINILM_ONNX_SHA256,
        shipped=True,
    ),
    KnownModel(
        BINARY_INTERACTION,
        "reranker",
        None,
        "late-interaction over one bit a dimension, as good as free after index --precompute",
        "Apache-2.0",
        "English",
        size_mb=23,
        layers=6,
        window=256,
        sha256=MINILM_ONNX_SHA256,
        shipped=True,
    ),
    KnownModel(
        CROSS_ENCODER,
        "reranker",
        None,
        "cross-encoder trained by this project",
        "Apache-2.0",
        "English",
        size_mb=29,
        layers=6,
        window=512,
        shipped=True,
    ),
    KnownModel(
        "ms-marco-MiniLM-L-6-v2",
        "reranker",
        "cross-encoder/ms-marco-MiniLM-L-6-v2",
        "cross-encoder trained on MS MARCO",
        "Apache-2.0",
        "English",
        size_mb=91,
        layers=6,
        window=512,
        aliases=("ms-marco-MiniLM-L6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"),
    ),
    KnownModel(
        "ms-marco-MiniLM-L-12-v2",
        "reranker",
        "cross-encoder/ms-marco-MiniLM-L-12-v2",
        "cross-encoder trained on MS MARCO",
        "Apache-2.0",
        "English",
        size_mb=134,
        layers=12,
        window=512,
        aliases=("ms-marco-MiniLM-L12-v2", "cross-encoder/ms-marco-MiniLM-L12-v2"),
    ),
    KnownModel(
        "ms-marco-TinyBERT-L-2-v2",
        "reranker",
        "cross-encoder/ms-marco-TinyBERT-L-2-v2",
        "very small cross-encoder trained on MS MARCO",
        "Apache-2.0",
        "English",
        size_mb=18,
        layers=2,
        window=512,
        aliases=("ms-marco-TinyBERT-L2-v2", "cross-encoder/ms-marco-TinyBERT-L2-v2"),
    ),
    KnownModel(
        "bge-reranker-base",
        "reranker",
        "BAAI/bge-reranker-base",
        "XLM-RoBERTa cross-encoder",
        "MIT",
        "Chinese and English",
        size_mb=1112,
        layers=12,
        window=512,
    ),
    KnownModel(
        "bge-reranker-large",
        "reranker",
        "BAAI/bge-reranker-large",
        "XLM-RoBERTa cross-encoder",
        "MIT",
        "Chinese and English",
        size_mb=2240,
        layers=24,
        window=512,
    ),
    KnownModel(
        "bge-reranker-v2-m3",
        "reranker",
        "BAAI/bge-reranker-v2-m3",
        "XLM-RoBERTa cross-encoder",
        "Apache-2.0",
        "many languages",
        size_mb=2271,
        layers=24,
        window=8192,
    ),
    KnownModel(
        "mxbai-rerank-xsmall-v1",
        "reranker",
        "mixedbread-ai/mxbai-rerank-xsmall-v1",
        "DeBERTa-v2 cross-encoder",
        "Apache-2.0",
        "English",
        size_mb=284,
        layers=12,
        window=512,
    ),
    KnownModel(
        "jina-reranker-v1-tiny-en",
        "reranker",
        "jinaai/jina-reranker-v1-tiny-en",
        "JinaBERT cross-encoder, read from its ONNX file",
        "Apache-2.0",
        "English",
        size_mb=132,
        layers=4,
        window=8192,
    ),
    KnownModel(
        "gte-reranker-modernbert-base",
        "reranker",
        "Alibaba-NLP/gte-reranker-modernbert-base",
        "ModernBERT cross-encoder",
        "Apache-2.0",
        "English",
        size_mb=598,
        layers=22,
        window=8192,
    ),
    KnownModel(
        "bge-small-en-v1.5",
        "embedder",
        "BAAI/bge-small-en-v1.5",
        "sentence embeddings, 384 dimensions",
        "MIT",
        "English",
        size_mb=133,
        layers=12,
        window=512,
        pooling="cls",
        query_prefix="Represent this sentence for searching relevant passages: ",
    ),
    KnownModel(
        "multilingual-e5-small",
        "embedder",
        "intfloat/multilingual-e5-small",
        "sentence embeddings, 384 dimensions",
        "MIT",
        "about 100 languages",
        size_mb=471,
        layers=12,
        window=512,
        query_prefix="query: ",
        passage_prefix="passage: ",
    ),
)
