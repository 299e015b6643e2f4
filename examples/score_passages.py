"""Score any passages, no index. Usage: python examples/score_passages.py [QUERY [PASSAGE ...]]"""

import sys

from secondpass import load_reranker

query = sys.argv[1] if len(sys.argv) > 1 else "How do I get my deposit back?"
passages = sys.argv[2:] or [
    "A deposit is asked for machines with an engine.",
    "The river deposits sand behind the weir after each flood.",
    "The deposit is returned in full when the machine comes back clean, complete and with a filled tank.",
    "The bank on the corner is open on Tuesdays.",
]

reranker = load_reranker("auto")  # or "late-interaction", "minilm-l6", a folder, a hub name
scores = reranker.score(query, passages)  # (n,) float32, in input order, higher is better
print(f"{reranker.name}: {query}")
for score, passage in sorted(zip(scores.tolist(), passages, strict=True), reverse=True):
    print(f"{score:8.3f}  {passage}")
