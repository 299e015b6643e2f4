"""Several re-rankers, one list of candidates. Usage: python examples/compare_rerankers.py [NAME ...]"""

import sys
import tempfile
from pathlib import Path

from secondpass import Engine, Index, load_reranker

names = sys.argv[1:] or ["late-interaction", "minilm-l6"]
query = "Are there any risks or downsides discussed?"

with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
    index.add([Path(__file__).parent / "data"])
    rerankers = [load_reranker(name) for name in names]
    comparison = Engine(index, candidates=20).compare(query, rerankers, k=3)

print(f"{query}\n\nstage 1 alone")
for hit in comparison.stage1.hits:
    print(f"  {hit.rank}. {hit.score:7.3f}            {' '.join(hit.passage.text.split())[:80]}")
for each in comparison.passes:
    print(
        f"\n{each.result.reranker}: {each.changed} of {comparison.k} new, {each.result.timings.rerank:.0f} ms"
    )
    for hit, move in zip(each.result.hits, each.moves, strict=True):
        print(f"  {hit.rank}. {hit.score:7.3f}  {move:8}  {' '.join(hit.passage.text.split())[:80]}")
