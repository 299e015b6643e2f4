"""The verdict from a sample of queries holds for the others: the committed figures, and a small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
COLLECTIONS = ROOT.parent / "shared" / "data" / "collections"
sys.path.insert(0, str(ROOT / "benchmarks"))

import verdict_agreement as benchmark  # noqa: E402  a script beside the package


def test_the_verdict_agrees_on_five_of_six_collections() -> None:
    figures = json.loads((ROOT / "benchmarks" / "verdict_agreement.json").read_text(encoding="utf-8"))
    rows = figures["collections"]
    assert tuple(rows) == benchmark.COLLECTIONS
    assert figures["agreement"]["all"]["of"] == 6
    assert (
        sum(row["all"]["drawn"]["agrees"] for row in rows.values())
        == figures["agreement"]["all"]["agree"]
        >= 5
    )
    assert figures["agreement"]["all"]["mean_contradictions"] <= 0.05
    for row in rows.values():
        assert row["all"]["contradictions"] <= 0.15
        for way in ("all", *benchmark.STAGE1S):
            assert row[way]["draws"] >= 100
            # What the sample says of gains is what the others show: choosing did not make it look better.
            assert abs(row[way]["mean_held_out"] - row[way]["mean_gain_on_others"]) < 0.01


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not COLLECTIONS.exists(), reason="needs ../shared")
def test_a_small_run_over_a_real_collection(tmp_path: Path) -> None:
    table = benchmark.swept(COLLECTIONS / "xquad-en", tmp_path, 40, (5,))
    assert table.quality.shape == (9, 40)
    assert np.all((table.quality >= 0) & (table.quality <= 1))
    assert table.quality.mean() > 0.8
    drawn = benchmark.one_draw(table, benchmark.SEED, splits=20)
    assert (drawn["sample"], drawn["others"]) == (20, 20)
    assert drawn["verdict"] in ("skip", "unclear"), "hybrid finds nearly all of it, nothing is left to mend"
    assert drawn["agrees"]
    single = benchmark.only(table, "dense")
    assert [each.stage1 for each in single.settings] == ["dense"] * 3
