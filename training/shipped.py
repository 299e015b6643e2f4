"""The weights of the re-ranker in the package as a checkpoint that a run can start from.

python -m training.shipped --to training/work/shipped/best.pt

Its 8-bit numbers are multiplied out, which is where it ranks from: what the exact ones were is not kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from secondpass.models import resolve
from secondpass.tuning.thawing import thaw
from training.train import save


def main() -> None:
    """Write the weights of ``minilm-l6``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    options.to.parent.mkdir(parents=True, exist_ok=True)
    save(thaw(resolve("minilm-l6")).model.state_dict(), options.to)


if __name__ == "__main__":
    main()
