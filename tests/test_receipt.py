"""The default re-ranker is the one that measured best: code and receipt must agree."""

from __future__ import annotations

import json
from pathlib import Path

from secondpass.reranking import AUTO_RERANKER

RECEIPT = Path(__file__).parent.parent / "benchmarks" / "auto_validation.json"


def test_auto_measured_best_and_beats_the_first_stage() -> None:
    mean = json.loads(RECEIPT.read_text(encoding="utf-8"))["mean"]
    shipped = {
        **{name: mean[name] for name in ("late-interaction", "late-interaction-1bit")},
        "minilm-l6": mean["minilm-l6 int8"],
    }
    assert max(shipped, key=shipped.__getitem__) == AUTO_RERANKER
    assert shipped[AUTO_RERANKER] > mean["dense"]
