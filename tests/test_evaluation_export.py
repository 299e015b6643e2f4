from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from secondpass.errors import InputError
from secondpass.evaluation.export import KINDS, write_export
from secondpass.evaluation.trials import Trials
from secondpass.evaluation.values import Judged, Setting, Trial
from secondpass.types import Passage

STAGE1 = Setting("dense")
RERANKED = Setting("dense", "long", 3)
TRIALS = Trials(
    (
        Trial(
            "q1", "which “one”?", "dense", ("p1", "p2", "p3"), ("a", "b", "a"), (0.9, 0.8, 0.7),
            {"long": (1.0, 2.0, 3.0)}, 1.0,
        ),
        Trial("q2", "what", "dense", (), (), (), {"long": ()}, 1.0),
    ),
    3,
)  # fmt: skip
PASSAGES = Judged(
    {"q1": "which “one”?", "q2": "what"},
    {"q1": {"p3": 1, "p1": 0, "gone": 2}, "q2": {"p2": 1}},
    "passage",
    references={"q1": "This one."},
    missing={"q1": ("gone",)},
)
DOCUMENTS = Judged(PASSAGES.queries, {"q1": {"a": 1}, "q2": {"b": 1}}, "document")


def passage_of(key: str) -> Passage:
    places = {"p1": "a", "p2": "b", "p3": "a"}
    if key not in places:
        raise InputError(f"no passage {key}")
    return Passage(key, places[key], f"text of {key}\nin two lines", 0, 10)


def exported(
    path: Path, kind: str, judged: Judged = PASSAGES, setting: Setting = RERANKED, k: int = 2
) -> list:
    assert write_export(kind, path, TRIALS, judged, setting, passage_of, k) == 2
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_ragas_has_the_columns_of_a_single_turn_sample(tmp_path: Path) -> None:
    first, second = exported(tmp_path / "out.jsonl", "ragas")
    assert first == {
        "id": "q1",
        "user_input": "which “one”?",
        "retrieved_contexts": ["text of p3\nin two lines", "text of p2\nin two lines"],
        "response": None,
        "reference": "This one.",
        "reference_contexts": ["text of p3\nin two lines"],
        "retrieved_context_ids": ["p3", "p2"],
        "reference_context_ids": ["p3", "gone"],
    }
    assert second["retrieved_contexts"] == []
    assert second["reference"] is None


def test_jsonl_has_the_older_columns(tmp_path: Path) -> None:
    first, _ = exported(tmp_path / "out.jsonl", "jsonl", setting=STAGE1, k=1)
    assert (first["question"], first["contexts"]) == ("which “one”?", ["text of p1\nin two lines"])
    assert (first["answer"], first["ground_truth"]) == (None, "This one.")
    assert not {"user_input", "retrieved_contexts", "response", "reference"} & first.keys()


def test_where_documents_were_judged_ids_are_those_of_documents(tmp_path: Path) -> None:
    first, _ = exported(tmp_path / "out.jsonl", "ragas", DOCUMENTS)
    assert first["retrieved_context_ids"] == ["a", "b"]
    assert first["reference_context_ids"] == ["a"]
    assert first["reference_contexts"] is None


def test_an_export_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()  # an empty file is nobody's
    for kind in (*KINDS, *KINDS):
        exported(path, kind)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", ['{"query": "mine", "relevant": ["a"]}\n', "# notes\n", "[1]\n", "\xff"])
def test_another_file_is_not_replaced(tmp_path: Path, there: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_bytes(there.encode("latin-1"))
    with pytest.raises(InputError, match="is no such export"):
        exported(path, "ragas")
    assert path.read_bytes() == there.encode("latin-1")


def test_what_cannot_be_written_or_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be written"):
        exported(tmp_path / "nowhere" / "out.jsonl", "ragas")
    with pytest.raises(InputError, match="cannot be replaced"):
        exported(tmp_path, "ragas")
    with pytest.raises(InputError, match="one of ragas, jsonl"):
        exported(tmp_path / "out", "csv")
    with pytest.raises(InputError, match="k"):
        exported(tmp_path / "out", "ragas", k=0)
    with pytest.raises(InputError, match="was not tried"):
        exported(tmp_path / "out", "ragas", setting=replace(RERANKED, reranker="other"))
    assert list(tmp_path.iterdir()) == []
