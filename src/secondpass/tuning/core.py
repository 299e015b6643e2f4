"""``tune``: train a re-ranker further on one's own queries, measure it on others, install it if it helped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from .. import __version__, models
from ..arguments import checked_count, checked_stage1
from ..errors import InputError, MissingExtraError, StorageError
from ..evaluation.values import Judged
from ..reranking import CrossEncoder
from .concluding import outcome, sentences
from .held_out import measure
from .installing import check_name, install, write_card, write_config
from .mining import mine
from .parting import LEAST_HELD_OUT, Parts, part, usable
from .starting import check_can_start
from .values import HeldOut, Learnt, Progress, Recipe, Tuned

if TYPE_CHECKING:
    from ..index import Index
    from ..models import ModelFolder

__all__ = ["BASE", "CHECKPOINT", "NAME", "check_installed", "tune", "work_of"]

BASE = "minilm-l6"
NAME = "minilm-l6-tuned"
FORMAT = 1
"""Part of the key: raise it when a checkpoint of an earlier version must not be taken."""
CHECKPOINT = "checkpoint.pt"
"""In the work folder."""
_PLAN, _LOCK = "plan.json", "lock"


def check_installed() -> None:
    """Raise MissingExtraError where a package of the extra ``train`` is missing."""
    try:
        import ir_measures  # noqa: F401
        import onnx  # noqa: F401
        import torch  # noqa: F401

        from . import exporting, learning  # noqa: F401  an interrupt amid later imports would look like a bug
    except ImportError as exc:
        package = {"ir_measures": "ir-measures"}.get(exc.name or "", exc.name or "torch")
        raise MissingExtraError(package, "train", "training a re-ranker") from exc


def work_of(index: Index, name: str) -> Path:
    """Return the work folder of a training, where none is named: inside the folder of the index."""
    return index.path / "training" / name


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a training is: all that its weights depend on."""

    index: Index
    start: ModelFolder
    name: str
    work: Path
    stage1: str
    candidates: int
    seed: int
    recipe: Recipe


def tune(
    index: Index,
    judged: Judged,
    *,
    start: str | Path = BASE,
    name: str = NAME,
    work: str | Path | None = None,
    stage1: str = "dense",
    candidates: int = 20,
    seed: int = 0,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Train a re-ranker on a part of the judged queries; install it if the others say that it helped.

    The same call goes on where an earlier one was killed.

    Args:
        index: what is searched: the source of candidates and hard negatives.
        judged: queries with what is relevant to them, in this index.
        start: ``minilm-l6``, or a model that was trained from it.
        name: of the new re-ranker.
        work: folder for checkpoints, weights and report; see ``work_of``.
        stage1: how the candidates are found on which it is measured.
        candidates: how many of them it will be handed.
        seed: of the split and of the training.
        recipe: how to train.
        progress: told how far it is.

    Raises:
        MissingExtraError: the extra ``train`` is not installed.
        InputError: too few queries, a name that is taken, or a model of another kind.
        StorageError: the work folder cannot be used.
        ModelError: a model cannot be read or written.
    """
    began = perf_counter()
    check_installed()
    checked_stage1(stage1)
    checked_count("candidates", candidates)
    folder = models.resolve(start, "reranker")
    check_can_start(folder)
    check_name(name, folder)
    found = usable(judged)
    parts = part(found, seed)
    place = Path(work).expanduser() if work is not None else work_of(index, name)
    plan = _Plan(index, folder, name, place, stage1, candidates, seed, recipe or Recipe())
    with _working_in(place, _key(plan, found)) as key:
        learnt = _learnt(plan, parts, key, progress)
        held_out = _measured(plan, parts.held_out, progress)
        said = outcome(held_out)
        tuned = Tuned(
            name=name,
            start=folder.name,
            outcome=said,
            installed=(models.user_models_dir() / name) if said == "helped" else None,
            folder=place / name,
            work=place,
            judged=found,
            training=len(parts.training.queries),
            validation=len(parts.validation.queries),
            unusable=len(judged.queries) - len(found.queries),
            learnt=learnt,
            held_out=held_out,
            seed=seed,
            seconds=perf_counter() - began,
        )
        write_card(tuned, sentences(tuned))
        if said == "helped":
            install(tuned.folder, name)
        (place / CHECKPOINT).unlink(missing_ok=True)  # 100 MB, and nothing is left to go on with
    return tuned


def _learnt(plan: _Plan, parts: Parts, key: str, progress: Progress | None) -> Learnt:
    """Train, and write the new model's folder."""
    from ..tokenizing import load_tokenizer
    from .choosing import choosing
    from .exporting import export
    from .learning import Learning
    from .thawing import thaw

    thawed = thaw(plan.start)
    examples, unfound = mine(plan.index, parts.training, progress)
    if len(examples) < LEAST_HELD_OUT:
        raise InputError(
            f"stage 1 finds what is relevant to {len(examples)} of {len(parts.training.queries)} training "
            f"queries, and at least {LEAST_HELD_OUT} are needed: a re-ranker learns from what it is handed"
        )
    learning = Learning(
        thawed,
        load_tokenizer(plan.start),
        examples,
        choosing(plan.index, parts.validation, plan.stage1, plan.candidates),
        plan.recipe,
        plan.seed,
        plan.work / CHECKPOINT,
        key,
    )
    branch, learnt = learning.run(unfound, progress)
    folder = plan.work / plan.name
    full, _ = export(thawed.graph(branch), folder / "onnx")
    full.unlink()  # four times the size, and nothing reads it
    write_config(plan.start, plan.name, folder)
    return learnt


def _measured(plan: _Plan, judged: Judged, progress: Progress | None) -> HeldOut:
    """Measure base and new re-ranker as they run on this machine: exported, in 8 bits."""
    base, new = CrossEncoder(_given(plan.start)), CrossEncoder(plan.work / plan.name)
    return measure(plan.index, judged, plan.stage1, plan.candidates, base, new, progress)


def _given(folder: ModelFolder) -> str | Path:
    return folder.path if folder.origin == "folder" else folder.name


def _key(plan: _Plan, judged: Judged) -> str:
    """Return a digest of all that the weights depend on; it holds no text."""
    import torch

    base = CrossEncoder(_given(plan.start)).fingerprint
    what = {
        "format": FORMAT,
        "secondpass": __version__,
        "torch": str(torch.__version__),
        "base": base,
        "index": plan.index.fingerprint(vectors=False),
        "queries": dict(judged.queries),
        "qrels": {key: dict(grades) for key, grades in judged.qrels.items()},
        "unit": judged.unit,
        "how": [plan.stage1, plan.candidates, plan.seed, asdict(plan.recipe)],
    }
    return blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()


def _is_of_others(work: Path) -> bool:
    if not work.exists():
        return False
    if not work.is_dir():
        return True
    there = {each.name for each in work.iterdir()} - {_LOCK}
    return bool(there) and _PLAN not in there


@contextmanager
def _working_in(work: Path, key: str) -> Iterator[str]:
    """Make the work folder or take it up again, and hold its lock.

    Raises:
        InputError: something else is in that folder.
        StorageError: it cannot be written, or another process is training there.
    """
    from filelock import FileLock, Timeout

    try:
        if _is_of_others(work):
            raise InputError(f"{work} holds other things than a training; name another folder with --work")
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise StorageError(f"another process is training in {work}; wait, or name another --work") from exc
    except OSError as exc:
        raise StorageError(
            f"cannot write to {work}: {exc.strerror or exc}; name another folder with --work"
        ) from exc
    try:
        (work / _PLAN).write_text(json.dumps({"format": FORMAT, "key": key}) + "\n", encoding="utf-8")
        yield key
    finally:
        lock.release()
