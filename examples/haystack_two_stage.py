"""Find 20, re-rank to 3, in a Haystack pipeline. Needs: pip install 'secondpass[haystack]'"""

import sys
from pathlib import Path

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from secondpass import RecursiveSplitter
from secondpass.ext.haystack import SecondpassRanker
from secondpass.loading import read

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data" / "tool_library.txt")
query = sys.argv[2] if len(sys.argv) > 2 else "When do I get the deposit back?"

passages = RecursiveSplitter(size=500, overlap=50).split(read(path)[0])
store = InMemoryDocumentStore()
store.write_documents([Document(content=each.text, meta={"line": each.line_start}) for each in passages])

pipeline = Pipeline()
pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=20))
pipeline.add_component("ranker", SecondpassRanker(top_k=3))
pipeline.connect("retriever.documents", "ranker.documents")
for found in pipeline.run({"retriever": {"query": query}, "ranker": {"query": query}})["ranker"]["documents"]:
    print(f"{found.score:7.3f}  line {found.meta['line']}, was {found.meta['candidate_rank']}")
