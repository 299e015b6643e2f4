"""Index a file or folder, then ask. Usage: python examples/search_a_folder.py [PATH [QUERY ...]]"""

import sys
import tempfile
from pathlib import Path

from secondpass import Engine, Index, load_reranker

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data")
queries = sys.argv[2:] or [
    "What are the key benefits for members?",
    "Are there any risks or downsides?",
    "When do I get the deposit back?",
]

# Name a folder that stays, e.g. Index.open("my_index"), and the second run embeds nothing anew.
with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
    report = index.add([path])
    print(f"documents: {report.added}, passages: {report.passages}")
    engine = Engine(index, load_reranker("auto"), candidates=20)
    for query in queries:
        print(f"\n{query}")
        for hit in engine.search(query, k=3).hits:
            place = f"{Path(hit.passage.source).name}:{hit.passage.line_start}"
            text = " ".join(hit.passage.text.split())
            print(f"  {hit.rank}. (stage 1: {hit.candidate.rank:2}) {hit.score:7.3f}  {place}  {text[:90]}")
