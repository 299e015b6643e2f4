"""A trained re-ranker as a model folder, with its card; and its way among the user's models."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..architectures import own_settings
from ..errors import InputError, ModelError
from ..hub import is_plain
from ..models import ModelFolder, known_as, user_models_dir
from ..reranking.rare_words import RARE_WORDS_FILE
from ..supply.pulling import recorded
from .held_out import MEASURES
from .values import HeldOut, Tuned

__all__ = ["check_name", "install", "write_card", "write_config"]


def check_name(name: str, start: ModelFolder) -> None:
    """Refuse a name that cannot be the new re-ranker's.

    Raises:
        InputError: it is no plain word, is known for another model, the base's own, or taken by a model that
            was not trained here.
    """
    if not is_plain(name) or "/" in name:
        raise InputError(f"--name is one plain word such as minilm-l6-docs, got {name!r}")
    if known_as(name) is not None or name in ("auto", "none", "gated", "records", "converted", "optimised"):
        raise InputError(f"--name {name!r} stands for something else already; take another one")
    if name == start.name:
        raise InputError(f"--name and --from are both {name!r}; both are compared, so take another name")
    place = user_models_dir() / name
    if place.exists() and not _trained_here(place):
        raise InputError(
            f"{place} holds a model that secondpass train did not make; it would be lost. Take another --name"
        )


def _trained_here(place: Path) -> bool:
    config = ModelFolder(place.name, place, "user").json("config.json", required=False)
    return "trained_from" in own_settings(config)


def write_config(start: ModelFolder, name: str, folder: Path) -> None:
    """Put what ``CrossEncoder`` needs beside the graph: the base's tokenizer, its config under a new name.

    Raises:
        ModelInvalidError: the base's files are damaged.
    """
    config = start.json("config.json")
    ours = {key: value for key, value in config["secondpass"].items() if key != "version"}
    config["secondpass"] = {**ours, "name": name, "trained_from": start.name, "trained_with": __version__}
    text = json.dumps(config, indent=2)
    (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")
    for file in ("tokenizer.json", RARE_WORDS_FILE):
        if (start.path / file).exists():
            shutil.copyfile(start.path / file, folder / file)


def write_card(tuned: Tuned, said: list[str]) -> None:
    """Write the model's README.md: what it is, the figures, no query."""
    (tuned.folder / "README.md").write_text(_card(tuned, said), encoding="utf-8")


def _card(tuned: Tuned, said: list[str]) -> str:
    found, learnt = tuned.held_out, tuned.learnt
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime")
    )
    made_of = "headings and titles of the documents" if tuned.judged.synthetic else "judged queries"
    lines = [
        f"# {tuned.name}",
        "",
        f"The re-ranker `{tuned.start}`, trained further on one collection by `secondpass train` "
        f"(secondpass {__version__}, {versions}) on {datetime.now(UTC):%Y-%m-%d}.",
        "",
        *said,
        "",
        *_table(found),
        "",
        f"Queries: {len(tuned.judged.queries)} ({made_of}), of which {tuned.training} to learn from, "
        f"{tuned.validation} to choose the checkpoint and {found.evaluation.queries} held out (seed "
        f"{tuned.seed}). Stage 1: {found.stage1.stage1}, {found.new.candidates} candidates.",
        f"Steps: {learnt.best.step} of {learnt.steps}. The encoder is the base's; the joint branch and the "
        "three weights of cosine and max-sim were trained.",
        "",
        "It is meant for the documents it was trained on. On others it may be worse than its base, which "
        "was not measured. Its scores are no calibrated probabilities.",
        "",
        "Base weights: sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; data and licences of "
        "`minilm-l6`: see its own card. What the training documents allow is for their owner to know.",
    ]
    return "\n".join(lines) + "\n"


def _table(found: HeldOut) -> list[str]:
    lines = [f"| held-out queries | {' | '.join(MEASURES)} |", f"|{' --- |' * (len(MEASURES) + 1)}"]
    for row in found.evaluation.rows:
        figures = " | ".join(f"{row.means[name]:.3f}" for name in MEASURES)
        lines.append(f"| {row.setting.name} | {figures} |")
    for name in MEASURES:
        each = found.against_base[name]
        lines.append("")
        lines.append(
            f"{name}, new less base: {each.difference:+.4f}, 95 % bootstrap interval [{each.low:+.4f}, "
            f"{each.high:+.4f}], p {each.p:.4f} (paired randomisation), {each.wins} queries better, "
            f"{each.losses} worse, {each.ties} the same."
        )
    return lines


def install(tuned_folder: Path, name: str) -> Path:
    """Copy a model folder among the user's models, whole or not at all; an earlier one of the name goes.

    Raises:
        ModelError: the folder of models cannot be written.
    """
    place = user_models_dir() / name
    staged, old = (place.with_name(f".{name}.{kind}.{os.getpid()}") for kind in ("new", "old"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(tuned_folder, staged)
        if place.exists():
            place.replace(old)
        staged.replace(place)
    except OSError as exc:
        if old.exists() and not place.exists():
            old.replace(place)
        raise ModelError(
            f"cannot install into {place}: {exc.strerror or exc}; the weights are in {tuned_folder}. Free "
            "space or set SECONDPASS_MODELS to another folder, then run the same command again"
        ) from exc
    finally:
        for each in (staged, old):
            shutil.rmtree(each, ignore_errors=True)
    recorded(ModelFolder(name, place, "user"))
    return place
