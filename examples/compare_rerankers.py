"""Several re-rankers, one list of candidates. Usage: python examples/compare_rerankers.py [NAME ...]"""

import sys
import tempfile
from pathlib import Path

from secondpass import Engine, Index, load_reranker

names = sys.argv[1:] or ["late-interaction", "minilm-l6"]
query = "Are there any risks or downsides discussed?"

with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
    index.add([Path(__file__).parent / "data"])
    comparison = Engine(index, candidates=20).compare(query, [load_reranker(name) for name in names], k=3)
