"""Our re-rankers behind the interface of the rerankers library. Needs: pip install 'secondpass[rerankers]'"""

import sys

from rerankers import Reranker

import secondpass.ext.rerankers  # noqa: F401  registers SecondpassRanker

query, *passages = sys.argv[1:] or [
    "How do I get my deposit back?",
    "The deposit is returned in full when the tool comes back clean.",
    "The workshop opens at nine.",
    "Drills and saws stand on the third shelf.",
]

ranker = Reranker("auto", model_type="SecondpassRanker", verbose=0)
for found in ranker.rank(query, passages):
    print(f"{found.rank}  {found.score:7.3f}  {found.text}")
