"""What a run learns from, without states: small enough to take to a machine with a GPU.

    python -m training.carry --config training/configs/fifteenth.toml
    python -m training.train --config training/configs/fifteenth.toml --data FOLDER --device cuda     # there

Writes ``training/work/<data>-carried``: token ids, groups, validation sets. The states are computed there, by
the encoder of the re-ranker in the package, whose weights travel with the repository.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from training.data import WORK

SMALL_IDS = np.uint16  # the vocabulary has 30,522


def carry(config: dict[str, Any], source: Path, target: Path) -> int:
    """Write what the run of a config reads of ``source`` to ``target``; return how many bytes that are."""
    target.mkdir(parents=True, exist_ok=True)
    settings, sets = config["train"], config["validation"]["sets"]
    names = [settings.get("queries", "queries"), "passages"]
    names += [settings["more_passages"]] if settings.get("more_passages") else []
    for name in [*names, *(f"{each}_{kind}" for each in sets for kind in ("queries", "passages"))]:
        saved = np.load(source / f"{name}.npz")
        ids = saved["ids"].astype(SMALL_IDS)
        np.savez_compressed(target / f"{name}.npz", ids=ids, starts=saved["starts"].astype(np.int32))
    wanted = settings["negatives_from"]
    for name in {wanted} if isinstance(wanted, str) else set(wanted):
        groups = dict(np.load(source / f"groups-{name}.npz"))
        groups["negatives"] = groups["negatives"][:, : settings.get("deepest")]
        np.savez_compressed(target / f"groups-{name}.npz", **groups)
    for name in sets:
        np.savez_compressed(target / f"{name}.validation.npz", **np.load(source / f"{name}.validation.npz"))
    np.save(target / "rarity.npy", np.load(source / "rarity.npy"))
    return sum(each.stat().st_size for each in target.iterdir())


def main() -> None:
    """Write the folder and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    source = WORK / config["data"]["name"]
    target = source.with_name(f"{source.name}-carried")
    print(f"{target}: {carry(config, source, target) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
