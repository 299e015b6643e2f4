"""Find 20, re-rank to 3, in LlamaIndex. Needs: pip install 'secondpass[llamaindex]'"""

import sys
import tempfile
from pathlib import Path

from secondpass import Engine, Index, load_reranker
from secondpass.ext.llamaindex import SecondpassRerank, SecondpassRetriever

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data" / "tool_library.txt")
query = sys.argv[2] if len(sys.argv) > 2 else "When do I get the deposit back?"

with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
    index.add([path])

    both_stages = SecondpassRetriever(Engine(index, load_reranker("auto")), k=3)
    for found in both_stages.retrieve(query):
        print(f"{found.score:7.3f}  line {found.metadata['line_start']}")

    # The same with any retriever of LlamaIndex: the second pass as a node postprocessor.
    stage1 = SecondpassRetriever(Engine(index), k=20)
    for found in SecondpassRerank(top_n=3).postprocess_nodes(stage1.retrieve(query), query_str=query):
        was = found.metadata["candidate_rank"]
        print(f"{found.score:7.3f}  line {found.metadata['line_start']}, was {was}")
