"""A second pass in LangChain's own retriever. Needs: pip install 'secondpass[langchain]' langchain-classic"""

import sys
from pathlib import Path

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document

from secondpass import RecursiveSplitter
from secondpass.ext.langchain import CrossEncoderCompressor, SecondpassVectorStore
from secondpass.loading import read

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data" / "tool_library.txt")
queries = sys.argv[2:] or ["When do I get the deposit back?", "Are there any risks or downsides?"]

[document] = read(path)
parts = RecursiveSplitter(size=500, overlap=50).split(document)
store = SecondpassVectorStore(score_key="score")  # SecondpassVectorStore("my_index") keeps it
store.add_documents([Document(part.text, metadata={"line": part.line_start}) for part in parts])

retriever = ContextualCompressionRetriever(
    base_compressor=CrossEncoderCompressor(top_n=3),
    base_retriever=store.as_retriever(search_kwargs={"k": 20}),
)
for query in queries:
    print(query)
    for place in [hit.metadata for hit in retriever.invoke(query)]:
        first = f"cosine {place['candidate_value']:.3f}, was {place['candidate_rank']}"
        print(f"{place['relevance_score']:7.3f}  line {place['line']}  ({first})")
