"""Find 20, re-rank to 3, in LangChain. Needs: pip install 'secondpass[langchain]' langchain-chroma"""

import sys
from pathlib import Path

from langchain_chroma import Chroma
from langchain_core.documents import Document

from secondpass import RecursiveSplitter
from secondpass.ext.langchain import MiniLMEmbeddings, RerankedRetriever, compare_retrieval
from secondpass.loading import read

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data" / "tool_library.txt")
queries = sys.argv[2:] or ["What are the key benefits mentioned?", "Are there any risks or downsides?"]

splitter = RecursiveSplitter(size=500, overlap=50)
[document] = read(path)
passages = [
    Document(passage.text, metadata={"source": Path(path).name, "line": passage.line_start})
    for passage in splitter.split(document)
]
store = Chroma.from_documents(passages, MiniLMEmbeddings())  # persist_directory="db" keeps it

retriever = RerankedRetriever(vectorstore=store, k_candidates=20, k_final=3)
for query in queries:
    for hit in retriever.retrieve(query):
        print(f"{hit.metadata['relevance_score']:7.3f}  line {hit.metadata['line']}")
    print(f"{compare_retrieval(retriever, query)}\n")
