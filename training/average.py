"""Average the weights of several runs, which ranks better than any of them alone where they began alike.

python -m training.average training/work/first/best.pt training/work/fifth/checkpoint.pt --to FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from training.train import save


def weights_of(path: Path) -> dict[str, Any]:
    """The weights of a best model, or the moving average of a checkpoint."""
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    return saved.get("average", saved)


def main() -> None:
    """Write the mean of all given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    runs = [weights_of(path) for path in options.files]
    save({name: torch.stack([run[name].float() for run in runs]).mean(0) for name in runs[0]}, options.to)


if __name__ == "__main__":
    main()
